"""One session where it is served: a program, its caller's link, and the bytes between them until one of them ends.

Each direction holds one piece at a time. Who may have a session, and how it is written down, is not decided here.

Source: spec apps-network 3.3, 3.4 and 7 rule 8.
"""

import asyncio
import contextlib
import signal
from typing import Any

from ztm.apps.terminal.links import PIECES, Link
from ztm.apps.terminal.model import fitting
from ztm.apps.terminal.program import Program
from ztm.apps.terminal.recording import Recording
from ztm.errors import BrokenStreamError, StorageError, UsageError
from ztm.net.base import Meter
from ztm.wire.console import Frame, Kind, status_frame

ENDED_BY_US = 255
"""Exit status of a session that was ended before its program, as `ssh` has it."""
AFTER_INPUT = 600.0
"""Seconds of silence, after the end of its input, from which a v1 caller counts as gone."""
GONE = "the caller left"
TELLING = 1.0
"""Seconds for a caller to take the reason of an end that is not the program's."""


class Session:
    """One program with one caller. `idle_seconds` is 0 for no limit."""

    def __init__(
        self, link: Link, program: Program, meter: Meter, *, idle_seconds: float, recording: Recording | None = None
    ) -> None:
        self._link = link
        self._program = program
        self._meter = meter
        self._idle_seconds = idle_seconds
        self._recording = recording
        self._loop = asyncio.get_running_loop()
        self._cut: asyncio.Future[str] = self._loop.create_future()
        self._input: asyncio.Queue[bytes] = asyncio.Queue(PIECES + 1)
        self._moved_at = self._loop.time()
        self._heeded = asyncio.Event()
        """Set when there is a limit to silence that was not there at first."""

    def cut(self, reason: str) -> None:
        """End it; the caller is told why. Idempotent."""
        if not self._cut.done():
            self._cut.set_result(reason)

    def leave(self) -> None:
        """End it, as nobody waits for it any more; its caller may have left."""
        self.cut(GONE if self._link.is_over else "the terminal app stops")

    async def run(self) -> str:
        """Carry it to its end; the reason of that. Cancelling it hangs the program up."""
        for _ in range(PIECES):
            self._link.send_now(Frame(Kind.WANT))
        ended = self._loop.create_task(self._program.ended())
        shown = [self._loop.create_task(self._show(kind)) for kind in self._program.outputs]
        others = [self._loop.create_task(work) for work in (self._listen(), self._feed(), self._watch_idleness())]
        try:
            await self._until(ended)
            if ended.done():
                self._program.drain()
                await self._until(*shown)
            return await self._close(None if self._cut.done() else ended.result())
        finally:
            self._program.hang_up()
            tasks = (ended, *shown, *others)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until(self, *tasks: "asyncio.Task[Any]") -> None:
        """Wait for all of them, or for a cut."""
        while not self._cut.done() and (left := [task for task in tasks if not task.done()]):
            await asyncio.wait((*left, self._cut), return_when=asyncio.FIRST_COMPLETED)

    async def _close(self, status: int | None) -> str:
        """Tell the caller how it ended."""
        reason = self._cut.result() if status is None else f"exit status {status}"
        try:
            if status is not None:
                await self._link.send(status_frame(status))
            elif reason != GONE:
                async with asyncio.timeout(TELLING):
                    await self._link.send(Frame(Kind.STDERR, f"\r\nztm: the session was ended: {reason}\r\n".encode()))
                    await self._link.send(status_frame(ENDED_BY_US))
        except (BrokenStreamError, TimeoutError):
            return reason if status is None else f"{reason}, and {GONE}"
        return reason

    # ------------------------------------------------------------------ both directions

    async def _show(self, kind: Kind) -> None:
        """Pass an output on until its end."""
        output = self._program.outputs[kind]
        try:
            while data := await output.read():
                self._moved()
                if self._recording is not None:
                    self._recording.show(data)
                await self._link.send(Frame(kind, data))
                self._meter.received += len(data)
        except BrokenStreamError:
            self.cut(GONE)
        except StorageError as error:
            self.cut(str(error))

    async def _listen(self) -> None:
        """Take what the caller sends, until it leaves."""
        while frame := await self._link.receive():
            self._moved()
            try:
                self._take(frame)
            except (asyncio.QueueFull, UsageError):
                self.cut("the caller sent what was not asked for")
                return
            except StorageError as error:
                self.cut(str(error))
                return
        self.cut(GONE)

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.STDIN:
            self._input.put_nowait(frame.payload)
        elif frame.kind is Kind.WINDOW:
            window = fitting(frame.window)
            self._program.resize(window)
            if self._recording is not None:
                self._recording.resize(window)
        elif frame.kind is Kind.INTERRUPT:
            self._program.signal(signal.SIGINT)
        elif frame.kind is Kind.SIGNAL and frame.payload:
            self._program.signal(frame.payload[0])

    async def _feed(self) -> None:
        """Give the program its input; what it does not take goes nowhere, as in a pipe whose reader has left."""
        is_taken = True
        while data := await self._input.get():
            try:
                if is_taken:
                    await self._program.write(data)
                    self._meter.sent += len(data)
            except BrokenStreamError:
                is_taken = False
            self._link.send_now(Frame(Kind.WANT))
        if not self._link.is_sure:
            self._idle_seconds = min(self._idle_seconds or AFTER_INPUT, AFTER_INPUT)
            self._heeded.set()
        with contextlib.suppress(BrokenStreamError):
            await self._program.end_input()

    # ------------------------------------------------------------------ silence

    def _moved(self) -> None:
        self._moved_at = self._loop.time()

    async def _watch_idleness(self) -> None:
        """Cut it after too long a silence."""
        while True:
            if not self._idle_seconds:
                await self._heeded.wait()
            left = self._moved_at + self._idle_seconds - self._loop.time()
            if left <= 0:
                self.cut(f"nothing was typed or shown for {self._idle_seconds:g} seconds")
                return
            await asyncio.sleep(left)
