"""What every stream of this package shares: held bytes, half-close, and pipes that move bytes by call-back.

Bytes go from a source to a sink without a task in between: `FlowStream.arrived` hands them to the outlet,
the outlet to the sink's `send`, and credit goes back to the source as the sink's own next hop takes them.
Nothing here knows a socket or a protocol.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ztm.errors import BrokenStreamError
from ztm.model import Address, Identity
from ztm.net.base import Meter


class Outlet(Protocol):
    """Who takes what a stream receives, as it arrives."""

    def push(self, data: bytes) -> None:
        """Take the next bytes; credit for them is given back by `FlowStream.credit`."""

    def finish(self) -> None:
        """The peer ended its side."""

    def broke(self, reason: str) -> None:
        """The stream was cut."""


class FlowStream:
    """A stream's common half. An implementation adds `_transmit`, `_credit`, `_end` and `_abort`."""

    __slots__ = (
        "_ended",
        "_finished",
        "_held",
        "_outlet",
        "_over",
        "_owed",
        "_prepaid",
        "_reader",
        "_reason",
        "_room",
        "_sent_end",
        "taken",
    )

    def __init__(self) -> None:
        self._held: deque[bytes] | None = None
        """Bytes that came before anyone took them; made when needed, as an empty deque takes 760 bytes."""
        self._outlet: Outlet | None = None
        self._reader: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._over: list[asyncio.Future[None]] | None = None
        self._finished = False
        """The peer has ended its side."""
        self._sent_end = False
        self._ended = False
        """Both directions are over."""
        self._reason: str | None = None
        """Why the stream was cut; None while it was not."""
        self._owed = 0
        """Bytes accepted by `send` that the hop below has not taken."""
        self._prepaid = 0
        """Bytes put back by `unread`, whose credit was given when they were read."""
        self.taken: Callable[[int], None] | None = None
        """Told of bytes that `send` could not pass on at once, as they are taken later."""

    # ------------------------------------------------------------------ facts

    @property
    def identity(self) -> Identity | None:
        """The verified peer certificate below this stream."""
        raise NotImplementedError

    @property
    def remote(self) -> Address | None:
        """The far end of the TCP connection below."""
        raise NotImplementedError

    @property
    def local(self) -> Address | None:
        """The near end of the TCP connection below."""
        raise NotImplementedError

    @property
    def is_own(self) -> bool:
        """Whether TLS showed that the peer is of this implementation."""
        return False

    @property
    def owed(self) -> int:
        """Bytes accepted by `send` that the hop below has not taken."""
        return self._owed

    @property
    def is_over(self) -> bool:
        """Whether both directions have ended or the stream was cut."""
        return self._ended

    @property
    def broken_by(self) -> str | None:
        """Why the stream was cut; None while it was not."""
        return self._reason

    # ------------------------------------------------------------------ for implementations

    def _transmit(self, data: bytes) -> int:
        """Pass `data` on or queue it; the bytes of it that the hop below has taken already."""
        raise NotImplementedError

    def _credit(self, size: int) -> None:
        """Let the peer send `size` bytes more."""
        raise NotImplementedError

    def _end(self) -> None:
        """Send the end of the own side, after all that was queued."""
        raise NotImplementedError

    def _abort(self, reason: str) -> None:
        """Cut the stream below."""
        raise NotImplementedError

    def arrived(self, data: bytes) -> None:
        """Bytes came from the peer."""
        if self._outlet is not None:
            self._outlet.push(data)
        else:
            if self._held is None:
                self._held = deque()
            self._held.append(data)
            wake(self._reader)

    def finished(self) -> None:
        """The peer ended its side."""
        if self._finished:
            return
        self._finished = True
        if self._outlet is not None:
            self._outlet.finish()
        wake(self._reader)
        self._check_over()

    def broken(self, reason: str) -> None:
        """The stream was cut, by whomever."""
        if self._ended:
            return
        self._reason = reason or "the stream was cut"
        self._settle()
        if self._outlet is not None:
            self._outlet.broke(self._reason)
        if self.taken is not None and self._owed:
            self.was_taken(self._owed)
        self._let_go()

    def was_taken(self, size: int) -> None:
        """The hop below took `size` bytes that `_transmit` had queued."""
        self._owed -= size
        if self._owed <= 0:
            wake(self._room)
        if self.taken is not None:
            self.taken(size)

    def _check_over(self) -> None:
        if self._finished and self._sent_end and not self._ended:
            self._settle()
            self._let_go()

    def _let_go(self) -> None:
        """Nothing comes or goes any more: no longer hold those who hold us, so that all is freed at once."""
        self._outlet = None
        self.taken = None

    def _settle(self) -> None:
        self._ended = True
        wake(self._reader)
        wake(self._room)
        for waiter in self._over or ():
            wake(waiter)
        self._over = None

    # ------------------------------------------------------------------ for users: push

    def attach(self, outlet: Outlet) -> None:
        """Hand all that was held, and all that comes from now on, to `outlet`."""
        self._outlet = outlet
        while self._held:
            outlet.push(self._held.popleft())
        if self._finished:
            outlet.finish()
        if self._reason is not None:
            outlet.broke(self._reason)

    def send(self, data: bytes) -> int:
        """Queue `data`; how much of it the hop below has taken already. Never waits.

        What is not yet taken is reported to `taken` later. On a cut stream the bytes go nowhere.
        """
        size = len(data)
        if self._ended or self._sent_end or not size:
            return size
        done = self._transmit(data)
        self._owed += size - done
        return done

    def credit(self, size: int) -> None:
        """Let the peer send `size` bytes more: the consumer has taken as many."""
        if self._prepaid:
            paid = min(size, self._prepaid)
            self._prepaid -= paid
            size -= paid
        if size and not self._ended:
            self._credit(size)

    # ------------------------------------------------------------------ for users: await

    async def read(self) -> bytes:
        """The next bytes, or ``b""`` at the peer's end; see `net.base.Stream`."""
        while not self._held:
            if self._finished:  # also when it was cut later: the peer's side is whole
                return b""
            if self._reason is not None:
                raise BrokenStreamError(self._reason)
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._held.popleft()
        self.credit(len(data))
        return data

    def unread(self, data: bytes) -> None:
        """Put `data` back in front; its credit stays given."""
        if data:
            self._prepaid += len(data)
            if self._held is None:
                self._held = deque()
            self._held.appendleft(data)

    def write_now(self, data: bytes) -> None:
        """Queue `data` without waiting."""
        self.send(data)

    async def write(self, data: bytes) -> None:
        """Send `data` and wait for room; see `net.base.Stream`."""
        if self._reason is not None:
            raise BrokenStreamError(self._reason)
        self.send(data)
        while self._owed > 0 and not self._ended:
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None
        if self._reason is not None:
            raise BrokenStreamError(self._reason)

    def end(self) -> None:
        """End the own side after what was written."""
        if self._sent_end or self._ended:
            return
        self._sent_end = True
        self._end()
        self._check_over()

    def abort(self, reason: str = "") -> None:
        """Cut both directions at once."""
        if self._ended:
            return
        self._abort(reason)
        self.broken(reason or "cut by this side")

    async def ended(self) -> None:
        """Wait until both directions are over."""
        if self._ended:
            return
        if self._over is None:
            self._over = []
        waiter = asyncio.get_running_loop().create_future()
        self._over.append(waiter)
        await waiter


class Tally:
    """What one pipe has carried, for those who look later and should not keep its streams alive."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Pipe:
    """One direction of a splice: from a source's arrivals into a sink, credit back as the sink takes them.

    See `net.base.Piping`.
    """

    __slots__ = ("_before", "_done", "_sink", "_source", "_tally")

    def __init__(self, source: FlowStream, sink: FlowStream, meter: Meter | None) -> None:
        self._source = source
        self._sink = sink
        self._tally = Tally()
        if meter is not None:
            meter.follow(self._tally)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._before = sink.owed
        """Bytes that others gave the sink before, and that it has not passed on yet: they are not the source's."""
        sink.taken = self._taken if self._before else source.credit
        source.attach(self)

    def _taken(self, size: int) -> None:
        others = min(size, self._before)
        self._before -= others
        self._source.credit(size - others)

    def push(self, data: bytes) -> None:
        """Pass bytes on."""
        self._tally.bytes += len(data)
        taken = self._sink.send(data)
        if taken:
            self._source.credit(taken)

    def finish(self) -> None:
        """Pass the end of file on."""
        self._sink.end()
        wake(self._done)

    def broke(self, reason: str) -> None:
        """Cut the sink as well."""
        self._sink.abort(reason)
        if not self._done.done():
            self._done.set_exception(BrokenStreamError(reason))
            self._done.exception()  # whoever awaits sees it; one who does not has cut the pipe himself

    async def joined(self, meter: Meter | None = None) -> None:
        """Pipe the other way as well, until both have ended; see `net.base.Piping`."""
        a, b = self._source, self._sink
        back = Pipe(b, a, None)
        if meter is not None:
            meter.follow(received=back._tally)
        try:
            await self._done
            await back._done
            await a.ended()
            await b.ended()
            for stream in (a, b):
                if stream.broken_by is not None:  # after both ends of file, with bytes still on their way
                    raise BrokenStreamError(stream.broken_by)
        except asyncio.CancelledError:
            a.abort("cancelled")
            b.abort("cancelled")
            raise
        except BrokenStreamError as broken:
            a.abort(str(broken))
            b.abort(str(broken))
            raise


def wake(waiter: asyncio.Future[None] | None) -> None:
    """Let the one who waits go on, if there is one."""
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
