"""What an app's own commands are given: the caller's console, the target, and the app's API.

They run in the caller's own agent, whatever command line drives it (spec agent-api 9). Apps write against these
protocols; nothing here talks to the network.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ztm.apps.formats import Description, Listing
from ztm.apps.grammar import Arguments, Command
from ztm.wire.console import Window


@dataclass(frozen=True, slots=True)
class EndpointRef:
    """An endpoint as a command names it."""

    id: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the caller typed, and where."""

    program: str
    """As it was typed: ``ztm tunnel``."""
    words: tuple[str, ...]
    """What follows the program."""
    directory: str = ""
    """The caller's working directory."""
    endpoint: EndpointRef
    """The target: the one named by a prefix, else the local one."""
    environment: Mapping[str, str]
    """``TERM`` and the locale variables of the caller, as far as told."""
    is_typed: bool = True
    """Whether standard input is a terminal; also where nobody tells, as v1."""


class Console(Protocol):
    """The caller's terminal or pipes, while one command runs."""

    @property
    def call(self) -> Call:
        """What was typed."""

    @property
    def window(self) -> Window | None:
        """The present size of the caller's terminal; None if it has none, or does not tell."""

    def on_window(self, changed: Callable[[Window], None]) -> None:
        """Call `changed` whenever the size changes."""

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        """Call `interrupted` at Ctrl-C instead of cancelling the command."""

    async def read(self) -> bytes:
        """The next bytes of standard input; ``b""`` at its end. What is not read stays with the caller.

        Raises:
            BrokenStreamError: the caller went away.
        """

    async def write(self, data: bytes) -> None:
        """Put `data` on standard output, untouched; returns once there is room for more.

        Raises:
            BrokenStreamError: the caller went away.
        """

    async def complain(self, data: bytes) -> None:
        """Put `data` on standard error, untouched.

        Raises:
            BrokenStreamError: the caller went away.
        """

    async def pass_keys(self, raw: bool) -> None:
        """Have the caller's terminal pass every key through, or edit lines itself again; it does so at the start."""


class AppCommand(Protocol):
    """One run of one command of an app."""

    @property
    def mesh(self) -> str:
        """The mesh the command is for."""

    @property
    def endpoint(self) -> EndpointRef:
        """The endpoint the command is for."""

    @property
    def console(self) -> Console:
        """The caller's terminal, for commands that need more than lines of text."""

    async def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask this agent's instance of the app; `path` begins with ``/api/``, `body` is sent as JSON.

        Returns the decoded JSON, or None for an empty body.

        Raises:
            ZtmError: it was refused.
        """

    async def find_endpoint(self, word: str) -> EndpointRef:
        """The endpoint of the mesh with this id or name.

        Raises:
            NotFoundError: there is none.
            ConflictError: several have this name.
        """

    async def endpoint_names(self) -> dict[str, str]:
        """Id to name of every endpoint that the hub lists now."""

    async def named(self, message: str) -> str:
        """`message` with names for the ids of endpoints that it speaks of, where they are to be had."""

    async def out(self, text: str) -> None:
        """Print `text` and a line end, cleaned of what a terminal would obey."""

    async def show(self, found: Listing | Description, arguments: Arguments) -> None:
        """Print objects in the form that ``--output`` and ``--no-headers`` ask for.

        Raises:
            UsageError: there is no such form.
        """


AppCommands = tuple[Command[AppCommand, Awaitable[int | None]], ...]
"""The commands of one app."""
