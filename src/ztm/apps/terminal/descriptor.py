"""One end of a pipe or pseudo-terminal, awaited: nothing is read before somebody wants it, and nothing is held.

It belongs to one reader and one writer at a time.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

from ztm.errors import BrokenStreamError

CHUNK = 64 << 10
"""Bytes read at a time: what a pipe holds, and one frame."""
LEFT = 2 << 20
"""Bytes still read from a program that has ended: more than a pipe or pseudo-terminal can hold, so that a process
that it left behind cannot go on for ever."""


class Descriptor:
    """A file descriptor of this process; it is closed by `close` only."""

    def __init__(self, number: int) -> None:
        os.set_blocking(number, False)
        self.number = number
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()
        self._left: int | None = None
        """Bytes that may still be read, once nothing is waited for any more."""
        self._is_closed = False

    async def read(self) -> bytes:
        """The next bytes; ``b""`` at their end, once closed, and after `drain` where nothing more is there."""
        while not self._is_closed:
            if self._left is None:
                await self._until(self._loop.add_reader, self._loop.remove_reader)
            try:
                data = b"" if self._is_closed or self._left == 0 else os.read(self.number, CHUNK)
            except BlockingIOError:
                if self._left is not None:
                    return b""
            except OSError:  # EIO: nobody has the other end of a pseudo-terminal any more
                return b""
            else:
                if self._left is not None:
                    self._left = max(0, self._left - len(data))
                return data
        return b""

    async def write(self, data: bytes) -> None:
        """Write all of `data`, waiting for room.

        Raises:
            BrokenStreamError: nobody reads it.
        """
        view = memoryview(data)
        while view:
            if self._is_closed:
                raise BrokenStreamError("the program's input is closed")
            try:
                view = view[os.write(self.number, view) :]
            except BlockingIOError:
                await self._until(self._loop.add_writer, self._loop.remove_writer)
            except OSError as error:
                raise BrokenStreamError(f"the program takes no input: {error.strerror}") from None

    def drain(self) -> None:
        """From now on, read only what is there."""
        self._left = LEFT if self._left is None else self._left
        self._wake()

    def close(self) -> None:
        """Close it; whoever waits goes on. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self.number)
        self._loop.remove_writer(self.number)
        self._wake()
        with contextlib.suppress(OSError):
            os.close(self.number)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def _until(self, add: Callable[..., object], remove: Callable[[int], object]) -> None:
        future: asyncio.Future[None] = self._loop.create_future()

        def is_ready() -> None:
            if not future.done():
                future.set_result(None)

        add(self.number, is_ready)
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
            if not self._is_closed:
                remove(self.number)
