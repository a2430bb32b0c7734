"""Whoever a script runs for, as both ends of the way see it: input from it, output to it.

Here are the protocol and one that keeps what it is told; the others are the caller's console and a stream.
"""

from collections.abc import Callable
from typing import Protocol


class Client(Protocol):
    """The one side of a run; each method may wait, so that nobody needs to hold what is not wanted yet."""

    async def read(self) -> bytes:
        """The next bytes for the script's standard input, ``b""`` at its end. Raises `BrokenStreamError`."""

    async def out(self, data: bytes) -> None:
        """Take what the script wrote on standard output. Raises `BrokenStreamError`."""

    async def err(self, data: bytes) -> None:
        """Take what it wrote on standard error. Raises `BrokenStreamError`."""

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        """Call `interrupted` whenever the script is to be interrupted, as by Ctrl-C."""


class Kept:
    """A client without input that keeps the beginning of the output, up to `limit` bytes of each kind."""

    def __init__(self, limit: int, *, merged: bool = False) -> None:
        self._limit = limit
        self.stdout = bytearray()
        self.stderr = self.stdout if merged else bytearray()
        self.is_cut = False
        """Whether there was more than is kept."""
        self.last = bytearray()
        """The end of all output, in which its last line is looked for."""

    async def read(self) -> bytes:
        """Nothing."""
        return b""

    async def out(self, data: bytes) -> None:
        """Keep it."""
        self._keep(self.stdout, data)

    async def err(self, data: bytes) -> None:
        """Keep it."""
        self._keep(self.stderr, data)

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        """Nobody interrupts it."""

    def _keep(self, kept: bytearray, data: bytes) -> None:
        room = self._limit - len(kept)
        kept += data[:room]
        self.is_cut = self.is_cut or len(data) > room
        self.last = (self.last + data)[-_LINE:]

    @property
    def last_line(self) -> str:
        """The last line of output that says anything."""
        lines = self.last.decode("utf-8", "replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


_LINE = 4096
"""Bytes in which the last line is looked for."""
