"""The caller's console as the face of a session: keys, window and interrupts to it, both outputs from it."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ztm.apps.command import Console
from ztm.apps.grammar import Arguments
from ztm.apps.terminal.model import Ask, fitting, terminal_type, told
from ztm.wire.console import Frame, Kind, window_frame


def ask_of(console: Console, arguments: Arguments) -> Ask:
    """What a command line asks for. A shell has a terminal if its caller types at one; a command only if told so."""
    call, words = console.call, arguments.rest
    has_terminal = arguments.flag("--tty") or (call.is_typed and not words)
    return Ask(
        window=fitting(console.window),
        term=terminal_type(call.environment.get("TERM", "")),
        environment=told(call.environment),
        has_terminal=has_terminal,
        words=words if arguments.is_exact else (),
        line="" if arguments.is_exact else " ".join(words),
    )


class ConsoleFace:
    """See `entry.Face`. The console passes every key through until the context is left."""

    def __init__(self, console: Console, ask: Ask) -> None:
        self._console = console
        self._is_raw = ask.has_terminal
        self._window = ask.window
        self._is_attached = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_raw and self._is_attached and not isinstance(error, asyncio.CancelledError):
            await self._console.pass_keys(raw=False)

    async def attached(self, send_now: Callable[[Frame], None]) -> None:
        """See `entry.Face`."""
        self._is_attached = True
        if self._is_raw:
            await self._console.pass_keys(raw=True)
        self._console.on_window(lambda window: send_now(window_frame(window)))
        if (window := fitting(self._console.window)) != self._window:  # it changed, or was told, after the asking
            send_now(window_frame(window))
        self._console.on_interrupt(lambda: send_now(Frame(Kind.INTERRUPT)))

    async def room(self, credit: asyncio.Semaphore) -> None:
        """See `entry.Face`."""
        await credit.acquire()

    async def read(self) -> bytes:
        """See `entry.Face`."""
        return await self._console.read()

    async def linger(self) -> None:
        """See `entry.Face`: whoever leaves cancels the command."""

    async def show(self, kind: Kind, data: bytes) -> None:
        """See `entry.Face`."""
        await (self._console.complain(data) if kind is Kind.STDERR else self._console.write(data))
