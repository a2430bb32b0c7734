"""What all routes of the local API share: where they are, what they refuse, and how a query is read.

It answers nothing itself.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Protocol, TypeVar

import msgspec

from ztm.agent.api.views import LogLine, MeshSettings
from ztm.agent.events.bus import Bus
from ztm.agent.local.login import Login
from ztm.agent.mesh import Mesh
from ztm.apps.base import AppFactory
from ztm.errors import ForbiddenError, NotFoundError, UsageError
from ztm.model import ROOT
from ztm.net.base import Network
from ztm.rest.message import Request
from ztm.rest.route import Param
from ztm.wire.records import LogEntry

MESH = "/api/meshes/{mesh}"

NOT_FOUND = {404: "there is none of that name"}
REFUSED: Mapping[int, str] = {
    **NOT_FOUND,
    409: "it contradicts what is there",
    502: "the hub or the other endpoint refused, or broke off",
    503: "the mesh is not connected, or no hub leads there",
    504: "no answer in time",
    507: "the disk did not take it; nothing was changed",
}
"""What whoever asks about a mesh may be told."""

MAX_PAGE = 1000
"""Rows of one answer, as many as a hub gives."""
PAGE = (
    Param("offset", Annotated[int, msgspec.Meta(ge=0, le=10**9)], "rows to leave out at the beginning; 0"),
    Param("limit", Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)], "rows at most; 100"),
)
TOTAL = {"total": "how many rows there are without offset and limit; left out where that is unknown"}

T = TypeVar("T")


class Meshes(Protocol):
    """What the routes need of the agent."""

    network: Network
    events: Bus

    @property
    def login(self) -> Login:
        """Which browsers are signed in."""

    @property
    def page(self) -> str:
        """The web page's URL on this machine."""

    @property
    def warnings(self) -> list[str]:
        """What its user should know about how it was set up."""

    @property
    def factories(self) -> Mapping[str, AppFactory]:
        """The built-in apps."""

    def public_key(self) -> str:
        """The identity's public key."""

    def replace_identity(self, private_pem: str) -> str:
        """Use another identity; its public key."""

    def meshes(self) -> list[Mesh]:
        """All joined meshes."""

    def mesh(self, name: str) -> Mesh:
        """One of them."""

    async def join(self, name: str, settings: MeshSettings) -> Mesh:
        """Join, or change settings."""

    async def leave(self, name: str, *, keep_data: bool = False) -> None:
        """Leave."""


class MeshApi:
    """Handlers below one mesh."""

    def __init__(self, agent: Meshes) -> None:
        self._agent = agent

    def _mesh(self, request: Request) -> Mesh:
        return self._agent.mesh(request.params["mesh"])

    def _mesh_if_any(self, request: Request) -> Mesh | None:
        """For lists, which are empty in a mesh that is not joined, as v1's are (spec agent-api 2)."""
        try:
            return self._mesh(request)
        except NotFoundError:
            return None


def whole(request: Request, name: str, default: int, *, least: int = 0, most: int) -> int:
    """A whole number of the query.

    Raises:
        UsageError: it is none, or out of bounds.
    """
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise UsageError(f"the query's {name} is to be a number from {least} to {most}, not {text[:40]!r}")
    return int(text)


def page_of(request: Request) -> tuple[int, int]:
    """Offset and limit of a list.

    Raises:
        UsageError: one of them is malformed.
    """
    offset = whole(request, "offset", 0, most=10**9)
    return offset, whole(request, "limit", 100, least=1, most=MAX_PAGE)


def flag(request: Request, name: str) -> bool:
    """A yes or no of the query; no if it is not there.

    Raises:
        UsageError: it is neither ``true`` nor ``false``.
    """
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise UsageError(f"the query's {name} is to be true or false, not {text[:40]!r}")
    return text == "true"


def log_lines(entries: Iterable[LogEntry]) -> list[LogLine]:
    """A log as the API shows it."""
    return [LogLine(entry.time, entry.message, entry.type or "info") for entry in entries]


def only_root(mesh: Mesh, what: str) -> None:
    """Return if the mesh was joined as root.

    Raises:
        ForbiddenError: it was not, and only root may do `what`.
    """
    if mesh.user != ROOT:
        raise ForbiddenError(f"only root may {what}, and mesh {mesh.name} is joined as {mesh.user}")
