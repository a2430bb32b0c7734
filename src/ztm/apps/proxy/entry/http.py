"""Serving a client that speaks HTTP/1.1 with the proxy: CONNECT, and plain requests in absolute form.

A request that is refused harms no later one. It is no origin itself: a request for the proxy is refused.

Source: RFC 9110 sections 7.6, 9.3.6, 11.7 and 15; RFC 9112 sections 3.2 and 9.
"""

import h11

from ztm.apps.audit import Trail
from ztm.apps.proxy.entry.client import Client
from ztm.apps.proxy.entry.destination import Destination
from ztm.apps.proxy.entry.http_body import Incoming, MalformedBodyError, Upload
from ztm.apps.proxy.entry.http_exchange import Exchange, StaleError, left
from ztm.apps.proxy.entry.http_fields import (
    Fields,
    Target,
    asks_for_websocket,
    login_of,
    may_repeat,
    request_fields,
    target_of,
)
from ztm.apps.proxy.entry.http_origin import Origin, Origins
from ztm.apps.proxy.entry.refusals import http_status
from ztm.errors import BrokenStreamError, ZtmError
from ztm.net.http1_head import REASONS, BadHeadError, read_request

ACCEPTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_CHALLENGE = (b"Proxy-Authenticate", b'Basic realm="ztm proxy", charset="UTF-8"')
"""Source: RFC 7617."""


async def serve_http(client: Client) -> None:
    """Serve the requests of one client until either side is done.

    Raises:
        BrokenStreamError: the client is gone.
    """
    origins, limits = Origins(client), client.limits.http()
    try:
        while True:
            try:
                parsed = await read_request(client.stream, limits)
            except BadHeadError as error:
                client.say(f"malformed HTTP: {error}")
                await client.refuse(_bare_refusal(error.status, str(error)))
                return
            if parsed is None:
                break
            connection, request = parsed
            if request.method == b"CONNECT":
                await _serve_connect(client, connection, request)
                return
            if not await _PlainRequest(client, origins, connection, request).serve():
                break
        await client.part()
    finally:
        origins.close()


async def _serve_connect(client: Client, connection: h11.Connection, request: h11.Request) -> None:
    """Serve a CONNECT. Where it is refused the connection ends: what the client sent meanwhile is no request."""
    try:
        if not await _is_welcome(client, request):
            await client.refuse(
                _refusal(connection, request, 407, "the proxy asks for a user name and a password", close=True)
            )
            return
        destination = Destination.parse(request.target.decode("ascii"))
        await client.connect(destination, ACCEPTED)
    except ZtmError as error:
        if client.stream.is_over:
            return
        client.say(str(error))
        await client.refuse(_refusal(connection, request, http_status(error), str(error), close=True))


async def _is_welcome(client: Client, request: h11.Request) -> bool:
    """Whether a request shows what it must."""
    if client.credentials is None:
        return True
    login = login_of(request)
    if login is None:
        return False
    if await client.may_pass(*login):
        return True
    client.note_wrong_password("connect" if request.method == b"CONNECT" else "request", request.target.decode("ascii"))
    return False


class _PlainRequest:
    """One request in absolute form."""

    def __init__(self, client: Client, origins: Origins, connection: h11.Connection, request: h11.Request) -> None:
        self._client = client
        self._origins = origins
        self._connection = connection
        self._request = request

    async def serve(self) -> bool:
        """Answer it, from its origin or with a refusal; whether another may follow on this connection.

        Raises:
            BrokenStreamError: the client is gone.
        """
        try:
            incoming = Incoming(self._client.stream, self._connection, self._request)
        except MalformedBodyError as error:
            await self._client.refuse(_refusal(self._connection, self._request, error.status, str(error), close=True))
            return False
        try:
            if not await _is_welcome(self._client, self._request):
                await self._refuse(incoming, 407, "the proxy asks for a user name and a password")
                return self._may_follow(incoming)
            target = target_of(self._request)
            head = h11.Request(
                method=self._request.method, target=target.path, headers=request_fields(self._request, target.authority)
            )
            return await self._forward(incoming, target, head)
        except ZtmError as error:
            if self._client.stream.is_over:
                return False
            self._client.say(str(error))
            await self._refuse(incoming, http_status(error), str(error))
            return self._may_follow(incoming)

    async def _forward(self, incoming: Incoming, target: Target, head: h11.Request) -> bool:
        """Have it answered by its origin; whether another may follow.

        Raises:
            ZtmError: it was not, and the client has been told nothing.
        """
        may_repeat_it = incoming.is_bodyless and may_repeat(self._request) and not asks_for_websocket(self._request)
        with self._client.session("request", target.destination) as trail:
            if may_repeat_it and (kept := await self._origins.take(target.destination)):
                try:
                    again = Upload(incoming, head, kept.connection, trail.meter)
                    return await self._exchange(incoming, target, kept, again, trail)
                except StaleError:
                    pass  # its origin left in between: ask anew
            connection = h11.Connection(h11.CLIENT, self._client.limits.header_bytes)
            upload = Upload(incoming, head, connection, trail.meter)
            origin = await self._open(incoming, target.destination, upload)
            return await self._exchange(incoming, target, origin, upload, trail)

    async def _open(self, incoming: Incoming, destination: Destination, upload: Upload) -> Origin:
        """A new stream to the origin, on which all that `upload` has given was sent."""
        client = self._client
        generation = client.generation()
        patience = client.limits.half_closed_seconds
        gone = left(client.stream, patience) if incoming.is_bodyless else client.stream.ended()
        passage = await client.open(destination, upload, gone)
        return Origin(passage, upload.connection, generation)

    async def _exchange(self, incoming: Incoming, target: Target, origin: Origin, upload: Upload, trail: Trail) -> bool:
        trail.target = origin.passage.exit
        exchange = Exchange(self._client, incoming, origin, trail)
        try:
            await exchange.run(upload)
        except BaseException as error:
            origin.stream.abort(str(error))
            if exchange.is_begun:
                self._client.stream.abort(str(error))  # an answer cut short must not look whole
            raise
        if exchange.is_switched:
            await self._switch(origin, trail)
            return False
        if incoming.is_whole:
            self._origins.keep(target.destination, origin)
        else:
            origin.stream.abort("answered before the request was whole")
        return self._may_follow(incoming)

    async def _switch(self, origin: Origin, trail: Trail) -> None:
        """Carry what both sides speak after a 101, until the end."""
        origin.stream.unread(origin.connection.trailing_data[0])
        try:
            await self._client.house.network.splice(self._client.stream, origin.stream, trail.meter)
        except BrokenStreamError as broken:
            trail.reason = str(broken)

    async def _refuse(self, incoming: Incoming, status: int, reason: str) -> None:
        await self._client.stream.write(
            _refusal(self._connection, self._request, status, reason, close=not incoming.is_whole)
        )

    def _may_follow(self, incoming: Incoming) -> bool:
        return incoming.is_whole and self._connection.our_state is h11.DONE


def _refusal(connection: h11.Connection, request: h11.Request, status: int, reason: str, *, close: bool) -> bytes:
    """The proxy's own answer to a request that was parsed."""
    body, headers = _told(reason)
    if status == 407:
        headers.append(_CHALLENGE)
    if close:
        headers.append((b"Connection", b"close"))
    events: list[h11.Event] = [h11.Response(status_code=status, reason=REASONS[status].encode(), headers=headers)]
    if request.method != b"HEAD":
        events.append(h11.Data(data=body))
    return b"".join([connection.send(event) or b"" for event in (*events, h11.EndOfMessage())])


def _bare_refusal(status: int, reason: str) -> bytes:
    """The same to a head that could not be parsed."""
    body, headers = _told(reason)
    lines = [b"%b: %b\r\n" % field for field in (*headers, (b"Connection", b"close"))]
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, REASONS[status].encode(), b"".join(lines), body)


def _told(reason: str) -> tuple[bytes, Fields]:
    """The body that tells a reason, and its fields; nothing in it is taken for a page."""
    body = f"ztm proxy: {reason}\n".encode("utf-8", "backslashreplace")
    return body, [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Content-Length", b"%d" % len(body)),
    ]
