"""What a handler is given and what it gives back: one request, one response.

Everything of a request is decoded when it is first asked for, and not before. Nothing here knows which HTTP
version, stream or mesh the request came by.
"""

from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec

from ztm.errors import BrokenStreamError, TooLargeError, UsageError
from ztm.model import Peer
from ztm.net.asgi import LINK, PEER, UPGRADE, Receive, Scope, Upgrade
from ztm.net.base import Headers

T = TypeVar("T")

MAX_BODY = 8 << 20
"""Bytes of a body that a handler takes at once unless it says otherwise."""

JSON = "application/json"
TEXT = "text/plain"
BINARY = "application/octet-stream"

_encode = msgspec.json.Encoder().encode


class Request:
    """One request as a handler sees it."""

    __slots__ = ("_body", "_headers", "_query", "_receive", "method", "params", "scope")

    def __init__(self, scope: Scope, receive: Receive, params: Mapping[str, str] | None = None) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.params = params or {}
        """What the template's ``{x}`` and ``*`` matched, by name (``"*"`` for the rest)."""
        self._receive = receive
        self._body: bytes | None = None
        self._headers: dict[str, str] | None = None
        self._query: dict[str, str] | None = None

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        path: str = self.scope["path"]
        return path

    @property
    def raw_path(self) -> str:
        """The path as sent, still percent-encoded."""
        raw: bytes = self.scope["raw_path"]
        return raw.decode("utf-8", "replace")

    @property
    def raw_query(self) -> str:
        """The query as sent, without its question mark."""
        raw: bytes = self.scope["query_string"]
        return raw.decode("utf-8", "replace")

    @property
    def query(self) -> dict[str, str]:
        """Query parameters, percent-decoded; the first of a name counts, and ``+`` is itself."""
        if self._query is None:
            self._query = parse_query(self.raw_query)
        return self._query

    def every(self, name: str) -> list[str]:
        """All values of a query parameter that may be given several times."""
        parts = [part.partition("=") for part in self.raw_query.split("&")]
        return [unquote(value) for key, _, value in parts if unquote(key) == name and value]

    @property
    def headers(self) -> dict[str, str]:
        """Header fields by lower-case name; those sent several times are joined by commas."""
        if self._headers is None:
            self._headers = {}
            for name, value in self.scope["headers"]:
                key, text = name.decode("latin-1").lower(), value.decode("utf-8", "replace")
                self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text
        return self._headers

    @property
    def peer(self) -> Peer | None:
        """The verified caller; None on the agent's local port."""
        peer: Peer | None = self.scope["extensions"].get(PEER)
        return peer

    @property
    def link(self) -> Any:
        """What the session that carried the request belongs to, as its server said; or None."""
        return self.scope["extensions"].get(LINK)

    @property
    def upgrade(self) -> Upgrade:
        """The raw stream that this CONNECT request offers.

        Raises:
            UsageError: the request is not a CONNECT.
        """
        upgrade = self.scope["extensions"].get(UPGRADE)
        if not isinstance(upgrade, Upgrade):
            raise UsageError(f"{self.path} needs CONNECT, not {self.method}")
        return upgrade

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """The whole body.

        Raises:
            TooLargeError: it exceeds `limit` bytes.
            BrokenStreamError: the caller went away before its end.
        """
        if self._body is None:
            parts, size = [], 0
            async for part in self.stream():
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise TooLargeError(f"the body of {self.method} {self.path} is larger than {limit} bytes")
            self._body = b"".join(parts)
        return self._body

    async def stream(self) -> AsyncIterable[bytes]:
        """The body piece by piece, once.

        Raises:
            BrokenStreamError: the caller went away before its end.
        """
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise BrokenStreamError(f"the caller of {self.method} {self.path} went away within its body")
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]

    async def text(self, limit: int = MAX_BODY) -> str:
        """The whole body as UTF-8 text.

        Raises:
            UsageError: it is not UTF-8.
            TooLargeError: it exceeds `limit` bytes.
        """
        try:
            return (await self.body(limit)).decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"the body of {self.method} {self.path} is not UTF-8 text: {error}") from error

    async def json(self, kind: type[T], limit: int = MAX_BODY) -> T:
        """The whole body as a value of `kind`, checked.

        Raises:
            UsageError: it is not JSON, or not such a value; the message says what and where.
            TooLargeError: it exceeds `limit` bytes.
        """
        try:
            return msgspec.json.decode(await self.body(limit), type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"the body of {self.method} {self.path} is not as expected: {error}") from error
        except RecursionError as error:
            raise UsageError(f"the body of {self.method} {self.path} is nested too deeply") from error

    async def gone(self) -> None:
        """Wait until the caller has gone away; for long polls. The body must have been taken before."""
        while (await self._receive())["type"] == "http.request":
            pass


def parse_query(text: str) -> dict[str, str]:
    """Parameters of a query string, percent-decoded; the first of a name counts.

    Source: spec mesh-protocol 4.6.
    """
    query: dict[str, str] = {}
    is_encoded = "%" in text
    for part in text.split("&") if text else ():
        name, _, value = part.partition("=")
        if is_encoded:
            name, value = unquote(name), unquote(value)
        query.setdefault(name, value)
    return query


@dataclass(frozen=True, slots=True)
class Response:
    """What a handler answers.

    A body of bytes, of text, or a stream of bytes is sent as it is; None and empty text give an empty body;
    anything else is sent as JSON.

    Source: spec agent-api 2.
    """

    status: int = 200
    body: Any = None
    content_type: str | None = None
    """None chooses by the kind of body: octets, plain text or JSON."""
    headers: Headers = ()

    def encode(self) -> tuple[str | None, bytes]:
        """The content type, if there is a body, and the body. An iterable body is left to the caller.

        Raises:
            TypeError: the body has no form in JSON.
        """
        body = self.body
        if body is None or body in ("", b""):
            return self.content_type, b""
        if isinstance(body, (bytes, bytearray, memoryview)):
            return self.content_type or BINARY, bytes(body)
        if isinstance(body, str):
            return self.content_type or TEXT, body.encode()
        return self.content_type or JSON, _encode(body)
