"""HTTP/1.1 as served to mesh peers and local clients: one request at a time over any stream, or a WebSocket.

It forgives one thing that v1 needs, a request without Host. It reads from the stream only what the
application asks for, so that a slow application holds its caller back, and it notices a caller that has
gone away only when the application reads or writes.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property

import h11

from ztm.errors import BrokenStreamError, TooLargeError
from ztm.net.base import Stream
from ztm.net.http1_body import RequestBody
from ztm.net.http1_head import (
    REASONS,
    BadHeadError,
    connect_accepted,
    parse,
    parsed,
    plain_connect,
    read_head,
    refusal,
)
from ztm.net.reply import RawHeaders, Reply, run
from ztm.net.scope import UPGRADE, ASGIApp, HttpLimits, Message, Scope, Upgrade, http_scope

_TITLED = (b"\r\nConnection: ", b"\r\nTransfer-Encoding: ")
_SWITCHING = REASONS[101].encode()
_JOINED = 64 << 10
"""Bodies up to this many bytes leave in one write with their head; longer ones are not copied for it."""


async def serve_http1(stream: Stream, app: ASGIApp, extensions: Mapping[str, object], limits: HttpLimits) -> None:
    """Serve requests on `stream` with `app` until either side is done with it, then end the stream.

    `extensions` go into each request's scope; a CONNECT request also carries an `Upgrade`, and the handshake of a
    WebSocket becomes one (RFC 6455). Cancelling leaves the stream to its owner.

    Source: spec mesh-protocol 4.5, agent-api 1, apps-network 7 rule 1.
    """
    try:
        while await _serve_request(stream, app, extensions, limits):
            pass
        await _farewell(stream, limits.linger_seconds)
    except BrokenStreamError:
        return  # the peer cut the stream: nobody is left to tell


async def _serve_request(stream: Stream, app: ASGIApp, extensions: Mapping[str, object], limits: HttpLimits) -> bool:
    """Serve one request; whether another may follow on this stream."""
    try:
        read = await read_head(stream, limits)
        if read is None:
            return False
        if (plain := plain_connect(read[0])) is not None:
            stream.unread(read[1])
            await _serve_connect(
                stream, app, _plain_scope(stream, *plain, extensions), lambda: parse(read[0], limits)[0]
            )
            return False
        connection, request = parsed(stream, *read, limits)
        if request.method == b"CONNECT":
            await _serve_connect(stream, app, _scope(stream, request, request.target, extensions), lambda: connection)
            return False
        scope = _scope(stream, request, _origin(request.target), extensions)
        if _asks_for_websocket(request):
            await _serve_websocket(stream, app, scope, connection, limits)
            return False
    except BadHeadError as error:
        await stream.write(refusal(error.status, str(error)))
        return False
    body = RequestBody(connection, stream, limits.body_bytes)
    may_keep = request.http_version == b"1.1" and not _says_close(request)
    reply = _Http1Reply(stream, request.method.decode(), lambda: connection, body, may_keep=may_keep)
    if body.is_too_large(request):
        await reply.fail(TooLargeError.status, f"the body is larger than {limits.body_bytes} bytes")
        return False
    await run(app, scope, body.receive, reply)
    return reply.keeps and body.give_back()


async def _serve_connect(stream: Stream, app: ASGIApp, scope: Scope, parser: Callable[[], h11.Connection]) -> None:
    """Serve a CONNECT. Afterwards the stream is over, taken or refused (spec apps-network 7 rule 1).

    `parser` gives the one that has seen the request; it is called for a refusal only.
    """
    upgrade = Upgrade(stream, lambda headers: stream.write_now(connect_accepted(headers)))
    scope["extensions"] = {**scope["extensions"], UPGRADE: upgrade}
    await run(app, scope, _no_body, _Http1Reply(stream, "CONNECT", parser, upgrade=upgrade))
    if upgrade.kept is not None:
        await upgrade.kept()


async def _serve_websocket(
    stream: Stream, app: ASGIApp, scope: Scope, connection: h11.Connection, limits: HttpLimits
) -> None:
    """Serve a WebSocket, or the answer that denies it; the stream is over afterwards.

    Raises:
        BadHeadError: the handshake has a body.
    """
    from ztm.net.websocket import serve_websocket  # memory that an agent without such apps does not need

    try:
        is_bare = type(connection.next_event()) is h11.EndOfMessage
    except h11.RemoteProtocolError:
        is_bare = False
    if not is_bare:
        raise BadHeadError(400, "a WebSocket's handshake has no body")
    stream.unread(connection.trailing_data[0])

    def switch(headers: RawHeaders) -> None:
        stream.write_now(
            connection.send(h11.InformationalResponse(status_code=101, reason=_SWITCHING, headers=headers))
        )

    denial = _Http1Reply(stream, "GET", lambda: connection)
    await serve_websocket(stream, app, scope, denial, switch, limits.message_bytes)


def _asks_for_websocket(request: h11.Request) -> bool:
    """Whether this is the handshake of a WebSocket, be it well formed or not (RFC 6455 section 4.2.1)."""
    return (
        request.method == b"GET"
        and request.http_version == b"1.1"
        and _says(request, b"upgrade", b"websocket")
        and _says(request, b"connection", b"upgrade")
    )


def _says(request: h11.Request, field: bytes, word: bytes) -> bool:
    """Whether `word` is in the list that `field` holds."""
    lists = (value for name, value in request.headers if name == field)
    return any(each.strip().lower() == word for value in lists for each in value.split(b","))


def _plain_scope(stream: Stream, target: bytes, headers: RawHeaders, extensions: Mapping[str, object]) -> Scope:
    return http_scope(stream, version="1.1", method="CONNECT", target=target, headers=headers, extensions=extensions)


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _scope(stream: Stream, request: h11.Request, target: bytes, extensions: Mapping[str, object]) -> Scope:
    authority = _authority(request.target)
    headers = [field for field in request.headers if field[0] != b"host" or (field[1] and authority is None)]
    if authority is not None:
        headers.insert(0, (b"host", authority))
    return http_scope(
        stream,
        version=request.http_version.decode(),
        method=request.method.decode(),
        target=target,
        headers=headers,
        extensions=extensions,
    )


def _authority(target: bytes) -> bytes | None:
    """The host that a request-target in absolute form names, which counts instead of Host (RFC 9112 section 3.2.2)."""
    scheme, found, rest = target.partition(b"://")
    return rest.partition(b"/")[0].partition(b"?")[0] if found and scheme.isalnum() else None


def _origin(target: bytes) -> bytes:
    """Path and query of a request-target; the absolute form is understood as well (RFC 9112 section 3.2.2).

    Raises:
        BadHeadError: it has no path.
    """
    if target.startswith(b"/") or target == b"*":
        return target
    scheme, found, rest = target.partition(b"://")
    if not found or not scheme.isalnum():
        raise BadHeadError(400, "the request target must begin with /")
    return b"/" + rest.partition(b"/")[2]


async def _farewell(stream: Stream, seconds: float) -> None:
    """End the stream, and cut it if the peer has not ended its side within `seconds`.

    What still comes is read and dropped meanwhile: bytes unread at a cut would take the last answer with them.
    """
    stream.end()
    try:
        async with asyncio.timeout(seconds):
            while await stream.read():
                pass
    except TimeoutError:
        stream.abort("the peer did not end its side")


class _Http1Reply(Reply):
    """An answer in HTTP/1.1: `content-length` where the length is known, chunked where not."""

    def __init__(
        self,
        stream: Stream,
        method: str,
        parser: Callable[[], h11.Connection],
        body: RequestBody | None = None,
        *,
        upgrade: Upgrade | None = None,
        may_keep: bool = False,
    ) -> None:
        super().__init__(stream, method, upgrade)
        self._parser = parser
        self._request_body = body
        self._may_keep = may_keep
        self.keeps = False
        """Whether the caller was told that another request may follow."""

    @cached_property
    def _connection(self) -> h11.Connection:
        return self._parser()

    async def _put(self, headers: RawHeaders | None, body: bytes, *, last: bool) -> None:
        out = []
        if headers is not None:
            out.append(self._head(headers))
        if body:
            out += self._connection.send_with_data_passthrough(h11.Data(data=body)) or []
        if last:
            out.append(self._connection.send(h11.EndOfMessage()))
        if len(body) <= _JOINED:
            out = [b"".join(out)]
        for part in out:
            if part:
                await self.stream.write(part)

    def _head(self, headers: RawHeaders) -> bytes:
        may_keep = self._may_keep and not self.closes
        self.keeps = may_keep and self._request_body is not None and self._request_body.is_complete()
        connection = (b"connection", b"keep-alive" if self.keeps else b"close")
        reason = REASONS.get(self.status, "Status").encode()
        head = h11.Response(status_code=self.status, reason=reason, headers=[*headers, connection])
        text = self._connection.send(head)
        self.started = True
        for title in _TITLED:  # h11 writes these so itself; values hold no line ends
            text = text.replace(title, title.lower(), 1)
        return text


def _says_close(request: h11.Request) -> bool:
    return any(name == b"connection" and b"close" in value.lower() for name, value in request.headers)
