"""One HTTP/2 connection of the native plane: its frames, windows and PINGs stay there, and new streams come here."""

import asyncio
from typing import Any

from ztm_native import REQUEST
from ztm_native import Session as Handle

from ztm.errors import BrokenStreamError, LimitError
from ztm.model import Address, Identity
from ztm.net.answering import LATE, LINGER, Answering
from ztm.net.base import Answer, Headers
from ztm.net.native.exchange import NativeExchange, sendable
from ztm.net.native.stream import NativeStream


class NativeSession:
    """See `net.base.Session`; made by `NativeNetwork.session`."""

    __slots__ = ("_answering", "_handle", "_leaving", "_reason", "_stream", "_timer", "_waiters", "own", "plane")

    def __init__(self, stream: NativeStream, handle: Handle, answer: Answer | None, own: bool) -> None:
        self.own = own
        self.plane = stream.plane
        self._stream = stream
        self._handle = handle
        self._reason: str | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._answering = (
            Answering[NativeExchange](answer, self.plane.loop, self._linger) if answer is not None else None
        )
        self._leaving: dict[NativeExchange, float] = {}
        """Answered streams whose peer has not ended its side, oldest first, and when each is cut over that."""
        self._timer: asyncio.TimerHandle | None = None
        self.plane.waiting[handle.token] = self
        self.plane.schedule()

    # ------------------------------------------------------------------ facts

    @property
    def identity(self) -> Identity | None:
        """See `net.base.Session`."""
        return self._stream.identity

    @property
    def remote(self) -> Address | None:
        """See `net.base.Session`."""
        return self._stream.remote

    @property
    def local(self) -> Address | None:
        """The near end of the TCP connection below."""
        return self._stream.local

    @property
    def is_open(self) -> bool:
        """See `net.base.Session`."""
        return self._reason is None and self._handle.is_open

    @property
    def streams(self) -> int:
        """See `net.base.Session`."""
        return self._handle.streams

    @property
    def held(self) -> int:
        """Received bytes not yet taken, over all streams."""
        return self._handle.held

    @property
    def silence(self) -> float:
        """See `net.base.Session`."""
        return self._handle.silence

    @property
    def round_trip(self) -> float | None:
        """See `net.base.Session`."""
        return self._handle.round_trip

    # ------------------------------------------------------------------ opening and ending

    def open(self, headers: Headers, *, end: bool = False) -> NativeExchange:
        """Start a stream at once; see `net.base.Session`.

        Raises:
            BrokenStreamError: the session is over.
            LimitError: the peer takes no more streams, or this session has had all that it can have.
        """
        if self._reason is not None:
            raise BrokenStreamError(self._reason)
        handle = self._handle.open(sendable(headers))
        if handle is None:
            reason = self._handle.reason
            if reason is not None:
                raise BrokenStreamError(reason)
            raise LimitError("the peer takes no more streams on this session")
        self.plane.schedule()
        exchange = NativeExchange(self, handle, headers)
        if end:
            exchange.end()
        return exchange

    def close(self, reason: str = "") -> None:
        """End the session with a GOAWAY that carries the reason; see `net.base.Session`."""
        if self._reason is not None:
            return
        self._handle.close(reason)
        self.plane.schedule()
        self._over(reason or "closed by this side")

    async def closed(self) -> str:
        """Wait for the end; see `net.base.Session`."""
        if self._reason is None:
            waiter = self.plane.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        return self._reason or ""

    def _over(self, reason: str) -> None:
        """Nothing comes or goes any more; streams that we opened hear of it from the core."""
        if self._reason is not None:
            return
        self._reason = reason
        self.plane.waiting.pop(self._handle.token, None)
        self._stream.hold()
        for exchange in [*(self._answering or ()), *self._leaving]:
            exchange.broken(reason)
            self.stop(exchange)
        self._answering = None  # it holds whoever holds this, and both are to be freed at once
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # ------------------------------------------------------------------ events

    def happened(self, kind: int, detail: Any) -> None:
        """The peer opened a stream, or the session is over."""
        if kind != REQUEST:
            self._over(detail)
        elif self._answering is not None:
            exchange = NativeExchange(self, detail, None)
            exchange.hold()
            self._answering.start(exchange)

    def give_up(self) -> None:
        """See `plane.Waiting`."""
        self._handle.close("its event loop is no more")

    def stop(self, exchange: NativeExchange) -> None:
        """`exchange` was cut by its peer: stop the handler that works for nobody now."""
        if self._answering is not None:
            self._answering.stop(exchange)

    def forget(self, exchange: NativeExchange) -> None:
        """A stream is over."""
        self._leaving.pop(exchange, None)

    # ------------------------------------------------------------------ peers that do not end their side

    def _linger(self, exchange: NativeExchange) -> None:
        self._leaving[exchange] = self.plane.loop.time() + LINGER
        if self._timer is None:
            self._timer = self.plane.loop.call_later(LINGER, self._cut_late)

    def _cut_late(self) -> None:
        now, self._timer = self.plane.loop.time(), None
        for exchange, until in list(self._leaving.items()):
            if until > now:
                self._timer = self.plane.loop.call_at(until, self._cut_late)
                return
            exchange.abort(LATE)
            self._leaving.pop(exchange, None)
