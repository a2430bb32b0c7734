"""One UDP session carried in Python: datagrams of a socket on one side, frames on a stream on the other.

It holds a bounded number of datagrams and drops what is beyond, as a full network queue would. Who the
other side is, and whether it may be, was decided before.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from ztm.errors import BrokenStreamError, UsageError
from ztm.net.base import DatagramLimits, Stream
from ztm.wire.datagram import Decoder, encode


class Relay:
    """Carries datagrams until either side ends, or nothing came from either for `idle_seconds`.

    `emit` sends one datagram to the socket's side; `now` is the network's monotonic clock.
    """

    def __init__(self, emit: Callable[[bytes], None], now: Callable[[], float], limits: DatagramLimits) -> None:
        self._emit = emit
        self._now = now
        self._limits = limits
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._waiter: asyncio.Future[None] | None = None
        self._stream: Stream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._used = now()
        self._is_closed = False
        self._broken: str | None = None
        self._is_idle = False

    # ------------------------------------------------------------------ the socket's side

    def offer(self, datagram: bytes) -> bool:
        """Take a datagram from the socket; False if it was dropped."""
        if (
            not datagram  # peers drop empty ones anyway (spec apps-network 1.3)
            or self._is_closed
            or len(self._queue) >= self._limits.queued_datagrams
            or self._queued + len(datagram) > self._limits.queued_bytes
        ):
            return False
        self._used = self._now()
        self._queue.append(datagram)
        self._queued += len(datagram)
        self._wake()
        return True

    @property
    def is_over(self) -> bool:
        """Whether nothing will be carried any more."""
        return self._is_closed

    @property
    def ending(self) -> str:
        """What it was cut for, ``idle``, or an empty text if a side ended it."""
        return "idle" if self._is_idle else self._broken or ""

    def abort(self, reason: str = "") -> None:
        """Cut the session. Idempotent."""
        self._broken = self._broken or reason or "cut by this side"
        self._close()
        if self._stream is not None:
            self._stream.abort(reason)

    def _close(self) -> None:
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ------------------------------------------------------------------ the stream's side

    async def take(self) -> list[bytes]:
        """The datagrams that wait, at least one; none once the session has closed. Cancelling it loses nothing.

        Raises:
            BrokenStreamError: the session was cut.
        """
        while not self._queue:
            if self._broken is not None:
                raise BrokenStreamError(self._broken)
            if self._is_closed:
                return []
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.drain()

    def drain(self) -> list[bytes]:
        """The datagrams that wait now."""
        taken = list(self._queue)
        self._queue.clear()
        self._queued = 0
        return taken

    async def read(self) -> bytes:
        """The same as `take`, as frames, so that a session is read like a client's stream."""
        return b"".join([encode(datagram) for datagram in await self.take()])

    async def run(self, stream: Stream) -> None:
        """Carry both ways until the end; `stream` has ended or was cut then."""
        self._stream = stream
        if self._broken is not None:
            stream.abort(self._broken)
        self._watch()
        upward = asyncio.get_running_loop().create_task(self._upward(stream))
        try:
            await self._downward(stream)
        except BrokenStreamError:
            pass  # cut by whomever: nobody is owed a datagram
        except UsageError as error:
            self.abort(str(error))
        finally:
            self._unwatch()
            self._close()
            upward.cancel()
            await asyncio.wait((upward,))
            if not stream.is_over:
                stream.end()

    async def run_here(self, send: Callable[[bytes], None], early: bytes) -> None:
        """Carry to a socket of this process instead: `send` takes `early`, frames read before, and what is offered."""
        self._watch()
        for datagram in Decoder().feed(early):
            send(datagram)
        try:
            while datagrams := await self.take():
                for datagram in datagrams:
                    send(datagram)
        except BrokenStreamError:
            pass  # cut on purpose
        finally:
            self._unwatch()
            self._close()

    def emit(self, datagram: bytes) -> None:
        """Pass a datagram to the socket's side."""
        self._used = self._now()
        self._emit(datagram)

    async def _upward(self, stream: Stream) -> None:
        try:
            while frames := await self.read():
                await stream.write(frames)
            stream.end()
        except BrokenStreamError:
            return  # whoever reads the stream sees it as well

    async def _downward(self, stream: Stream) -> None:
        decoder = Decoder()
        while data := await stream.read():
            for datagram in decoder.feed(data):
                self.emit(datagram)

    # ------------------------------------------------------------------ time

    def _watch(self) -> None:
        self._used = self._now()
        self._timer = asyncio.get_running_loop().call_later(self._limits.idle_seconds, self._check_idle)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_idle(self) -> None:
        left = self._used + self._limits.idle_seconds - self._now()
        loop = asyncio.get_running_loop()
        if left > 0:
            self._timer = loop.call_later(left, self._check_idle)
            return
        self._is_idle = True
        self._close()
        # A v1 exit may never end its side (weakness T8): then it is cut.
        self._timer = loop.call_later(self._limits.linger_seconds, self.abort, "idle")
