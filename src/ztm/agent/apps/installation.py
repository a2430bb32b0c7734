"""The apps that are installed here: their files, what their owner consented to, and the version before.

Each version lies in a folder of its own, named by its digest, and one small file beside them says which is the
present one. That file is replaced whole, so a crash at any moment leaves the one version or the other. Nothing is
verified here (see `inspection`) and nothing is started. Source: spec app-framework 10.3 and 10.4.
"""

import contextlib
import hashlib
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path

import msgspec

from ztm.agent.apps.consents import Record, Version, check_consent
from ztm.agent.apps.inspection import Inspected
from ztm.agent.apps.installed import Installed
from ztm.agent.apps.names import AppName
from ztm.agent.apps.package import unpack
from ztm.agent.apps.signing import SIGNATURE, read_signed
from ztm.agent.files.content import Content
from ztm.apps.manifest import MANIFEST, read_manifest
from ztm.errors import ConflictError, NotFoundError, StorageError, UsageError, ZtmError
from ztm.store.files import reason, secure_directory, sync_directory, write_private

MAX_APPS = 1000
"""Installed apps that are listed."""
RECORD = "installed.json"
"""Beside the versions: which is the present one, and what was consented to. Mode 0600."""
_NAMED = 32
"""Characters of a digest that name a version's folder."""


class Installations:
    """The installed apps of one mesh, below `folder`, as ``provider/name[@tag]``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[AppName, tuple[Record, Installed]] = {}
        """What was read of those that are whole; the files change through here only."""
        self._sweep()

    def _sweep(self) -> None:
        """Remove what an agent left that ended while it installed or removed something."""
        with contextlib.suppress(OSError):
            for path in (*self._folder.glob(".*"), *self._folder.glob("*/.*"), *self._folder.glob("*/*/.*")):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    # ------------------------------------------------------------------ what there is

    def names(self) -> list[AppName]:
        """Apps of which there are files here, of whatever kind."""
        found: list[AppName] = []
        with contextlib.suppress(OSError):
            for provider in sorted(self._folder.iterdir()):
                if provider.is_dir() and not provider.is_symlink():
                    found += _named(provider)
        return found[:MAX_APPS]

    def has(self, app: AppName) -> bool:
        """Whether there are files of it."""
        folder = self.folder(app)
        return folder.is_dir() and not folder.is_symlink()

    def folder(self, app: AppName) -> Path:
        """Where all of it lies, whether it is there or not."""
        return self._folder / app.provider / app.app

    def find(self, app: AppName) -> Installed | None:
        """An app that can run; None if it is not installed, or is v1's, or what is here of it is damaged."""
        read = self._read(app)
        return read[1] if read is not None else None

    def record(self, app: AppName) -> Record | None:
        """What was consented to, of an app that `find` finds."""
        read = self._read(app)
        return read[0] if read is not None else None

    def _read(self, app: AppName) -> tuple[Record, Installed] | None:
        if app not in self._found:
            with contextlib.suppress(OSError, msgspec.DecodeError, ZtmError):
                record = msgspec.json.decode((self.folder(app) / RECORD).read_bytes(), type=Record)
                self._found[app] = record, _installed(app, self._version(app, record.present.digest), record.present)
        return self._found.get(app)

    def _version(self, app: AppName, digest: str) -> Path:
        return self.folder(app) / digest[:_NAMED]

    # ------------------------------------------------------------------ changing

    def prepare(self, package: Content, found: Inspected) -> None:
        """Bring the files of what was inspected onto the disk; nothing else is changed. May take long: for a thread.

        Raises:
            StorageError: the disk does not take them.
        """
        folder = self.folder(found.app)
        if self.record(found.app) is None and self.has(found.app):  # v1's, or damaged: nothing to go back to
            self._discard(found.app)
        try:
            for one in (self._folder, folder.parent, folder):
                secure_directory(one)
            if not self._version(found.app, found.digest).exists():
                self._unpack(package, self._version(found.app, found.digest))
        except OSError as error:
            raise StorageError(f"app {found.app} cannot be installed: {reason(error)}") from error

    def put(self, found: Inspected, consent: Collection[str] | None, now: str, *, is_development: bool = False) -> None:
        """Make what was prepared the present version of its app; the one before is kept.

        `consent` are the permissions that the owner granted; None goes on with those granted to the version before.

        Raises:
            ForbiddenError: it asks for what was not granted.
            StorageError: the disk does not take it; what was installed is as before.
        """
        before = self.record(found.app)
        check_consent(found, consent, before)
        manifest = found.manifest
        fresh = Version(found.digest, manifest.version, list(manifest.permissions), now, is_development)
        self._write(found.app, before.followed_by(fresh) if before is not None else Record(fresh))

    def _unpack(self, package: Content, target: Path) -> None:
        temporary = target.with_name(f".{secrets.token_hex(8)}")
        try:
            secure_directory(temporary)
            unpack(package, temporary)
            temporary.rename(target)
            sync_directory(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def rollback(self, app: AppName) -> None:
        """Make the previous version the present one, and the other way round; one in development is forgotten.

        Raises:
            NotFoundError: it is not installed.
            ConflictError: there is no other version.
            StorageError: the disk does not take it.
        """
        record = self.record(app)
        if record is None:
            raise NotFoundError(f"app {app} is not installed here")
        back = record.rolled_back()
        if back is None or not self._version(app, back.present.digest).is_dir():
            raise ConflictError(f"app {app} has no earlier version here to go back to")
        self._write(app, back)

    def _write(self, app: AppName, record: Record) -> None:
        write_private(self.folder(app) / RECORD, msgspec.json.encode(record))
        self._found.pop(app, None)
        kept = {one.digest[:_NAMED] for one in (record.present, record.previous) if one is not None}
        for path in self.folder(app).iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def remove(self, app: AppName) -> None:
        """Remove all files of an app.

        Raises:
            NotFoundError: there are none.
            StorageError: the disk does not let them go.
        """
        if not self.has(app):
            raise NotFoundError(f"app {app} is not installed here")
        try:
            self._discard(app)
        except OSError as error:
            raise StorageError(f"app {app} cannot be removed: {reason(error)}") from error

    def _discard(self, app: AppName) -> None:
        """Take the name away at once, and then the files."""
        self._found.pop(app, None)
        gone = self.folder(app).with_name(f".{secrets.token_hex(8)}")
        self.folder(app).rename(gone)
        shutil.rmtree(gone)


def _named(provider: Path) -> list[AppName]:
    found = []
    for folder in sorted(provider.iterdir()):
        with contextlib.suppress(UsageError):
            if folder.is_dir() and not folder.is_symlink():
                found.append(AppName.parse(provider.name, folder.name))
    return found


def _installed(app: AppName, folder: Path, version: Version) -> Installed:
    """What lies in a version's folder, if that is what was consented to.

    Raises:
        OSError: it cannot be read.
        ZtmError: it is another one.
    """
    data = (folder / MANIFEST).read_bytes()
    manifest, statement = read_manifest(data), read_signed((folder / SIGNATURE).read_bytes()).statement
    is_signed = (f"/{MANIFEST}", hashlib.sha256(data).hexdigest()) in statement.files
    is_consented = statement.digest == version.digest and set(manifest.permissions) == set(version.permissions)
    if statement.app != app or not is_signed or not is_consented:
        raise StorageError(f"what is installed as app {app} is not what was consented to")
    return Installed(provider=app.provider, tag=app.tag, folder=folder, manifest=manifest, digest=version.digest)
