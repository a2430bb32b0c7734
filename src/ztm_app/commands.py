"""An app's own commands, ``ztm NAME ...``: how they are declared, and what they are given.

They run in the app, on the caller's own machine; the words are checked against the usage before one is called.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ztm.apps import text
from ztm.apps.command import Console, EndpointRef
from ztm.apps.grammar import Arguments, Command, Grammar, Option, wants_help
from ztm.apps.help import help_text
from ztm.errors import BrokenStreamError, LimitError, UsageError, ZtmError
from ztm.wire.console import Window
from ztm_app.mesh import Mesh

MAX_UNSENT = 8 << 20
"""Bytes printed and not yet taken by the caller's terminal; whoever has more to say uses `CommandContext.write`."""
FAILED, WRONG_USAGE = 1, 2
_NOT_IN_NAMES = re.compile(r"\W+")


class CommandContext:
    """The caller's terminal and words, while one command runs."""

    def __init__(self, console: Console, arguments: Arguments, mesh: Mesh) -> None:
        self.console = console
        """All that a terminal can do."""
        self.arguments = arguments
        """Words and options; ``ctx.arguments.value("--name")``, ``.flag(...)``, ``.values(...)``."""
        self._mesh = mesh
        self._unsent = 0
        self._lines: asyncio.Queue[tuple[bool, bytes]] = asyncio.Queue()

    @property
    def endpoint(self) -> EndpointRef:
        """The endpoint the command is for: the one of ``ztm ep NAME ...``, else the own."""
        return self.console.call.endpoint

    @property
    def directory(self) -> str:
        """The caller's working directory: its name only, the app cannot read there."""
        return self.console.call.directory

    @property
    def environment(self) -> Mapping[str, str]:
        """``TERM`` and the locale of the caller."""
        return self.console.call.environment

    @property
    def window(self) -> Window | None:
        """The size of the caller's terminal; None without one."""
        return self.console.window

    def print(self, *values: object, end: str = "\n") -> None:
        """Print values, cleaned of what a terminal would obey.

        Raises:
            LimitError: the caller has not taken what was printed before.
        """
        self._put(values, end, is_error=False)

    def error(self, *values: object, end: str = "\n") -> None:
        """The same, on standard error."""
        self._put(values, end, is_error=True)

    def _put(self, values: tuple[object, ...], end: str, *, is_error: bool) -> None:
        data = (text.clean(" ".join(map(str, values))) + end).encode("utf-8", "replace")
        self._unsent += len(data)
        if self._unsent > MAX_UNSENT:
            raise LimitError("the command prints faster than its caller reads: use 'await ctx.write'")
        self._lines.put_nowait((is_error, data))

    async def write(self, data: bytes) -> None:
        """Put bytes on standard output untouched, after all that was printed; waits for room.

        Raises:
            BrokenStreamError: the caller went away.
        """
        await self.flush()
        await self.console.write(data)

    async def read(self) -> bytes:
        """The next bytes of standard input; ``b""`` at its end. What was printed is shown first.

        Raises:
            BrokenStreamError: the caller went away.
        """
        await self.flush()
        return await self.console.read()

    async def resolve(self, word: str) -> str:
        """The id of the endpoint with this id or name. Permission: ``mesh.connect``.

        Raises:
            NotFoundError: there is none.
            ConflictError: several have this name.
        """
        return (await self._mesh.endpoint(word)).id

    async def flush(self) -> None:
        """Show what was printed.

        Raises:
            BrokenStreamError: the caller went away.
        """
        while not self._lines.empty():
            await self._send(*self._lines.get_nowait())

    async def keep_flushing(self) -> None:
        """Show what is printed, until cancelled."""
        while True:
            await self._send(*await self._lines.get())

    async def _send(self, is_error: bool, data: bytes) -> None:
        await (self.console.complain(data) if is_error else self.console.write(data))
        self._unsent -= len(data)


Handler = Callable[..., Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command as it was declared."""

    usage: str
    title: str
    handler: Handler
    options: tuple[Option, ...] = ()

    def command(self) -> Command[Any, Any]:
        """For the grammar."""
        return Command(usage=self.usage, title=self.title, run=self.call, options=self.options)

    async def call(self, context: CommandContext, arguments: Arguments) -> int | None:
        """Run the handler: positionals by name (``<object name>`` as ``object_name``), absent ones as empty texts."""
        names = [part[1:-1] for part in self.command().positionals]
        words = {_NOT_IN_NAMES.sub("_", name): arguments.word(name) for name in names}
        return await self.handler(context, **words)


async def run_command(console: Console, specs: Sequence[CommandSpec], mesh: Mesh, log: logging.Logger) -> int:
    """Run what the caller typed; the exit status.

    Raises:
        BrokenStreamError: the caller went away.
    """
    grammar: Grammar[Any, Any] = Grammar(console.call.program, tuple(spec.command() for spec in specs))
    words = console.call.words
    try:
        if not specs:
            raise UsageError("this app has no commands")
        if not words or words[0] == "help" or wants_help(words):
            await console.write(help_text(grammar, words[1:] if words[:1] == ("help",) else words).encode())
            return 0 if words else WRONG_USAGE
        command, arguments = grammar.parse(words)
        return await _run(command, CommandContext(console, arguments, mesh), arguments)
    except BrokenStreamError:
        raise
    except ZtmError as error:
        await console.complain(f"ztm: {text.clean(' '.join(str(error).split()))}\n".encode())
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    except Exception:
        log.exception("the command %s failed", console.call.program)
        await console.complain(b"ztm: the command failed within the app; its log says why\n")
        return FAILED


async def _run(command: Command[Any, Any], context: CommandContext, arguments: Arguments) -> int:
    flushing = asyncio.ensure_future(context.keep_flushing())
    try:
        status = await command.run(context, arguments)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
        await context.flush()
        return int(status or 0)
    finally:
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
