"""Changing the mesh's files: what a user may, newer than what the mesh has, and known to the hub at the end.

Nothing is accepted that the mesh would not take. Source: spec agent-api 7 and 14 (row 5).
"""

from typing import Protocol

from ztm.agent.files.fetch import Downloads
from ztm.agent.files.incoming import Incoming
from ztm.agent.files.sync import FileSync
from ztm.agent.hublink import HubLink
from ztm.core.access import check_owner
from ztm.errors import NotFoundError, UnreachableError

TOLD = 5.0
"""Seconds to wait for the hub to take a change; after that it is told when it can be."""


class Meshlike(Protocol):
    """What a change needs of its mesh."""

    files: FileSync
    downloads: Downloads

    @property
    def user(self) -> str:
        """The user named in the certificate."""

    def link(self) -> HubLink:
        """The link to the attached hub."""


async def publish(mesh: Meshlike, path: str, incoming: Incoming) -> None:
    """Make what came in the newest version of `path`. It is on disk when this returns, and the hub knows of it
    if one is connected.

    Raises:
        ForbiddenError: the path is not the own user's.
        LimitError: the hub takes no more files of this user.
        StorageError: the disk does not take it.
    """
    check_owner(path, mesh.user)
    if _is_connected(mesh):
        await _catch_up(mesh, path)
    await mesh.files.put(path, incoming)
    await _tell(mesh)


async def erase(mesh: Meshlike, path: str) -> None:
    """Delete `path` for all of the mesh, under the same promise.

    Raises:
        ForbiddenError: the path is not the own user's.
        NotFoundError: there is no such file.
        UnreachableError: no hub can be asked whether there is, and nothing is known of it here.
        StorageError: the disk does not take the deletion marker.
    """
    check_owner(path, mesh.user)
    await _catch_up(mesh, path)
    if not mesh.files.erase(path):
        raise NotFoundError(f"file not found: {path}")
    await _tell(mesh)


async def _catch_up(mesh: Meshlike, path: str) -> None:
    """Learn which version of `path` the mesh has now, so that the next one is newer."""
    try:
        await mesh.downloads.info(path)
    except NotFoundError:
        return
    except UnreachableError:
        if mesh.files.newest(path) is None:
            raise


async def _tell(mesh: Meshlike) -> None:
    """Wait until the hub knows of a change, if one is connected."""
    if _is_connected(mesh):
        await mesh.files.advertised(TOLD)


def _is_connected(mesh: Meshlike) -> bool:
    try:
        mesh.link()
    except UnreachableError:
        return False
    return True
