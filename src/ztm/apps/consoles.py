"""Serving a caller's console on a stream: frames with both outputs, window and exit status, or v1's bare bytes.

It runs what it is given and knows no app; what that raises by mistake is logged, and ends that command only.
Source: spec agent-api 9 and cli 12.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from ztm.apps.command import Call, Console
from ztm.errors import BrokenStreamError, UsageError, ZtmError
from ztm.net.base import Stream
from ztm.wire.console import MAX_PAYLOAD, Frame, Frames, Kind, Window, status_frame

log = logging.getLogger("ztm.apps")

CUT = 130
"""Exit status of a command whose caller interrupted it, as shells have it."""
BROKEN = 1

Work = Callable[[Console], Awaitable[int]]
"""Runs a command; its exit status. Raises `BrokenStreamError` when the caller went away."""


async def serve_plain(stream: Stream, work: Work, call: Call) -> None:
    """For v1's command line: the end of the output is the end of the stream.

    Cancelled when the caller's connection is lost; one that ends its side only may go on listening.
    """
    running = asyncio.ensure_future(_run(work, _PlainConsole(stream, call)))
    leaving = asyncio.ensure_future(stream.ended())
    try:
        await asyncio.wait((running, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (running, leaving):
            task.cancel()
        with contextlib.suppress(BrokenStreamError):  # whoever is to be told of a failure has left
            for told in await asyncio.gather(running, leaving, return_exceptions=True):
                if isinstance(told, Exception):
                    raise told
        stream.end()


async def serve_framed(stream: Stream, work: Work, call: Call, window: Window | None = None) -> None:
    """Run `work` for a caller that speaks frames; cancelled when the caller goes away. `window` is its terminal's."""
    console = _FramedConsole(stream, call, window)
    running = asyncio.ensure_future(_run(work, console))
    listening = asyncio.ensure_future(console.listen(running.cancel))
    try:
        await asyncio.wait((running,))
        status = CUT if running.cancelled() else running.result()
        with contextlib.suppress(BrokenStreamError):
            await stream.write(status_frame(status).encode())
    finally:
        for task in (running, listening):
            task.cancel()
        await asyncio.gather(running, listening, return_exceptions=True)
        stream.end()


async def _run(work: Work, console: "_PlainConsole | _FramedConsole") -> int:
    """The command's exit status; what an app raises by mistake is logged and ends this command only."""
    try:
        return await work(console)
    except BrokenStreamError:
        return BROKEN
    except ZtmError as error:
        await console.complain(f"ztm: {error}\n".encode())
    except Exception:
        log.exception("a command of an app failed: %s", console.call.program)
        await console.complain(b"ztm: the command failed within the app; the agent's log says why\n")
    return BROKEN


class _PlainConsole:
    """Bare bytes: both outputs are one, and neither window nor interrupts are known. See `Console`."""

    window = None

    def __init__(self, stream: Stream, call: Call) -> None:
        self._stream = stream
        self.call = call

    def on_window(self, changed: Callable[[Window], None]) -> None:
        """Nothing is ever told."""

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        """Nothing is ever told."""

    async def read(self) -> bytes:
        return await self._stream.read()

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)

    async def complain(self, data: bytes) -> None:
        await self._stream.write(data)

    async def pass_keys(self, raw: bool) -> None:
        """v1's command line always does."""


class _FramedConsole:
    """Frames both ways. See `Console`."""

    def __init__(self, stream: Stream, call: Call, window: Window | None = None) -> None:
        self._stream = stream
        self._input: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._is_wanted = self._is_over = False
        """Whether a piece of input is on its way; whether its end has come."""
        self._sending = asyncio.Lock()
        """Held by one output at a time, as a stream has one writer."""
        self._changed: list[Callable[[Window], None]] = []
        self._interrupted: Callable[[], None] | None = None
        self.call = call
        self.window = window

    def on_window(self, changed: Callable[[Window], None]) -> None:
        self._changed.append(changed)

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        self._interrupted = interrupted

    async def read(self) -> bytes:
        if self._is_over:
            return b""
        if self._input.empty() and not self._is_wanted:
            self._is_wanted = True  # also when this is cancelled: the piece is then for the next one who reads
            # never waits: one piece at a time is asked for, and an output that waits for room must not be overtaken
            self._stream.write_now(Frame(Kind.WANT).encode())
        data = await self._input.get()
        self._is_over = not data
        return data

    async def write(self, data: bytes) -> None:
        await self._send(Kind.STDOUT, data)

    async def complain(self, data: bytes) -> None:
        await self._send(Kind.STDERR, data)

    async def pass_keys(self, raw: bool) -> None:
        await self._send(Kind.RAW, bytes([raw]))

    async def _send(self, kind: Kind, data: bytes = b"") -> None:
        for begin in range(0, len(data) or 1, MAX_PAYLOAD):
            async with self._sending:
                await self._stream.write(Frame(kind, data[begin : begin + MAX_PAYLOAD]).encode())

    async def listen(self, gone: Callable[[], object]) -> None:
        """Take what the caller sends, until it goes away; `gone` is called then."""
        frames = Frames()
        try:
            while data := await self._stream.read():
                for frame in frames.feed(data):
                    self._taken(frame, gone)
        except ZtmError as error:
            log.info("the caller of %s went away: %s", self.call.program, error)
        gone()

    def _taken(self, frame: Frame, gone: Callable[[], object]) -> None:
        if frame.kind is Kind.STDIN:
            if not self._is_wanted:
                raise UsageError("a piece of standard input came that was not asked for")
            self._is_wanted = False
            self._input.put_nowait(frame.payload)
        elif frame.kind is Kind.WINDOW:
            self.window = frame.window
            for changed in self._changed:
                changed(frame.window)
        elif frame.kind is Kind.INTERRUPT:
            (self._interrupted or gone)()
