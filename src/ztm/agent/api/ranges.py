"""What a request wants of a content: all of it, one range, nothing new, or what it cannot have.

It reads header fields only. Requests for several ranges at once get the whole, as RFC 9110 section 14.2 allows.
Source: RFC 9110 sections 13 and 14.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from ztm.rest.message import Request, Response
from ztm.rest.route import Problem

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


class Part(NamedTuple):
    """A range of a content."""

    start: int
    size: int


def condition(request: Request, tag: str) -> Response | None:
    """The answer where the caller's conditions are not met by the content of entity tag `tag`: 304 or 412."""
    headers = request.headers
    if "if-match" in headers and not _names(headers["if-match"], tag, weak=False):
        return Response(412, Problem(412, "the file is another one by now"), headers=[("etag", tag)])
    if "if-none-match" in headers and _names(headers["if-none-match"], tag, weak=True):
        return Response(304, headers=[("etag", tag)])
    return None


def _names(field: str, tag: str, *, weak: bool) -> bool:
    tags = [each.strip() for each in field.split(",")]
    return "*" in tags or tag in tags or (weak and f"W/{tag}" in tags)


def wanted_part(headers: Mapping[str, str], tag: str, size: int) -> Part | None:
    """The range of `size` bytes that is wanted; None for all of them, and a size of 0 for one that there is not.

    A range that is malformed, or is wanted only of another content than that of `tag`, counts for nothing.
    """
    found = _RANGE.fullmatch(headers.get("range", "").strip())
    if found is None or found.group() == "bytes=-" or headers.get("if-range", tag) != tag:
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        return Part(size - length, length) if length or not int(last) else None
    if last and int(last) < int(first):
        return None
    end = min(int(last) + 1, size) if last else size
    return Part(int(first), max(0, end - int(first)))
