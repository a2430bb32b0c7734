"""Entity tags of whole answers, so that those who ask again and again are sent nothing where nothing changed.

Streams are left alone: who makes one knows its tag. Source: RFC 9110 sections 8.8.3 and 13.1.2.
"""

import hashlib
from collections.abc import AsyncIterable
from dataclasses import replace

from ztm.rest.message import Request, Response


def with_etag(request: Request, response: Response) -> Response:
    """The same answer with a tag of its body, or 304 where the caller has that already."""
    if request.method not in ("GET", "HEAD") or response.status != 200 or isinstance(response.body, AsyncIterable):
        return response
    if any(name == "etag" for name, _ in response.headers):
        return response
    content_type, body = response.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = [*response.headers, ("etag", tag)]
    if is_current(request, tag):
        return Response(304, headers=headers)
    return replace(response, body=body, content_type=content_type, headers=headers)


def is_current(request: Request, tag: str) -> bool:
    """Whether the caller says by ``If-None-Match`` that it has the representation of `tag`."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag in [each.strip().removeprefix("W/") for each in given.split(",")]
