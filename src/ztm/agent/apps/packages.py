"""Apps that are installed here or published in the mesh, as packages; nothing of them is run.

Only its own user's apps are published by an agent, and installing one is always asked for.
Source: spec app-framework 6 and agent-api 8.
"""

import asyncio
import contextlib
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ztm.agent.apps.package import MAX_BYTES, pack, unpack
from ztm.agent.files.fetch import Downloads
from ztm.agent.files.sync import FileSync
from ztm.core.access import check_path
from ztm.errors import ConflictError, ForbiddenError, NotFoundError, StorageError, UsageError
from ztm.model import check_name
from ztm.store.files import reason, secure_directory

MAX_APPS = 1000
"""Installed or published apps that are listed."""
ADVERTISED = 5.0
"""Seconds that a publication waits for the hub to hear of it."""
_PACKAGE = re.compile(r"/shared/(?P<provider>[^/]+)/pkg/(?P<app>[^/]+)")


@dataclass(frozen=True, slots=True, order=True)
class AppName:
    """Whose app, its name and its tag, which may be empty."""

    provider: str
    name: str
    tag: str = ""

    @classmethod
    def parse(cls, provider: str, app: str) -> "AppName":
        """Take ``name[@tag]`` apart.

        Raises:
            UsageError: one of the parts is no name.
        """
        name, at, tag = app.partition("@")
        check_name("user", provider)
        check_name("app", name)
        if at:
            check_name("tag", tag)
        if provider.startswith(".") or name.startswith("."):
            raise UsageError(f"not an app's name: {provider}/{app}")
        return cls(provider, name, tag)

    @property
    def app(self) -> str:
        """The name with its tag."""
        return f"{self.name}@{self.tag}" if self.tag else self.name

    @property
    def path(self) -> str:
        """Where its package is among the mesh files."""
        return check_path(f"/shared/{self.provider}/pkg/{self.app}")

    def __str__(self) -> str:
        return f"{self.provider}/{self.app}"


class Meshlike(Protocol):
    """What packages need of their mesh."""

    files: FileSync
    downloads: Downloads

    @property
    def user(self) -> str:
        """The user named in the certificate."""


class Packages:
    """The packages of one mesh; what is installed is in `folder`, as ``provider/name[@tag]``."""

    def __init__(self, folder: Path, mesh: Meshlike) -> None:
        self._folder = folder
        self._mesh = mesh
        self._changing = asyncio.Lock()

    # ------------------------------------------------------------------ what there is

    def installed(self) -> list[AppName]:
        """Apps of which the files are here."""
        found: list[AppName] = []
        with contextlib.suppress(OSError):
            for provider in sorted(self._folder.iterdir()):
                if provider.is_dir() and not provider.is_symlink():
                    found += self._named(provider)
        return found[:MAX_APPS]

    def _named(self, provider: Path) -> list[AppName]:
        found = []
        for folder in sorted(provider.iterdir()):
            with contextlib.suppress(UsageError):
                if folder.is_dir() and not folder.is_symlink():
                    found.append(AppName.parse(provider.name, folder.name))
        return found

    def published(self) -> list[AppName]:
        """Apps that the mesh has packages of."""
        found = []
        for path in self._mesh.files.known():
            match = _PACKAGE.fullmatch(path)
            if match is not None:
                with contextlib.suppress(UsageError):
                    found.append(AppName.parse(match["provider"], match["app"]))
        return sorted(found)[:MAX_APPS]

    # ------------------------------------------------------------------ changing

    async def install(self, app: AppName) -> None:
        """Fetch the published package and put its files in place of older ones; those stay where that fails.

        Raises:
            NotFoundError: nobody has published it.
            UsageError: the package is malformed.
            ZtmError: it cannot be fetched or stored.
        """
        if app not in self.published():
            raise NotFoundError(f"app {app} is not published in this mesh")
        held = await self._mesh.downloads.open(app.path)
        async with self._changing:
            fresh = self._folder / app.provider / f".{secrets.token_hex(8)}"
            try:
                secure_directory(self._folder)
                secure_directory(self._folder / app.provider)
                secure_directory(fresh)
                await asyncio.to_thread(unpack, held.content, fresh)
                await asyncio.to_thread(self._replace, app, fresh)
            finally:
                await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)

    def _folder_of(self, app: AppName) -> Path:
        return self._folder / app.provider / app.app

    def _replace(self, app: AppName, fresh: Path) -> None:
        target, old = self._folder_of(app), fresh.with_name(fresh.name + ".old")
        try:
            if target.exists():
                target.rename(old)
            fresh.rename(target)
        except OSError as error:
            raise StorageError(f"app {app} cannot be installed: {reason(error)}") from error
        finally:
            shutil.rmtree(old, ignore_errors=True)

    async def remove(self, app: AppName) -> None:
        """Remove the files of an app that is installed here.

        Raises:
            NotFoundError: it is not.
            StorageError: the disk does not let them go.
        """
        async with self._changing:
            if app not in self.installed():
                raise NotFoundError(f"app {app} is not installed here")
            try:
                await asyncio.to_thread(shutil.rmtree, self._folder_of(app))
            except OSError as error:
                raise StorageError(f"app {app} cannot be removed: {reason(error)}") from error

    async def publish(self, app: AppName) -> None:
        """Give the mesh the files of an installed app of the own user, in place of those published before.

        Raises:
            ForbiddenError: it is another user's.
            ConflictError: it is not installed here, so there is nothing to pack.
            UsageError: its files cannot be packed.
            ZtmError: they cannot be stored, or the hub does not take them.
        """
        self._check_own(app, "publish")
        async with self._changing:
            if app not in self.installed():
                raise ConflictError(f"No files to pack: app {app} is not installed here")
            files = self._mesh.files
            with files.incoming(app.path, MAX_BYTES) as incoming:
                for piece in pack(self._folder_of(app)):
                    await incoming.write(piece)
                await files.put(app.path, incoming)
        await files.advertised(ADVERTISED)

    async def unpublish(self, app: AppName) -> None:
        """Take the package of an app of the own user out of the mesh.

        Raises:
            ForbiddenError: it is another user's.
            NotFoundError: it is not published.
            ZtmError: that cannot be stored, or the hub does not take it.
        """
        self._check_own(app, "unpublish")
        if not self._mesh.files.erase(app.path):
            raise NotFoundError(f"app {app} is not published in this mesh")
        await self._mesh.files.advertised(ADVERTISED)

    def _check_own(self, app: AppName, what: str) -> None:
        if app.provider != self._mesh.user:
            raise ForbiddenError(f"only user {app.provider} may {what} app {app}, and you are {self._mesh.user}")
