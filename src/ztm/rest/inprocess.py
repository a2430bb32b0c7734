"""Asking an ASGI application in this process: one request and its whole answer, without a socket.

It is for an app's own commands, which use the same routes as everybody else.
"""

from collections.abc import Mapping
from urllib.parse import unquote

from ztm.errors import TooLargeError
from ztm.net.base import Headers
from ztm.net.http1 import MAX_BODY, Answer
from ztm.net.scope import ASGIApp, Message, Scope, check_target


async def ask(
    app: ASGIApp,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    extensions: Mapping[str, object] | None = None,
    headers: Headers = (),
) -> Answer:
    """The answer of `app`, whatever its status is. `target` is a path with an optional query, percent-encoded.

    Raises:
        UsageError: `target` is not a path.
        TooLargeError: the answer's body exceeds 8 MiB.
        ZtmError: what the application itself lets out.
    """
    exchange = _Exchange(body)
    await app(_scope(method, target, extensions or {}, headers), exchange.receive, exchange.send)
    return Answer(exchange.status, exchange.headers, b"".join(exchange.parts))


def _scope(method: str, target: str, extensions: Mapping[str, object], headers: Headers) -> Scope:
    raw_path, _, query = check_target(target).partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": None,
        "server": None,
        "extensions": dict(extensions),
    }


class _Exchange:
    """The two channels of one request."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._size = 0
        self.status = 500
        self.headers: list[tuple[str, str]] = []
        self.parts: list[bytes] = []

    async def receive(self) -> Message:
        body, self._body = self._body, None
        return {"type": "http.disconnect"} if body is None else {"type": "http.request", "body": body}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            return
        part = message.get("body", b"")
        self._size += len(part)
        if self._size > MAX_BODY:
            raise TooLargeError(f"the answer is larger than {MAX_BODY} bytes")
        self.parts.append(part)
