"""The local API's routes about metadata of mesh files; their contents have routes of their own (`api_contents`).

Source: spec agent-api 7.
"""

import asyncio

import msgspec

from ztm.agent.api.base import MESH, REFUSED, MeshApi, Meshes
from ztm.agent.api.callers import while_there
from ztm.agent.files import publishing
from ztm.agent.files.sync import MAX_LIST
from ztm.agent.mesh import Mesh
from ztm.core.files import mesh_path
from ztm.errors import LimitError, UsageError
from ztm.model import FileInfo
from ztm.rest.message import Request, Response
from ztm.rest.route import Param
from ztm.rest.router import Router
from ztm.wire import codec, paths

WAIT = 55.0
"""Seconds for which a long poll is held without news: it ends before those who wait a minute give up."""
MAX_WAITING = 64
"""Long polls that may be held at once."""


class FileView(msgspec.Struct):
    """Metadata of one file; `size` is -1 for one that was erased."""

    hash: str
    size: int
    time: int
    since: int | msgspec.UnsetType = msgspec.UNSET
    sources: list[str] | msgspec.UnsetType = msgspec.UNSET


def file_view(file: FileInfo, *, since: bool = False, sources: bool = False) -> FileView:
    """A file as v1 shows it; `since` is when the hub learnt it, `sources` are endpoints where it is now."""
    view = FileView(file.hash, file.size, file.time_ms)
    if since:
        view.since = file.since_ms
    if sources:
        view.sources = list(file.sources)
    return view


def path_of(request: Request) -> str:
    """The mesh path that the URL names: percent-decoded once, with ``..`` resolved.

    Raises:
        UsageError: it is none.
    """
    path = mesh_path(request.params["*"])
    if "\ufffd" in path:
        raise UsageError(f"not a mesh path: {request.raw_path[:200]} is not UTF-8 when percent-decoded")
    return path


FOREIGN = {403: "the path belongs to another user, or is where nobody has files"}
_SINCE = Param("since", int, "only what the hub learnt later than this, deletions included; epoch milliseconds")
_HOLD = Param("wait", str, "with `since`: `true` holds the answer until there is a change, for at most a minute")


class FileRoutes(MeshApi):
    """Handlers of ``files``."""

    def __init__(self, agent: Meshes) -> None:
        super().__init__(agent)
        self._waiting = 0

    def mount(self, router: Router) -> None:
        """Add the routes."""
        router.add(
            "GET",
            f"{MESH}/files",
            self.listing,
            summary="Files of the mesh, or what changed since a time",
            answer=dict[str, FileView],
            statuses=REFUSED,
            query=(_SINCE, _HOLD),
            tag="files",
        )
        router.add(
            "GET",
            f"{MESH}/files/*",
            self.info,
            summary="One file: its hash, size and time, and where it is",
            answer=FileView,
            statuses=REFUSED,
            tag="files",
        )
        router.add(
            "DELETE",
            f"{MESH}/files/*",
            self.erase,
            summary="Erase a file from the mesh",
            statuses={204: "erased", **FOREIGN, **REFUSED},
            tag="files",
        )

    async def listing(self, request: Request) -> Response:
        """All files that the user may see, or what changed. An unknown mesh has none, as pages poll for this."""
        since = _milliseconds(request.query["since"]) if "since" in request.query else None
        mesh = self._mesh_if_any(request)
        if mesh is None:
            return Response(200, {})
        link = mesh.link()
        if since is not None and request.query.get("wait") == "true":
            found = await self._news(request, mesh, since)
        else:
            query = {} if since is None else {"since": since}
            asking = link.ask("GET", paths.fill(paths.FILES, query), limit=MAX_LIST)
            found = codec.decode_files(await while_there(request, asking))
        is_change = since is not None
        return Response(200, {path: file_view(file, since=is_change) for path, file in found.items()})

    async def _news(self, request: Request, mesh: Mesh, since: int) -> dict[str, FileInfo]:
        """What changed after `since`, waited for; nothing if nothing did for `WAIT` seconds."""
        if self._waiting >= MAX_WAITING:
            raise LimitError(f"{MAX_WAITING} requests wait for changes of files already; ask again later")
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT):
                return await while_there(request, _change(mesh, since))
        except TimeoutError:
            return {}
        finally:
            self._waiting -= 1

    async def info(self, request: Request) -> Response:
        """One file."""
        found = await self._mesh(request).downloads.info(path_of(request))
        return Response(200, file_view(found, since=True, sources=True))

    async def erase(self, request: Request) -> Response:
        """Erase a file from the mesh, which only its owner may."""
        await publishing.erase(self._mesh(request), path_of(request))
        return Response(204)


async def _change(mesh: Mesh, since: int) -> dict[str, FileInfo]:
    """What changed after `since`, once anything has. The mesh's own poll learns it: a hub is not asked again."""
    changed = asyncio.Event()
    leave = mesh.files.on_change(changed.set)
    try:
        while not (found := mesh.files.changes(since)):
            changed.clear()
            await changed.wait()
        return dict(found)
    finally:
        leave()


def _milliseconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise UsageError(f"since is not a time in milliseconds: {text[:40]!r}")
    return int(text)
