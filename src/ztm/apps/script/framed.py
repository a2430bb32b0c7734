"""The client of a run on another endpoint: frames on the stream that it asked with. See `ztm.wire.console`.

Standard input comes only as it is asked for, so that whoever left or interrupts is always noticed at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from ztm.apps.script.limits import ScriptLimits
from ztm.apps.script.model import MAX_SCRIPT
from ztm.errors import BrokenStreamError, DeadlineError, TooLargeError, UsageError
from ztm.net.base import Stream
from ztm.wire.console import MAX_PAYLOAD, Frame, Frames, Kind, status_frame

AHEAD = 4
"""Pieces of standard input that are asked for ahead: a quarter of a megabyte may be on its way."""


class FramedClient:
    """See `Client`."""

    def __init__(self, stream: Stream, limits: ScriptLimits) -> None:
        self._stream = stream
        self._limits = limits
        self._frames = Frames()
        self._pending: deque[Frame] = deque()
        self._input: asyncio.Queue[bytes] = asyncio.Queue(AHEAD)
        self._wanted = 0
        """Pieces of input that were asked for and have not come."""
        self._is_over = False
        self._sending = asyncio.Lock()
        """Held by one output at a time, as a stream has one writer."""
        self._interrupted: Callable[[], None] = lambda: None

    async def script(self) -> bytes:
        """The script itself, which comes first.

        Raises:
            TooLargeError: it is larger than `MAX_SCRIPT`.
            DeadlineError: it does not come.
            UsageError: something else comes.
            BrokenStreamError: the client went away.
        """
        script = bytearray()
        while (frame := await self._next()).payload:
            script += frame.payload
            if len(script) > MAX_SCRIPT:
                raise TooLargeError(f"the script is larger than {MAX_SCRIPT} bytes")
        return bytes(script)

    async def _next(self) -> Frame:
        try:
            async with asyncio.timeout(self._limits.file_seconds):
                while not self._pending:
                    await self._receive()
        except TimeoutError:
            raise DeadlineError(f"no script came within {self._limits.file_seconds:g} seconds") from None
        frame = self._pending.popleft()
        if frame.kind is not Kind.FILE:
            raise UsageError(f"a frame of kind {frame.kind.name} came before the whole script")
        return frame

    async def _receive(self) -> None:
        data = await self._stream.read()
        if not data:
            raise BrokenStreamError("the caller went away")
        self._pending.extend(self._frames.feed(data))

    async def attend(self, work: Awaitable[int]) -> int:
        """Wait for `work`, the run, and meanwhile take what the client sends; work is cancelled when it goes away.

        Raises:
            BrokenStreamError: it went away.
            CancelledError: the work was cancelled by somebody else.
        """
        working = asyncio.ensure_future(work)
        listening = asyncio.ensure_future(self._listen())
        try:
            await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                listening.result()
            return await working
        finally:
            for task in (working, listening):
                task.cancel()
            await asyncio.gather(working, listening, return_exceptions=True)

    async def tell_end(self, status: int) -> None:
        """Tell the exit status; nothing follows."""
        await self._stream.write(status_frame(status).encode())

    # ------------------------------------------------------------------ see Client

    async def read(self) -> bytes:
        """See `Client`."""
        if self._is_over:
            return b""
        while self._wanted + self._input.qsize() < AHEAD:
            self._wanted += 1
            # never waits: an output that waits for room must not be overtaken, and a stream has one writer at a time
            self._stream.write_now(Frame(Kind.WANT).encode())
        data = await self._input.get()
        self._is_over = not data
        return data

    async def out(self, data: bytes) -> None:
        """See `Client`."""
        await self._send(Kind.STDOUT, data)

    async def err(self, data: bytes) -> None:
        """See `Client`."""
        await self._send(Kind.STDERR, data)

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        """See `Client`."""
        self._interrupted = interrupted

    async def _send(self, kind: Kind, data: bytes) -> None:
        for begin in range(0, len(data), MAX_PAYLOAD):
            async with self._sending:
                await self._stream.write(Frame(kind, data[begin : begin + MAX_PAYLOAD]).encode())

    # ------------------------------------------------------------------ what comes

    async def _listen(self) -> None:
        """Take what comes until the client goes away, which is always an error here."""
        while True:
            while self._pending:
                self._take(self._pending.popleft())
            await self._receive()

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.STDIN:
            if not self._wanted:
                raise UsageError("a piece of standard input came that was not asked for")
            self._wanted -= 1
            self._input.put_nowait(frame.payload)
        elif frame.kind is Kind.INTERRUPT:
            self._interrupted()
