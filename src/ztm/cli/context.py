"""What one run of `ztm` works with: the agent, and the mesh and endpoint that prefixes chose.

Nothing is looked up before it is asked for, so commands that need no agent never touch one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ztm.apps.command import EndpointRef
from ztm.cli import output
from ztm.cli.failures import AgentUnreachableError
from ztm.errors import UnauthorizedError, ZtmError

if TYPE_CHECKING:
    from ztm.cli.client import AgentClient


class Context:
    """One run of the command line. `now` and `sleep` are seconds, replaced in tests."""

    def __init__(
        self,
        *,
        mesh: str = "",
        endpoint: str = "",
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.named_mesh = mesh
        self.named_endpoint = endpoint
        self.now = now
        self.sleep = sleep

    @cached_property
    def client(self) -> "AgentClient":
        """The local agent's API.

        Raises:
            UsageError: the configured address is malformed.
        """
        from ztm.cli.client import AgentClient
        from ztm.cli.settings import agent_address

        return AgentClient(agent_address())

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

    def json(self, value: object) -> None:
        """Print `value` as JSON."""
        output.write(output.json_text(value))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]], *, headed: bool = True) -> None:
        """Print an aligned table, or only its rows."""
        if headed or rows:
            output.write(output.table(headings, rows, headed=headed))


class AppContext:
    """One run of one command of an app: the context, with requests going to the app."""

    def __init__(self, context: Context, app: str) -> None:
        self._context = context
        self._app = f"/apps/{app}"
        self.find_endpoint = context.find_endpoint
        self.endpoint_names = context.endpoint_names
        self.out = context.out
        self.json = context.json
        self.table = context.table

    @property
    def mesh(self) -> str:
        """The name of the chosen mesh."""
        return self._context.mesh

    @property
    def endpoint(self) -> EndpointRef:
        """The endpoint the command is for."""
        return self._context.endpoint

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the local agent's instance of the app.

        Raises:
            ZtmError: as `AgentClient.request`.
        """
        return self._context.ask(method, self._app + path, body)


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
