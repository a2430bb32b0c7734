"""What one run of `ztm` works with: the agent, and the mesh and endpoint that prefixes chose.

Nothing is looked up before it is asked for, so commands that need no agent never touch one.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ztm.apps import formats, text
from ztm.apps.command import EndpointRef
from ztm.apps.grammar import Arguments, Option
from ztm.cli import output
from ztm.cli.failures import AgentUnreachableError
from ztm.errors import DeadlineError, UnauthorizedError, ZtmError

if TYPE_CHECKING:
    from ztm.cli.client import AgentClient


YES = Option("--yes", "", "Do not ask for confirmation", "-y")
"""Taken by every command that asks before it destroys something."""


class Context:
    """One run of the command line. `now` and `sleep` are seconds, replaced in tests."""

    def __init__(
        self,
        *,
        mesh: str = "",
        endpoint: str = "",
        timeout: float | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.named_mesh = mesh
        self.named_endpoint = endpoint
        self.now = now
        self.sleep = sleep
        self.deadline = None if timeout is None else now() + timeout
        """When the whole run is to be over (`now`), or None."""

    @cached_property
    def client(self) -> "AgentClient":
        """The local agent's API.

        Raises:
            UsageError: the configured address is malformed.
        """
        from ztm.cli.client import AgentClient
        from ztm.cli.settings import agent_address, agent_socket

        return AgentClient(agent_socket() or agent_address(), time_left=self.time_left)

    def time_left(self) -> float | None:
        """Seconds that are left of ``--timeout``, at least a little; None without it.

        Raises:
            DeadlineError: there are none left.
        """
        if self.deadline is None:
            return None
        left = self.deadline - self.now()
        if left <= 0:
            raise DeadlineError("not done within the time of --timeout; whether it took effect is not known")
        return left

    @cached_property
    def mesh_object(self) -> dict[str, Any]:
        """The chosen mesh, as the agent describes it.

        Raises:
            NotFoundError: there is none, or it cannot be told which.
        """
        from ztm.cli.resolve import find_mesh

        return find_mesh(self.client, self.named_mesh)

    @property
    def mesh(self) -> str:
        """The name of the chosen mesh.

        Raises:
            NotFoundError: as `mesh_object`.
        """
        return str(self.mesh_object["name"])

    @cached_property
    def endpoint(self) -> EndpointRef:
        """The endpoint that the prefix names, else the local one.

        Raises:
            NotFoundError: it does not exist.
            ConflictError: several have this name.
        """
        from ztm.cli.resolve import ref

        return self.find_endpoint(self.named_endpoint) if self.named_endpoint else ref(self.mesh_object["agent"])

    def find_endpoint(self, word: str) -> EndpointRef:
        """The endpoint of the chosen mesh with this id or name; an empty word is `endpoint`.

        Raises:
            NotFoundError: there is none.
            ConflictError: several have this name.
        """
        from ztm.cli.resolve import find_endpoint, ref

        return ref(find_endpoint(self.client, self.mesh, word)) if word else self.endpoint

    def endpoint_names(self) -> dict[str, str]:
        """Id to name of every endpoint that the hub lists now."""
        from ztm.cli.resolve import list_endpoints

        return {str(one["id"]): str(one.get("name", "")) for one in list_endpoints(self.client, self.mesh)}

    def ask(self, method: str, path: str, body: object = None, *, timeout: float | None = None) -> Any:
        """One request about the chosen mesh; `path` is what follows the mesh's own.

        Raises:
            ZtmError: as `AgentClient.request`.
        """
        from ztm.cli.resolve import mesh_path

        return self.client.request(method, mesh_path(self.mesh) + path, body, timeout=timeout)

    def out(self, text: str) -> None:
        """Print `text` and a line end on standard output."""
        output.write(text)

    def show(self, found: formats.Listing | formats.Description, arguments: Arguments) -> None:
        """Print objects in the form that ``--output`` and ``--no-headers`` ask for.

        Raises:
            UsageError: there is no such form.
        """
        shown = formats.in_form(found, arguments)
        if shown:
            output.write(shown)

    def confirm(self, question: str, arguments: Arguments) -> None:
        """Ask on a terminal before something is destroyed, unless ``--yes`` was given; scripts are not asked.

        Raises:
            ZtmError: the answer is not yes.
        """
        if arguments.flag(YES.name) or not output.is_terminal(sys.stdin):
            return
        sys.stderr.write(f"{text.clean(question)} [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise ZtmError("nothing was changed")


@contextmanager
def attempting(what: str) -> Iterator[None]:
    """Put `what` was being tried before the message of a refusal.

    Raises:
        ZtmError: what the body raised, of the same class; failures to talk to the agent at all are left alone.
    """
    try:
        yield
    except (AgentUnreachableError, UnauthorizedError):
        raise
    except ZtmError as error:
        error.message = f"{what}: {error.message}"
        raise
