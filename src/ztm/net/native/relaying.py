"""A UDP session that the core carries: Python only waits for the end."""

import asyncio
from collections.abc import Sequence

from ztm_native import Counter

from ztm.model import Address
from ztm.net.base import DatagramLimits
from ztm.net.flow import wake
from ztm.net.native.datagrams import NativeDatagrams
from ztm.net.native.plane import Plane
from ztm.net.native.stream import NativeStream


class NativeRelaying:
    """See `net.base.Relaying`."""

    __slots__ = ("_ended", "_ending", "_handle", "_plane", "_stream", "given", "taken")

    def __init__(
        self,
        plane: Plane,
        socket: NativeDatagrams,
        peer: Address | None,
        stream: NativeStream,
        limits: DatagramLimits,
        early: Sequence[bytes],
    ) -> None:
        self.taken, self.given = Counter(), Counter()
        self._plane = plane
        self._stream = stream
        self._ending = ""
        self._ended: asyncio.Future[None] = plane.loop.create_future()
        self._handle = plane.core.relay(
            socket.handle,
            peer.host if peer is not None else None,
            peer.port if peer is not None else 0,
            stream.handle,
            self.taken,
            self.given,
            early=early,
            idle=limits.idle_seconds,
            linger=limits.linger_seconds,
            datagrams=limits.queued_datagrams,
            bytes=limits.queued_bytes,
        )
        plane.waiting[self._handle.token] = self
        plane.schedule()

    @property
    def is_over(self) -> bool:
        """See `net.base.Relaying`."""
        return self._handle.is_over

    @property
    def silence(self) -> float:
        """See `net.base.Relaying`."""
        return self._handle.silence

    @property
    def ending(self) -> str:
        """See `net.base.Relaying`."""
        return self._ending

    def happened(self, _kind: int, detail: str) -> None:
        """It is over."""
        self._ending = detail or self._ending
        cut_for = self._handle.cut_for
        if cut_for is not None:
            self._stream.abort(cut_for)
        self._plane.waiting.pop(self._handle.token, None)
        wake(self._ended)

    def give_up(self) -> None:
        """See `plane.Waiting`."""
        self._handle.stop()

    def abort(self, reason: str = "") -> None:
        """See `net.base.Relaying`."""
        if not self._ended.done():
            self._ending = self._ending or reason or "cut by this side"
            self._handle.stop()
        self._stream.abort(reason)

    async def ended(self) -> None:
        """See `net.base.Relaying`."""
        try:
            await self._ended
        finally:
            self._handle.stop()
            self._plane.waiting.pop(self._handle.token, None)
            if not self._stream.is_over:
                self._stream.end()
