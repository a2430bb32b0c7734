"""The mesh files that are on this agent's disk, as v1 keeps them: content named by its hash, metadata beside it.

It keeps no list of what there is, and decides nothing about who may read or write. A name with a hash always has
the whole content: what is still coming in has another name, and is removed when it stays incomplete.

Source: spec mesh-protocol 19.
"""

import json
import logging
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from ztm.agent.files.content import Content
from ztm.agent.files.incoming import TEMPORARY, Incoming
from ztm.core.files import deleted_hash
from ztm.errors import LimitError, StorageError
from ztm.model import FileInfo
from ztm.store.files import reason, secure_directory, sync_directory, write_private

log = logging.getLogger("ztm.agent")

MAX_INCOMING = 16
"""Contents that may be coming in at once: each holds a file descriptor and a buffer."""

_HASH = re.compile(r"[0-9a-f]{64}")


class FileStore:
    """The directory of one mesh's files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming: set[Incoming] = set()
        secure_directory(directory)

    def load(self) -> dict[str, FileInfo]:
        """All there is, tombstones included, by path; what a crash has left behind is removed."""
        found: dict[str, FileInfo] = {}
        for path, file in self._entries():
            known = found.get(path)
            older = file if known is not None and known.time_ms >= file.time_ms else known
            if older is known:
                found[path] = file
            if older is not None:
                self.remove(older.hash)
        self._sweep()
        return found

    def _entries(self) -> Iterator[tuple[str, FileInfo]]:
        for meta in self._directory.glob("*.meta"):
            if not _HASH.fullmatch(meta.stem):
                continue
            try:
                said = json.loads(meta.read_text(encoding="utf-8"))
                path, time_ms = str(said["pathname"]), int(said["timestamp"])
                size = -1 if said.get("deleted") else meta.with_suffix("").stat().st_size
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("ignored %s: %s", meta, error)
                continue
            yield path, FileInfo(meta.stem, size, time_ms)

    def _sweep(self) -> None:
        """Remove what did not come in whole, and contents that nothing speaks of."""
        for path in self._directory.iterdir():
            is_orphan = _HASH.fullmatch(path.name) and not path.with_name(f"{path.name}.meta").exists()
            if is_orphan or path.name.endswith(TEMPORARY):
                path.unlink(missing_ok=True)

    # ------------------------------------------------------------------ coming in

    def incoming(self, path: str, limit: int) -> Incoming:
        """A place for the content of `path`, of at most `limit` bytes; use it in a ``with``.

        Raises:
            LimitError: too many contents are coming in already.
            StorageError: the disk does not take it.
        """
        if len(self._incoming) >= MAX_INCOMING:
            raise LimitError(f"{MAX_INCOMING} files are being stored at once already; try again when one is done")
        temporary = self._directory / f".{secrets.token_hex(8)}{TEMPORARY}"
        made = Incoming(temporary, path, limit, self._incoming.discard)
        self._incoming.add(made)
        return made

    def take(self, incoming: Incoming, path: str, file: FileInfo) -> None:
        """Give what came in, and is on disk, its name and its metadata.

        Raises:
            StorageError: the disk does not take it; nothing is there then.
        """
        try:
            incoming.rename(self._directory / file.hash)
            sync_directory(self._directory)
        except OSError as error:
            raise StorageError(f"cannot store {path}: {reason(error)}") from error
        self._describe(path, file)

    def write(self, path: str, data: bytes, file: FileInfo) -> None:
        """Store a small content.

        Raises:
            StorageError: the disk does not take it.
        """
        write_private(self._directory / file.hash, data)
        self._describe(path, file)

    def mark_deleted(self, path: str, time_ms: int) -> FileInfo:
        """Store a deletion marker.

        Raises:
            StorageError: the disk does not take it.
        """
        file = FileInfo(deleted_hash(path), -1, time_ms)
        self._describe(path, file)
        return file

    def _describe(self, path: str, file: FileInfo) -> None:
        meta: dict[str, object] = {"pathname": path, "timestamp": file.time_ms}
        if file.is_deleted:
            meta["deleted"] = True
        write_private(self._directory / f"{file.hash}.meta", json.dumps(meta).encode())

    # ------------------------------------------------------------------ going out

    def open(self, digest: str) -> Content:
        """A content for reading.

        Raises:
            StorageError: it is not there, or cannot be read.
        """
        return Content(self._directory / digest)

    def remove(self, digest: str) -> None:
        """Remove a content with its metadata, or a tombstone; what cannot be removed is logged."""
        for name in (f"{digest}.meta", digest):
            try:
                (self._directory / name).unlink(missing_ok=True)
            except OSError as error:
                log.warning("an old mesh file is not removed: %s", reason(error))
