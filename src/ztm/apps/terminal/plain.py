"""A session's way to and from v1: bare bytes of a terminal, without sizes, signals or an exit status.

It translates to and from frames, so that nobody else needs to know of v1.

Source: spec apps-network 3.2, 3.3.
"""

import asyncio

from ztm.errors import BrokenStreamError, ForbiddenError
from ztm.net.base import Stream
from ztm.wire.console import Frame, Kind, status_frame

REFUSED = b"Forbidden\n"
"""All that a v1 endpoint says to whom it refuses (weakness M5)."""
END_OF_INPUT, INTERRUPT = b"\x04", b"\x03"
"""Ctrl-D and Ctrl-C, as a terminal is told (termios(3), VEOF and VINTR)."""


class PlainCaller:
    """A v1 caller: what it sends is input, and both outputs are one."""

    is_sure = False

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._is_ended = False
        self.credit = asyncio.Semaphore(0)

    @property
    def is_over(self) -> bool:
        """See `Link`."""
        return self._stream.is_over

    async def receive(self) -> Frame | None:
        """See `Link`."""
        try:
            if not self._is_ended and await self._is_wanted():
                data = await self._stream.read()
                self._is_ended = not data
                return Frame(Kind.STDIN, data)
        except BrokenStreamError:
            return None
        await self._stream.ended()
        return None

    async def _is_wanted(self) -> bool:
        """Whether input is wanted, once it is; False if the caller goes away before."""
        wanting = asyncio.ensure_future(self.credit.acquire())
        leaving = asyncio.ensure_future(self._stream.ended())
        try:
            await asyncio.wait((wanting, leaving), return_when=asyncio.FIRST_COMPLETED)
            return wanting.done()
        finally:
            for task in (wanting, leaving):
                task.cancel()

    async def send(self, frame: Frame) -> None:
        """See `Link`."""
        if frame.kind in (Kind.STDOUT, Kind.STDERR):
            await self._stream.write(frame.payload)

    def send_now(self, frame: Frame) -> None:
        """See `Link`."""
        if frame.kind is Kind.WANT:
            self.credit.release()

    def abort(self, reason: str) -> None:
        """See `Link`."""
        self._stream.abort(reason)


class PlainEndpoint:
    """A v1 endpoint, from its caller: bytes to a terminal and from it, and no exit status.

    It kills its shell when input ends, so the end is told as a terminal does (weakness M6).
    """

    is_sure = True

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._is_begun = self._is_told = False
        self.credit = asyncio.Semaphore(1)

    @property
    def is_over(self) -> bool:
        """See `Link`."""
        return self._stream.is_over

    async def receive(self) -> Frame | None:
        """See `Link`."""
        if self._is_told:
            return None
        data = await self._stream.read()
        if not self._is_begun and data == REFUSED:
            more = await self._stream.read()
            if not more:
                raise ForbiddenError(
                    "it refused, and its owner can allow it there: ztm terminal config --add-user NAME"
                )
            data += more
        self._is_begun = True
        self._is_told = not data
        return Frame(Kind.STDOUT, data) if data else status_frame(0)

    async def send(self, frame: Frame) -> None:
        """See `Link`."""
        if frame.kind is Kind.STDIN:
            await self._stream.write(frame.payload or END_OF_INPUT)
            self.credit.release()

    def send_now(self, frame: Frame) -> None:
        """See `Link`."""
        if frame.kind is Kind.INTERRUPT:
            self._stream.write_now(INTERRUPT)

    def abort(self, reason: str) -> None:
        """See `Link`."""
        self._stream.abort(reason)
