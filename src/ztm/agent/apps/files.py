"""One app's files: its own on this agent, and its part of the mesh's. Source: spec app-framework 4.1."""

from collections.abc import Callable, Mapping
from typing import Protocol

from ztm.agent.files import publishing
from ztm.agent.files.fetch import Downloads
from ztm.agent.files.sync import FileSync
from ztm.agent.hublink import HubLink
from ztm.apps.base import MAX_FILE, AppFiles
from ztm.core.access import check_owner, check_path
from ztm.errors import NotFoundError, TooLargeError, UsageError
from ztm.model import FileInfo
from ztm.store.agent import AgentStore


class FileMesh(Protocol):
    """What an app's files need of its mesh."""

    name: str
    files: FileSync
    downloads: Downloads

    @property
    def user(self) -> str:
        """The user named in the certificate."""

    def link(self) -> HubLink:
        """The link to the attached hub."""


class MeshFiles(AppFiles):
    """An app's files, mapped as v1 maps them. Source: spec app-framework 4.1."""

    def __init__(self, mesh: FileMesh, store: AgentStore, provider: str, app: str) -> None:
        self._mesh = mesh
        self._store = store
        self._provider = provider
        self._app = app
        self._prefix = f"/apps/{provider}/{app}"
        self._shared: dict[str, FileInfo] | None = None
        self._known: dict[str, FileInfo] | None = None
        self._stop: list[Callable[[], None]] = [mesh.files.on_change(self._forget)]

    def read_local(self, path: str) -> bytes | None:
        """See `AppFiles`."""
        return self._store.read_file(self._mesh.name, self._provider, self._app, path)

    def write_local(self, path: str, data: bytes) -> None:
        """See `AppFiles`."""
        self._store.write_file(self._mesh.name, self._provider, self._app, path, data)

    def erase_local(self, path: str) -> bool:
        """See `AppFiles`."""
        return self._store.delete_file(self._mesh.name, self._provider, self._app, path)

    def list_local(self) -> list[str]:
        """See `AppFiles`."""
        return list(self._store.list_files(self._mesh.name, self._provider, self._app))

    def share(self, path: str, data: bytes) -> None:
        """See `AppFiles`."""
        self._mesh.files.write(f"{self._prefix}/shared/{self._mesh.user}/{path}", data)

    def unshare(self, path: str) -> None:
        """See `AppFiles`."""
        self._mesh.files.erase(f"{self._prefix}/shared/{self._mesh.user}/{path}")

    def shared(self) -> Mapping[str, FileInfo]:
        """See `AppFiles`."""
        if self._shared is None:
            self._shared = self._below("/shared/")
        return self._shared

    def known(self) -> Mapping[str, FileInfo]:
        """See `AppFiles`."""
        if self._known is None:
            self._known = {**self.shared(), **self._below(f"/users/{self._mesh.user}/")}
        return self._known

    def _below(self, room: str) -> dict[str, FileInfo]:
        cut, prefix = len(self._prefix), f"{self._prefix}{room}"
        return {path[cut:]: file for path, file in self._mesh.files.known().items() if path.startswith(prefix)}

    def _forget(self) -> None:
        self._shared = self._known = None

    async def read(self, path: str) -> bytes | None:
        """See `AppFiles`."""
        full = self._full(path)
        try:
            file = await self._mesh.downloads.newest(full)
            if file.size > MAX_FILE:
                raise TooLargeError(f"{path} has {file.size} bytes, and an app reads {MAX_FILE} at once")
            held = await self._mesh.downloads.open(full, file)
        except NotFoundError:
            return None
        return b"".join([piece async for piece in held.content.pieces(0, held.content.size)])

    async def write(self, path: str, data: bytes) -> None:
        """See `AppFiles`."""
        full = self._full(path)
        check_owner(full, self._mesh.user)
        with self._mesh.files.incoming(full, MAX_FILE) as incoming:
            await incoming.write(data)
            await publishing.publish(self._mesh, full, incoming)

    async def erase(self, path: str) -> bool:
        """See `AppFiles`."""
        full = self._full(path)
        check_owner(full, self._mesh.user)
        try:
            await self._mesh.downloads.newest(full)  # another endpoint may have erased it just now
            await publishing.erase(self._mesh, full)
        except NotFoundError:
            return False
        return True

    def _full(self, path: str) -> str:
        """The mesh path of an app path.

        Raises:
            UsageError: it is none that an app may see.
        """
        full = check_path(f"{self._prefix}{path}")
        if not path.startswith(("/shared/", f"/users/{self._mesh.user}/")):
            raise UsageError(f"an app has no files at {path}: use /shared/... or /users/{self._mesh.user}/...")
        return full

    def on_change(self, changed: Callable[[], None]) -> None:
        """See `AppFiles`."""
        self._stop.append(self._mesh.files.on_change(changed))

    def close(self) -> None:
        """Call nobody any more."""
        for stop in self._stop:
            stop()
