"""Serving ASGI applications on mesh streams: one HTTP/2 request, or a whole stream in either HTTP version.

It promises that the application sees the same scope whichever version carried the request, and that a
failing one harms its own stream only. It decides nothing about who may call; the caller's `extensions` say
who it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from ztm.errors import BrokenStreamError, TooLargeError, UsageError
from ztm.net.base import Exchange, Headers, Network, SessionLimits, Stream
from ztm.net.http1_head import read_within
from ztm.net.http1_server import serve_http1
from ztm.net.reply import RawHeaders, Reply, plain, run, text_headers
from ztm.net.scope import (
    LINK,
    PEER,
    UPGRADE,
    ASGIApp,
    HttpLimits,
    Message,
    Receive,
    Scope,
    Send,
    Upgrade,
    check_target,
    http_scope,
    is_websocket,
    method_of,
)

__all__ = [
    "LINK",
    "PEER",
    "UPGRADE",
    "ASGIApp",
    "HttpLimits",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "Upgrade",
    "answer_exchange",
    "is_websocket",
    "method_of",
    "plain",
    "serve_stream",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client of HTTP/2 sends first (RFC 9113 section 3.4)."""


async def serve_stream(
    network: Network,
    stream: Stream,
    app: ASGIApp,
    extensions: Mapping[str, object],
    *,
    http_limits: HttpLimits,
    session_limits: SessionLimits,
    own: bool = False,
) -> None:
    """Serve `app` on `stream` in the HTTP version that its first bytes speak, until the stream is over.

    The first byte may be awaited as long as `http_limits.idle_seconds`: v1 sends its preface only with its
    first request. Cancelling closes the session, or leaves the HTTP/1.1 stream to its owner.

    Source: spec mesh-protocol 1 and 20.
    """
    try:
        if not await _is_http2(stream, http_limits):
            await serve_http1(stream, app, extensions, http_limits)
            return
    except BrokenStreamError:
        return  # cut before it said anything

    answer = partial(answer_exchange, app=app, extensions=extensions, limits=http_limits)
    session = network.session(stream, "server", answer=answer, limits=session_limits, own=own)
    try:
        await session.closed()
    finally:
        session.close("no longer served")


async def _is_http2(stream: Stream, limits: HttpLimits) -> bool:
    """Whether the stream begins with the preface; what was read is put back.

    An idle, slow or empty stream is cut or ended, and then serves as HTTP/1.1 without requests.
    """
    seen = b""
    try:
        seen = await read_within(stream, limits.idle_seconds)
        if _may_become(seen):
            async with asyncio.timeout(limits.head_seconds):
                while _may_become(seen) and (more := await stream.read()):
                    seen += more
    except TimeoutError:
        stream.abort("no request came in time")
        return False
    if seen:
        stream.unread(seen)
    return seen.startswith(PREFACE)


def _may_become(seen: bytes) -> bool:
    """Whether more bytes are needed to tell."""
    return 0 < len(seen) < len(PREFACE) and PREFACE.startswith(seen)


async def answer_exchange(
    exchange: Exchange, app: ASGIApp, extensions: Mapping[str, object], limits: HttpLimits
) -> None:
    """Answer one HTTP/2 request with `app`; a CONNECT carries an `Upgrade` in its extensions.

    Source: spec mesh-protocol 4.2 (pseudo-headers, no ``content-length``) and 4.3.
    """
    kept = await _answered(exchange, app, extensions, limits)
    if kept is not None:
        await kept()
        exchange.end()


async def _answered(
    exchange: Exchange, app: ASGIApp, extensions: Mapping[str, object], limits: HttpLimits
) -> Callable[[], Awaitable[None]] | None:
    """Have `app` answer; what it leaves to be run on the stream that it took."""
    upgrade = None
    try:
        pseudo, headers = _split(exchange.request)
        if pseudo[":method"] == "CONNECT":
            upgrade = Upgrade(exchange, lambda fields: exchange.respond(200, fields))
            extensions = {**extensions, UPGRADE: upgrade}
        target = check_target(pseudo[":path"]).encode("utf-8", "surrogateescape")
    except UsageError as error:
        await _Http2Reply(exchange, "").fail(error.status, str(error))
        return None
    method = pseudo[":method"]
    scope = http_scope(exchange, version="2", method=method, target=target, headers=headers, extensions=extensions)
    reply = _Http2Reply(exchange, method, upgrade)
    await run(app, scope, _Body(exchange, limits.body_bytes, upgrade).receive, reply)
    if upgrade is None or not upgrade.accepted:
        return None
    if upgrade.kept is None:
        exchange.end()
    return upgrade.kept


def _split(request: Headers) -> tuple[dict[str, str], RawHeaders]:
    """Pseudo-headers by name, and the other fields as ASGI has them.

    Raises:
        UsageError: one is missing, empty, doubled, unknown, or comes after the other fields.
    """
    pseudo: dict[str, str] = {}
    fields: RawHeaders = []
    for name, value in request:
        if not name.startswith(":"):
            fields.append((name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")))
        elif fields or name in pseudo or name not in (":method", ":scheme", ":path", ":authority"):
            raise UsageError(f"malformed request: misplaced {name}")
        else:
            pseudo[name] = value
    for name in (":method", ":scheme", ":path"):
        if not pseudo.get(name):
            raise UsageError(f"malformed request: no {name}")
    host = (b"host", pseudo.get(":authority", "").encode("utf-8", "surrogateescape"))
    if ":authority" in pseudo and host not in fields:  # beside another one, so that who cares sees both
        fields.insert(0, host)
    return pseudo, fields


class _Body:
    """A request's body on HTTP/2; reading gives credit back, so a slow application holds its caller back."""

    def __init__(self, exchange: Exchange, limit: int, upgrade: Upgrade | None) -> None:
        self._exchange = exchange
        self._limit = limit
        self._taken = 0
        self._is_told = upgrade is not None  # what follows a CONNECT is the stream, never a body

    async def receive(self) -> Message:
        """The ASGI `receive`.

        Raises:
            TooLargeError: the body exceeds the bound.
            BrokenStreamError: the stream was cut.
        """
        if self._is_told:
            await self._exchange.ended()
            return {"type": "http.disconnect"}
        data = await self._exchange.read()
        self._taken += len(data)
        if self._limit and self._taken > self._limit:
            raise TooLargeError(f"the body is larger than {self._limit} bytes")
        self._is_told = not data
        return {"type": "http.request", "body": data, "more_body": not self._is_told}


class _Http2Reply(Reply):
    """An answer on HTTP/2."""

    def __init__(self, exchange: Exchange, method: str, upgrade: Upgrade | None = None) -> None:
        super().__init__(exchange, method, upgrade)
        self._exchange = exchange

    async def _put(self, headers: RawHeaders | None, body: bytes, *, last: bool) -> None:
        if headers is not None:
            # content-length is never sent: v1 keeps it per connection and would end every stream (4.2)
            fields = [field for field in text_headers(headers) if field[0] != "content-length"]
            self._exchange.respond(self.status, fields)
            self.started = True
        if body:
            await self._exchange.write(body)
        if last:
            self._exchange.end()
