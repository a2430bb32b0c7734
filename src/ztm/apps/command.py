"""What the command line gives an app's own commands: the target, the app's API, and a way to print.

Apps write against this protocol; the command line fills it. Nothing here talks to the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ztm.apps.grammar import Arguments, Option

OUTPUT = Option("--output", "<format>", "Output format: table (default) or json", "-o")
"""Taken by every command that lists or describes."""
NO_HEADERS = Option("--no-headers", "", "Leave out the heading row of tables")


@dataclass(frozen=True, slots=True)
class EndpointRef:
    """An endpoint as a command names it."""

    id: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"


class AppCommand(Protocol):
    """One run of one command of an app.

    The target is looked up when `mesh` or `endpoint` is first read, so help needs no agent.
    """

    @property
    def mesh(self) -> str:
        """The mesh the command is for.

        Raises:
            ZtmError: it cannot be told, or the agent does not answer.
        """

    @property
    def endpoint(self) -> EndpointRef:
        """The endpoint the command is for: the one named by a prefix, else the local one.

        Raises:
            ZtmError: it does not exist, or the agent does not answer.
        """

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the local agent's instance of this app; `path` begins with ``/api/``.

        Returns the decoded JSON, or None for an empty body.

        Raises:
            ZtmError: the agent refused, or does not answer.
        """

    def find_endpoint(self, word: str) -> EndpointRef:
        """The endpoint of the mesh with this id or name.

        Raises:
            NotFoundError: there is none.
            ConflictError: several have this name.
        """

    def endpoint_names(self) -> dict[str, str]:
        """Id to name of every endpoint that the hub lists now."""

    def out(self, text: str) -> None:
        """Print `text` and a line end on standard output."""

    def json(self, value: object) -> None:
        """Print `value` as JSON."""

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]], *, headed: bool = True) -> None:
        """Print an aligned table; empty cells for None."""


def wants_json(arguments: Arguments) -> bool:
    """Whether ``--output json`` was given.

    Raises:
        UsageError: the format is neither ``json`` nor ``table``.
    """
    chosen = arguments.value(OUTPUT.name)
    if chosen not in (None, "table", "json"):
        raise arguments.error(f"unknown output format {chosen!r} (table or json)")
    return chosen == "json"
