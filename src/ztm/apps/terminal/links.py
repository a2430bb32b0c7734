"""The two ends of a session's way: frames over a stream, or this process alone; v1's bare bytes are in `plain`.

Going up, a piece of input travels only when it is wanted, so that input that a program does not read stands in the way
of no window's size, no signal and no end. Nothing here decides anything.

Source: spec apps-network 3.3 and 7 rule 8.
"""

import asyncio
from collections import deque
from typing import Protocol

from ztm.errors import BrokenStreamError, UsageError
from ztm.net.base import Stream
from ztm.wire.console import Frame, Frames, Kind

PIECES = 16
"""Pieces of input under way: 1 MiB, so that a far endpoint is not waited for after each."""
_HELD = 4
"""Output frames that wait in this process for somebody to take them."""


class Link(Protocol):
    """One end."""

    is_sure: bool
    """Whether the other side's leaving is noticed for certain; v1 only ends its input then."""
    credit: asyncio.Semaphore
    """For the caller's end: pieces of input that are wanted."""

    @property
    def is_over(self) -> bool:
        """Whether it has been cut, or both sides have ended it."""

    async def receive(self) -> Frame | None:
        """The next frame of the other side; None once it is gone."""

    async def send(self, frame: Frame) -> None:
        """Send a frame, and wait for room.

        Raises:
            BrokenStreamError: the other side is gone.
        """

    def send_now(self, frame: Frame) -> None:
        """Send a small frame without waiting; to a side that is gone it goes nowhere."""

    def abort(self, reason: str) -> None:
        """Cut it. Idempotent."""


class StreamLink:
    """Frames over a stream, at either end."""

    is_sure = True

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._frames = Frames()
        self._come: deque[Frame] = deque()
        self._sending = asyncio.Lock()
        self.credit = asyncio.Semaphore(0)

    @property
    def is_over(self) -> bool:
        """See `Link`."""
        return self._stream.is_over

    async def receive(self) -> Frame | None:
        """See `Link`."""
        while not self._come:
            try:
                data = await self._stream.read()
                self._come.extend(filter(self._is_for_others, self._frames.feed(data)))
            except BrokenStreamError:
                return None
            except UsageError as error:
                self.abort(str(error))
                return None
            if not data:
                return None
        return self._come.popleft()

    def _is_for_others(self, frame: Frame) -> bool:
        if frame.kind is Kind.WANT:
            self.credit.release()
        return frame.kind is not Kind.WANT

    async def send(self, frame: Frame) -> None:
        """See `Link`."""
        async with self._sending:
            await self._stream.write(frame.encode())

    def send_now(self, frame: Frame) -> None:
        """See `Link`."""
        self._stream.write_now(frame.encode())

    def abort(self, reason: str) -> None:
        """See `Link`."""
        self._stream.abort(reason)


class LocalLink:
    """One end of a way within this process; made in pairs by `local_pair`."""

    is_sure = True

    def __init__(self) -> None:
        self._other = self
        self._come: deque[Frame] = deque()
        self.is_over = False
        self._changed = asyncio.Event()
        self.credit = asyncio.Semaphore(0)

    async def receive(self) -> Frame | None:
        """See `Link`."""
        while not self._come:
            if self.is_over:
                return None
            await self._change()
        frame = self._come.popleft()
        self._note()
        return frame

    async def send(self, frame: Frame) -> None:
        """See `Link`."""
        self._put(frame)
        while len(self._other._come) > _HELD and not self.is_over:
            await self._change()
        if self.is_over:
            raise BrokenStreamError("the other side is gone")

    def send_now(self, frame: Frame) -> None:
        """See `Link`."""
        self._put(frame)

    def _put(self, frame: Frame) -> None:
        if self.is_over:
            return
        if frame.kind is Kind.WANT:
            self._other.credit.release()
        else:
            self._other._come.append(frame)
            self._note()

    def abort(self, reason: str) -> None:  # noqa: ARG002 - who cuts it says why
        """See `Link`."""
        self.is_over = self._other.is_over = True
        self._note()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _note(self) -> None:
        self._changed.set()
        self._other._changed.set()


def local_pair() -> tuple[LocalLink, LocalLink]:
    """Both ends of a way within this process."""
    here, there = LocalLink(), LocalLink()
    here._other, there._other = there, here
    return here, there
