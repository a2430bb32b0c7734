"""HTTP/1.1 as served to mesh peers and local clients: one request at a time over any stream.

It forgives one thing that v1 needs, a request without Host. It reads from the stream only what the
application asks for, so that a slow application holds its caller back, and it notices a caller that has
gone away only when the application reads or writes.
"""

import asyncio
from collections import deque
from collections.abc import Mapping

import h11

from ztm.errors import BrokenStreamError, TooLargeError, UsageError
from ztm.net.base import Stream
from ztm.net.http1_head import REASONS, BadHeadError, connect_accepted, read_request, refusal
from ztm.net.reply import RawHeaders, Reply, run
from ztm.net.scope import UPGRADE, ASGIApp, HttpLimits, Message, Scope, Upgrade, http_scope

_TITLED = (b"\r\nConnection: ", b"\r\nTransfer-Encoding: ")
_JOINED = 64 << 10
"""Bodies up to this many bytes leave in one write with their head; longer ones are not copied for it."""


async def serve_http1(stream: Stream, app: ASGIApp, extensions: Mapping[str, object], limits: HttpLimits) -> None:
    """Serve requests on `stream` with `app` until either side is done with it, then end the stream.

    `extensions` go into each request's scope; a CONNECT request also carries an `Upgrade`. Cancelling
    leaves the stream to its owner.

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
        parsed = await read_request(stream, limits)
        if parsed is None:
            return False
        connection, request = parsed
        if request.method == b"CONNECT":
            await _serve_connect(stream, app, extensions, connection, request)
            return False
        scope = _scope(stream, request, _origin(request.target), extensions)
    except BadHeadError as error:
        await stream.write(refusal(error.status, str(error)))
        return False
    body = _Body(connection, stream, limits.body_bytes)
    reply = _Http1Reply(stream, connection, request, body)
    if body.is_too_large(request):
        await reply.fail(TooLargeError.status, f"the body is larger than {limits.body_bytes} bytes")
        return False
    await run(app, scope, body.receive, reply)
    return reply.keeps and body.give_back()


async def _serve_connect(
    stream: Stream,
    app: ASGIApp,
    extensions: Mapping[str, object],
    connection: h11.Connection,
    request: h11.Request,
) -> None:
    """Serve a CONNECT. Afterwards the stream is over, taken or refused (spec apps-network 7 rule 1)."""
    upgrade = Upgrade(stream, lambda headers: stream.write_now(connect_accepted(headers)))
    scope = _scope(stream, request, request.target, {**extensions, UPGRADE: upgrade})
    await run(app, scope, _no_body, _Http1Reply(stream, connection, request, None, upgrade))


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


class _Body:
    """A request's body, read from the stream only as the application asks for it."""

    def __init__(self, connection: h11.Connection, stream: Stream, limit: int) -> None:
        self._connection = connection
        self._stream = stream
        self._limit = limit
        self._taken = 0
        self._pending: deque[bytes] = deque()
        self._is_told = False
        self._is_complete = False

    def is_too_large(self, request: h11.Request) -> bool:
        """Whether the request announces more than the bound."""
        declared = next((value for name, value in request.headers if name == b"content-length"), b"0")
        return bool(self._limit) and int(declared) > self._limit

    async def receive(self) -> Message:
        """The ASGI `receive`.

        Raises:
            TooLargeError: the body exceeds the bound.
            UsageError: it is not well framed.
            BrokenStreamError: the stream was cut.
        """
        if self._is_told:
            await self._gone()
            return {"type": "http.disconnect"}
        self._parse()
        if not self._pending and not self._is_complete and not await self._more():
            return {"type": "http.disconnect"}
        data = self._pending.popleft() if self._pending else b""
        self._taken += len(data)
        if self._limit and self._taken > self._limit:
            raise TooLargeError(f"the body is larger than {self._limit} bytes")
        self._is_told = self._is_complete and not self._pending
        return {"type": "http.request", "body": data, "more_body": not self._is_told}

    def is_complete(self) -> bool:
        """Whether all of it has been received, read or not."""
        try:
            self._parse()
        except UsageError:
            return False
        return self._is_complete

    def give_back(self) -> bool:
        """Put back what came behind the body; whether the body was complete, so that a request may follow."""
        rest = self._connection.trailing_data[0]
        if rest:
            self._stream.unread(rest)
        return self._is_complete

    async def _more(self) -> bool:
        """Read until there is something to tell; False when the peer has ended its side instead."""
        waiting = self._connection.they_are_waiting_for_100_continue
        if waiting and self._connection.our_state is h11.SEND_RESPONSE:
            go_on = h11.InformationalResponse(status_code=100, reason=b"Continue", headers=[])
            self._stream.write_now(self._connection.send(go_on))
        while not self._pending and not self._is_complete:
            data = await self._stream.read()
            if not data:
                return False
            self._connection.receive_data(data)
            self._parse()
        return True

    def _parse(self) -> None:
        """Move what has been received into `_pending`."""
        try:
            while not self._is_complete:
                event = self._connection.next_event()
                if isinstance(event, h11.Data):
                    self._pending.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._is_complete = True
                else:
                    return
        except h11.RemoteProtocolError as error:
            raise UsageError(f"malformed request body: {error}") from error

    async def _gone(self) -> None:
        """Wait until the caller is gone."""
        if not self._connection.trailing_data[0]:
            data = await self._stream.read()
            if not data:
                return
            self._connection.receive_data(data)  # kept as the beginning of the next request
        await self._stream.ended()


class _Http1Reply(Reply):
    """An answer in HTTP/1.1: `content-length` where the length is known, chunked where not."""

    def __init__(
        self,
        stream: Stream,
        connection: h11.Connection,
        request: h11.Request,
        body: _Body | None,
        upgrade: Upgrade | None = None,
    ) -> None:
        super().__init__(stream, request.method.decode(), upgrade)
        self._connection = connection
        self._request_body = body
        self._may_keep = request.http_version == b"1.1" and not _says_close(request)
        self.keeps = False
        """Whether the caller was told that another request may follow."""

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
        self.keeps = self._may_keep and self._request_body is not None and self._request_body.is_complete()
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
