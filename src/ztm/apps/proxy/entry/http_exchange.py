"""One plain request and its answer between a client and an origin, both ways at once.

It decides neither where the origin is nor whether the stream is kept afterwards.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import h11

from ztm.apps.audit import Trail
from ztm.apps.proxy.entry.client import GONE, Client, stopped
from ztm.apps.proxy.entry.http_body import Incoming, MalformedBodyError, Upload
from ztm.apps.proxy.entry.http_fields import answer_fields
from ztm.apps.proxy.entry.http_origin import Origin
from ztm.errors import BrokenStreamError
from ztm.net.base import Stream


class StaleError(BrokenStreamError):
    """The origin ended a kept stream before it had answered anything: the request may be sent again."""


class Exchange:
    """One request on its way, and its answer on the way back."""

    def __init__(self, client: Client, incoming: Incoming, origin: Origin, trail: Trail) -> None:
        self._client = client
        self._incoming = incoming
        self._origin = origin
        self._trail = trail
        self._is_heard = False
        """Whether the origin has said anything to this request."""
        self.is_begun = False
        """Whether the client has the head of an answer, so that no other one can follow."""
        self.is_switched = False
        """Whether the answer was 101: both streams are the WebSocket's from now on."""

    async def run(self, upload: Upload) -> None:
        """Send on the rest of `upload`, and give the client the answer.

        Raises:
            StaleError: the origin left without a word, and it was a kept stream.
            MalformedBodyError: the client's body is not well framed.
            BrokenStreamError: the client is gone, or the origin gave no whole answer.
        """
        answering = asyncio.ensure_future(self._answer())
        sending = asyncio.ensure_future(self._send(upload))
        try:
            await asyncio.wait((answering, sending), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
            else:
                sending.result()
                raise BrokenStreamError(GONE)
        finally:
            await stopped(answering, sending)

    # ------------------------------------------------------------------ there

    async def _send(self, upload: Upload) -> None:
        """Send the request, and return when the client is gone."""
        try:
            while data := await upload.read():
                if not await self._put(data):
                    break
        except MalformedBodyError:
            raise
        except BrokenStreamError:
            return
        if self._incoming.is_whole:
            await left(self._client.stream, self._client.limits.half_closed_seconds, lambda: self._trail.meter.received)
        else:
            await self._client.stream.ended()

    async def _put(self, data: bytes) -> bool:
        """Send to the origin; False if it takes no more, for which its answer may say the reason."""
        try:
            await self._origin.stream.write(data)
        except BrokenStreamError:
            return False
        return True

    # ------------------------------------------------------------------ back

    async def _answer(self) -> None:
        connection = self._origin.connection
        try:
            while not await self._pass_on():
                data = await self._origin.stream.read()
                self._is_heard = self._is_heard or bool(data)
                self._trail.meter.received += len(data)
                connection.receive_data(data)
        except h11.ProtocolError as error:
            self._check_stale()
            raise BrokenStreamError(f"no whole HTTP/1.1 answer from the origin ({error})") from error
        except BrokenStreamError:
            self._check_stale()
            raise

    def _check_stale(self) -> None:
        if self._origin.is_used and not self._is_heard:
            raise StaleError("the origin ended a kept stream")

    async def _pass_on(self) -> bool:
        """Give the client what has come of the answer; whether that was all of it."""
        out: list[bytes] = []
        is_last = False
        while not is_last:
            event = self._origin.connection.next_event()
            if not isinstance(event, h11.Event):
                break  # more is needed
            if isinstance(event, h11.ConnectionClosed):
                raise BrokenStreamError("the origin ended its side before it answered")
            out += self._translated(event)
            is_last = isinstance(event, h11.EndOfMessage) or self.is_switched
        for part in _joined(out):
            await self._client.stream.write(part)
        return is_last

    def _translated(self, event: h11.Event) -> list[bytes]:
        """What the client is sent for one event."""
        own = self._incoming.connection
        if isinstance(event, h11.Data):
            return own.send_with_data_passthrough(event) or []
        if isinstance(event, h11.EndOfMessage):
            return [own.send(h11.EndOfMessage()) or b""]
        if isinstance(event, h11.InformationalResponse):
            return self._informed(event)
        assert isinstance(event, h11.Response)  # nothing else comes from an origin
        fields = answer_fields(event)
        if not self._incoming.is_whole:
            fields.append((b"Connection", b"close"))
        self.is_begun = True
        head = h11.Response(status_code=event.status_code, reason=event.reason, headers=fields)
        return [own.send(head) or b""]

    def _informed(self, event: h11.InformationalResponse) -> list[bytes]:
        if self._incoming.request.http_version < b"1.1":
            return []  # RFC 9110 section 15.2
        fields = answer_fields(event)
        self.is_begun = self.is_switched = event.status_code == 101
        head = h11.InformationalResponse(status_code=event.status_code, reason=event.reason, headers=fields)
        return [self._incoming.connection.send(head) or b""]


async def left(stream: Stream, patience: float, progress: Callable[[], int] = lambda: 0) -> None:
    """Wait until a client that only waits for its answer has left.

    One that has ended its own side alone has left once `progress` stood still for `patience` seconds.
    """
    try:
        data = await stream.read()
        if data:  # its next request: it is still there
            stream.unread(data)
            await stream.ended()
            return
        before = -1
        while before != (before := progress()) and not stream.is_over:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await stream.ended()
    except BrokenStreamError:
        return


_SMALL = 64 << 10
"""Bytes of an answer that leave in one write."""


def _joined(parts: list[bytes]) -> list[bytes]:
    """The same bytes in one piece, unless copying them costs more than another write."""
    return [b"".join(parts)] if sum(map(len, parts)) <= _SMALL else [part for part in parts if part]
