"""What an ASGI application is told about one request: the scope, its extensions, and the limits around it.

Both HTTP versions build the same scope here, so that an application never sees which one carried it.
Nothing here reads or writes a stream, except the head that `Upgrade.accept` sends.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ztm.errors import UsageError
from ztm.model import Address
from ztm.net.base import Headers, Stream

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI 3 application (https://asgi.readthedocs.io, HTTP message format 2.4)."""

UPGRADE = "ztm.upgrade"
"""Scope extension: the `Upgrade` of a CONNECT request."""
PEER = "ztm.peer"
"""Scope extension, set by whoever serves: the verified `Peer`, or None on the local port."""
LINK = "ztm.link"
"""Scope extension, set by whoever serves: what the session belongs to, for handlers that need it."""

WEBSOCKET = "websocket"
"""The `type` of a WebSocket's scope."""
DENIAL = "websocket.http.response"
"""ASGI scope extension: a WebSocket may be refused by a plain answer, in messages whose types begin so."""

_ASGI = {"version": "3.0", "spec_version": "2.4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one HTTP request may cost its server. Durations are seconds, sizes are bytes."""

    header_bytes: int = 64 << 10
    """Of one HTTP/1.1 head, request line included; beyond it the answer is 431."""
    body_bytes: int = 8 << 20
    """Of one request body; beyond it the answer is 413. 0 is no bound."""
    head_seconds: float = 10.0
    """From the first byte of a head to its end; a slower one is cut."""
    message_bytes: int = 16 << 20
    """Of one message of a WebSocket, all its fragments together; beyond it the WebSocket is closed with 1009."""
    body_seconds: float = 300.0
    """For the next piece of a body on the local port; a slower one is answered 408. 0 is no bound."""
    idle_seconds: float = 60.0
    """Without a request, before the first and between two. 0 is no bound."""
    linger_seconds: float = 2.0
    """How long a stream that we ended may stay half open before it is cut."""


class Upgrade:
    """The offer in a CONNECT request: to answer 200 and have the raw stream from then on."""

    __slots__ = ("_send_head", "accepted", "kept", "stream")

    def __init__(self, stream: Stream, send_head: Callable[[Headers], None]) -> None:
        self.stream = stream
        """The stream behind the request; may be read before it is accepted."""
        self.accepted = False
        """Whether the 200 has been sent, so that no other answer can be."""
        self._send_head = send_head
        self.kept: Callable[[], Awaitable[None]] | None = None
        """To be run when the application has returned; the stream ends after it.

        For a stream that may be idle for days: meanwhile nothing of the request is in memory but what this holds.
        """

    def accept(self, headers: Headers = ()) -> Stream:
        """Answer 200 with `headers`, and hand over the raw stream; a second call changes nothing.

        The head leaves together with what is written next. When the application returns, the stream ends.
        """
        if not self.accepted:
            self._send_head(headers)
            self.accepted = True
        return self.stream


def http_scope(
    stream: Stream,
    *,
    version: str,
    method: str,
    target: bytes,
    headers: list[tuple[bytes, bytes]],
    extensions: Mapping[str, object],
) -> Scope:
    """The ASGI scope of a request with request-target `target`, as sent (still percent-encoded)."""
    raw_path, _, query = target.partition(b"?")
    path = raw_path.decode("utf-8", "replace")
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": _pair(stream.remote),
        "server": _pair(stream.local),
        "extensions": extensions,
    }


def websocket_scope(scope: Scope, subprotocols: list[str]) -> Scope:
    """The ASGI scope of a WebSocket whose handshake has `scope`; `subprotocols` are those that the peer offers.

    Source: https://asgi.readthedocs.io, WebSocket message format 2.4, and its extension for denials.
    """
    made = {name: value for name, value in scope.items() if name != "method"}
    extensions = {**scope["extensions"], DENIAL: {}}
    return {**made, "type": WEBSOCKET, "scheme": "ws", "subprotocols": subprotocols, "extensions": extensions}


def is_websocket(scope: Scope) -> bool:
    """Whether this is a WebSocket and not a request."""
    return bool(scope["type"] == WEBSOCKET)


def method_of(scope: Scope) -> str:
    """The method; that of a WebSocket's handshake is always GET (RFC 6455 section 4.1)."""
    return str(scope.get("method", "GET"))


def check_target(target: str) -> str:
    """Return `target` if it can stand in a request line or a ``:path``.

    Raises:
        UsageError: it holds blanks or control characters, or does not begin with a slash.
    """
    if not target.startswith("/") or not target.isprintable() or " " in target:
        raise UsageError(f"not a path for HTTP: {target[:80]!r} (it must begin with / and be percent-encoded)")
    return target


def _pair(address: Address | None) -> tuple[str, int] | None:
    return (address.host, address.port) if address else None
