"""Packages of apps that are on their way: those published in the mesh, and those that somebody brings.

Only its own user's apps are published by an agent. What a package is, is proven before anything is made of it.
Source: spec app-framework 6 and agent-api 8.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ztm.agent.apps.inspection import Inspected, Key, inspect, signed_package
from ztm.agent.apps.names import AppName
from ztm.agent.apps.package import MAX_BYTES, members, pack
from ztm.agent.files.content import Content
from ztm.agent.files.fetch import Downloads
from ztm.agent.files.incoming import Incoming
from ztm.agent.files.sync import FileSync
from ztm.apps.manifest import MANIFEST
from ztm.errors import ForbiddenError, NotFoundError, UsageError, ZtmError
from ztm.net.base import TlsConfig
from ztm.store.files import secure_directory

MAX_APPS = 1000
"""Published apps that are listed."""
ADVERTISED = 5.0
"""Seconds that a publication waits for the hub to hear of it."""
MAX_PACKAGE = MAX_BYTES + (8 << 20)
"""Bytes of a package: its files and what stands before each."""
_PACKAGE = re.compile(r"/shared/(?P<provider>[^/]+)/pkg/(?P<app>[^/]+)")


class Meshlike(Protocol):
    """What packages need of their mesh."""

    files: FileSync
    downloads: Downloads

    @property
    def user(self) -> str:
        """The user named in the certificate."""

    def tls(self) -> TlsConfig:
        """Key, certificate and CA."""

    def now_ms(self) -> int:
        """Epoch milliseconds."""


class Packages:
    """The packages of one mesh; those that somebody brings are kept in `folder` meanwhile."""

    def __init__(self, folder: Path, mesh: Meshlike) -> None:
        self._folder = folder
        self._mesh = mesh
        self._runtimes: dict[str, str] = {}
        """What runs packages that were held here, by the file's hash."""

    # ------------------------------------------------------------------ in the mesh

    def published(self) -> list[AppName]:
        """Apps that the mesh has packages of."""
        found = []
        for path in self._mesh.files.known():
            match = _PACKAGE.fullmatch(path)
            if match is not None:
                with contextlib.suppress(UsageError):
                    found.append(AppName.parse(match["provider"], match["app"]))
        return sorted(found)[:MAX_APPS]

    def runtime(self, app: AppName) -> str:
        """What runs a published app, as far as its package is held here: ``python``, ``pipyjs``, or nothing."""
        file = self._mesh.files.newest(app.path)
        if file is None or file.is_deleted:
            return ""
        if file.hash not in self._runtimes:
            held = self._mesh.files.open(file.hash)
            if held is None:
                return ""
            if len(self._runtimes) >= MAX_APPS:
                self._runtimes.clear()
            self._runtimes[file.hash] = _runtime(held.content)
        return self._runtimes[file.hash]

    async def fetch(self, app: AppName) -> Content:
        """The package that is published, as it came.

        Raises:
            NotFoundError: nobody has published it.
            ZtmError: it cannot be fetched or stored.
        """
        if app not in self.published():
            raise NotFoundError(f"app {app} is not published in this mesh")
        return (await self._mesh.downloads.open(app.path)).content

    async def publish(self, app: AppName, folder: Path) -> None:
        """Give the mesh the files of an app of the own user, in place of those published before.

        Raises:
            ForbiddenError: it is another user's.
            UsageError: its files cannot be packed.
            ZtmError: they cannot be stored, or the hub does not take them.
        """
        self.check_own(app, "publish")
        files = self._mesh.files
        with files.incoming(app.path, MAX_PACKAGE) as incoming:
            for piece in pack(folder):
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
        self.check_own(app, "unpublish")
        if not self._mesh.files.erase(app.path):
            raise NotFoundError(f"app {app} is not published in this mesh")
        await self._mesh.files.advertised(ADVERTISED)

    def check_own(self, app: AppName, what: str) -> None:
        """Return if the app is the own user's.

        Raises:
            ForbiddenError: it is not.
        """
        if app.provider != self._mesh.user:
            raise ForbiddenError(f"only user {app.provider} may {what} app {app}, and you are {self._mesh.user}")

    # ------------------------------------------------------------------ brought by somebody

    @contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """A package on its way in; it is gone when this is left.

        Raises:
            StorageError: the disk does not let one begin.
        """
        secure_directory(self._folder)
        temporary = self._folder / f".{secrets.token_hex(8)}"
        with Incoming(temporary, "the package", MAX_PACKAGE, lambda _: None) as incoming:
            yield incoming

    async def inspect(self, package: Content, wanted: AppName | None = None) -> Inspected:
        """What a package is, proven by the CA of this mesh; see `inspection.inspect`.

        Raises:
            ZtmError: it is nothing to install here.
        """
        return await asyncio.to_thread(inspect, package, self._mesh.tls().ca, self.now(), wanted)

    async def inspect_published(self, app: AppName) -> Inspected:
        """What a package in the mesh is, proven.

        Raises:
            NotFoundError: nobody has published it.
            ZtmError: it cannot be fetched, or is nothing to install here.
        """
        return await self.inspect(await self.fetch(app), app)

    async def signed(self, package: Content, tag: str = "") -> tuple[int, AsyncIterator[bytes]]:
        """The size and the pieces of the same package, signed by the own user.

        Raises:
            CertificateError: the own permit cannot be used.
            ZtmError: it is no package; see `inspection.signed_package`.
        """
        tls = self._mesh.tls()
        key = Key(self._mesh.user, tls.key, tls.certificate)
        size, pieces = await asyncio.to_thread(signed_package, package, key, tls.ca, tag)
        return size, _in_threads(pieces)

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.fromtimestamp(self._mesh.now_ms() / 1000, UTC)


def _runtime(package: Content) -> str:
    with contextlib.suppress(ZtmError):
        return "python" if any(member.path == f"/{MANIFEST}" for member in members(package)) else "pipyjs"
    return ""


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
