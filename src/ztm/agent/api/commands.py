"""``CONNECT .../apps/{provider}/{app}/cli``: a command of an app, run here for a caller on the local port.

v1's command line gets bare bytes; ours asks for frames, and gets standard error, the window's size and the exit
status as well. What a command does is the app's.

Source: spec agent-api 9 and cli 12.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from ztm.apps.base import App
from ztm.apps.command import Call, EndpointRef
from ztm.errors import BrokenStreamError, UsageError, ZtmError
from ztm.model import check_uuid
from ztm.net.base import Stream
from ztm.rest.message import Request
from ztm.wire.console import HEADER, MAX_PAYLOAD, VERSION, Frame, Frames, Kind, Window, status_frame

log = logging.getLogger("ztm.agent")

CUT = 130
"""Exit status of a command whose caller interrupted it, as shells have it."""
BROKEN = 1
TOLD = ("TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""Variables of the caller's environment that an app may see."""


class Here(Protocol):
    """What a call needs of the mesh it is for."""

    @property
    def endpoint_id(self) -> str:
        """The own endpoint's id."""

    @property
    def endpoint_name(self) -> str:
        """The own endpoint's name."""


async def serve_command(request: Request, app: App, here: Here) -> None:
    """Take over the request's stream, run the command, and tell how it ended.

    Raises:
        UsageError: the request is no CONNECT, or does not say what to run.
    """
    upgrade, call = request.upgrade, read_call(request, here)
    if request.headers.get(HEADER) == VERSION:
        await _serve_framed(upgrade.accept([(HEADER, VERSION)]), app, call)
    else:
        await _serve_plain(upgrade.accept(), app, call)


def read_call(request: Request, here: Here) -> Call:
    """What the query of a request says is to be run.

    Raises:
        UsageError: ``argv`` is missing or no JSON array of texts, or ``ep_id`` is no endpoint id.
    """
    query = request.query
    try:
        argv = msgspec.json.decode(query.get("argv", ""), type=list[str])
        environment = msgspec.json.decode(query.get("env") or "{}", type=dict[str, str])
    except msgspec.DecodeError as error:
        raise UsageError(f"argv must be a JSON array of texts, and env an object of texts: {error}") from error
    if not argv:
        raise UsageError("argv is empty: its first text is the program's name")
    id_ = check_uuid("endpoint", query["ep_id"]) if query.get("ep_id") else here.endpoint_id
    name = query.get("ep_name") or (here.endpoint_name if id_ == here.endpoint_id else id_)
    return Call(
        program=argv[0],
        words=tuple(argv[1:]),
        directory=query.get("cwd", ""),
        endpoint=EndpointRef(id_, name),
        environment={key: value for key, value in environment.items() if key in TOLD},
    )


async def _serve_plain(stream: Stream, app: App, call: Call) -> None:
    """For v1's command line: the end of the output is the end of the stream."""
    console = _PlainConsole(stream, call)
    with contextlib.suppress(BrokenStreamError):
        await _run(app, console)
    stream.end()


async def _serve_framed(stream: Stream, app: App, call: Call) -> None:
    console = _FramedConsole(stream, call)
    work = asyncio.ensure_future(_run(app, console))
    listening = asyncio.ensure_future(console.listen(work.cancel))
    try:
        await asyncio.wait((work,))
        status = CUT if work.cancelled() else work.result()
        with contextlib.suppress(BrokenStreamError):
            await stream.write(status_frame(status).encode())
    finally:
        for task in (work, listening):
            task.cancel()
        await asyncio.gather(work, listening, return_exceptions=True)
        stream.end()


async def _run(app: App, console: "_PlainConsole | _FramedConsole") -> int:
    """The command's exit status; what an app raises by mistake is logged and ends this command only."""
    try:
        return await app.command(console)
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

    def __init__(self, stream: Stream, call: Call) -> None:
        self._stream = stream
        self._input: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._is_wanted = self._is_over = False
        """Whether a piece of input is on its way; whether its end has come."""
        self._changed: list[Callable[[Window], None]] = []
        self._interrupted: Callable[[], None] | None = None
        self.call = call
        self.window: Window | None = None

    def on_window(self, changed: Callable[[Window], None]) -> None:
        self._changed.append(changed)

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        self._interrupted = interrupted

    async def read(self) -> bytes:
        if self._is_over:
            return b""
        if self._input.empty() and not self._is_wanted:
            self._is_wanted = True  # also when this is cancelled: the piece is then for the next one who reads
            await self._send(Kind.WANT)
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
