"""The mesh files that this agent holds, beside what it knows of all files in the mesh.

It speaks to nobody: what the hub says is put in, and that something is to be told to it is set as an event. It does not
decide who may write.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ztm.agent.files.content import Content
from ztm.agent.files.incoming import Incoming
from ztm.agent.files.store import FileStore
from ztm.core.access import may_read
from ztm.core.files import file_hash
from ztm.model import FileInfo


class HeldFile(NamedTuple):
    """A content that is here and open for reading."""

    info: FileInfo
    content: Content


class HeldFiles:
    """The files of one mesh that are stored here, beside what its hub tells of all."""

    def __init__(self, directory: Path, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._store = FileStore(directory)
        self._own = self._store.load()
        """What is stored here, tombstones included."""
        self._paths = {file.hash: path for path, file in self._own.items()}
        """Of what is stored here, by hash."""
        self._seen: dict[str, FileInfo] = {}
        """What the hub told, tombstones included."""
        self._untold = set(self._own)
        """Paths of what is stored here and no hub has taken yet, since the start or the last change."""
        self._changed = asyncio.Event()
        """Set when the hub is to be told what is stored here."""
        self._listeners: list[Callable[[], None]] = []

    # ------------------------------------------------------------------ changing

    def write(self, path: str, data: bytes) -> None:
        """Store a file and advertise it; it is on disk when this returns. Content that the mesh has costs nothing.

        Raises:
            StorageError: the disk does not take it.
        """
        digest = file_hash(data, path)
        if self._is_current(path, digest):
            self._changed.set()
            return
        file = FileInfo(digest, len(data), self._next_time(path))
        self._store.write(path, data, file)
        self._note(path, file)

    def incoming(self, path: str, limit: int) -> Incoming:
        """A place for a content of `path` that comes in pieces; use it in a ``with``, and give it to `put` or `adopt`.

        Raises:
            LimitError: too many are coming in already.
            StorageError: the disk does not take it.
        """
        return self._store.incoming(path, limit)

    async def put(self, path: str, incoming: Incoming) -> FileInfo:
        """Store what came in as the newest version of `path`, and advertise it.

        Raises:
            StorageError: the disk does not take it.
        """
        digest = await incoming.finish()
        if self._is_current(path, digest):
            self._changed.set()
            return self._own[path]
        file = FileInfo(digest, incoming.size, self._next_time(path))
        self._store.take(incoming, path, file)
        self._note(path, file)
        return file

    def adopt(self, path: str, incoming: Incoming, file: FileInfo) -> None:
        """Store a version that the mesh has, after `Incoming.finish`, and advertise this endpoint as a source of it.

        Raises:
            StorageError: the disk does not take it.
        """
        known = self._own.get(path)
        if known is not None and known.time_ms > file.time_ms:
            return
        held = FileInfo(file.hash, incoming.size, file.time_ms)
        self._store.take(incoming, path, held)
        self._note(path, held)

    def erase(self, path: str) -> bool:
        """Store a deletion marker and advertise it; False, and nothing happens, if nobody knows the file.

        Raises:
            StorageError: the disk does not take it.
        """
        known = self.newest(path)
        if known is None or known.is_deleted:
            return False
        self._note(path, self._store.mark_deleted(path, self._next_time(path)))
        return True

    def drop(self, path: str) -> bool:
        """Forget the copy that is held here; False if there is none. The mesh goes on listing the file."""
        held = self._own.get(path)
        if held is None or held.is_deleted:
            return False
        del self._own[path]
        self._paths.pop(held.hash, None)
        self._store.remove(held.hash)
        self._tell()
        return True

    def learn(self, path: str, file: FileInfo) -> None:
        """Note what the hub has just said of a file, so that what is written next is newer."""
        seen = self._seen.get(path)
        if seen is None or seen.time_ms < file.time_ms:
            self._seen[path] = file
            self._tell()

    def _is_current(self, path: str, digest: str) -> bool:
        """Whether that content is held here and is what the mesh has."""
        own = self._own.get(path)
        return own is not None and own.hash == digest == self._seen.get(path, own).hash

    def _next_time(self, path: str) -> int:
        """A time that wins over what the mesh knows, also where this machine's clock is behind."""
        known = (self._own.get(path), self._seen.get(path))
        return max(self._now_ms(), *(1 + file.time_ms for file in known if file), 0)

    def _note(self, path: str, file: FileInfo) -> None:
        before = self._own.get(path)
        self._own[path] = file
        self._untold.add(path)
        self._paths[file.hash] = path
        if before is not None and before.hash != file.hash:
            self._paths.pop(before.hash, None)
            self._store.remove(before.hash)
        self._changed.set()
        self._tell()

    # ------------------------------------------------------------------ reading

    def read(self, digest: str) -> bytes | None:
        """The content of a file held here, by its hash; for small ones.

        Raises:
            StorageError: it cannot be read.
        """
        held = self.open(digest)
        return held.content.read() if held is not None else None

    def open(self, digest: str) -> HeldFile | None:
        """The content of a file held here, by its hash.

        Raises:
            StorageError: it cannot be read.
        """
        file = self._live(digest)
        return HeldFile(file, self._store.open(digest)) if file is not None else None

    def holds(self, digest: str) -> bool:
        """Whether the content of that hash is stored here."""
        return self._live(digest) is not None

    def open_for(self, user: str, digest: str) -> HeldFile | None:
        """The same for another endpoint; None also where `user` may not read that file, or the mesh has a newer one.

        An empty `user` is one of whom the hub said nothing, as v1's do: then only the hash admits.

        Raises:
            StorageError: it cannot be read.
        """
        path = self._paths.get(digest)
        if path is None or (user and not may_read(path, user, {})):
            return None
        newest = self.newest(path)
        return self.open(digest) if newest is not None and newest.hash == digest else None

    def _live(self, digest: str) -> FileInfo | None:
        file = self._own.get(self._paths.get(digest, ""))
        return file if file is not None and not file.is_deleted else None

    # ------------------------------------------------------------------ in the mesh

    def newest(self, path: str) -> FileInfo | None:
        """The newest version of `path` that is known here, which may be a tombstone."""
        known = [file for file in (self._seen.get(path), self._own.get(path)) if file is not None]
        return max(known, key=lambda file: file.time_ms, default=None)

    def is_untold(self, path: str) -> bool:
        """Whether `path` is stored here and no hub has heard of it yet."""
        return path in self._untold

    def known(self) -> Mapping[str, FileInfo]:
        """All live files that the mesh shows or that are stored here."""
        merged = dict(self._seen)
        for path, file in self._own.items():
            seen = merged.get(path)
            if seen is None or seen.time_ms < file.time_ms:
                merged[path] = file
        return {path: file for path, file in merged.items() if not file.is_deleted}

    def changes(self, since_ms: int) -> Mapping[str, FileInfo]:
        """What the hub learnt later than `since_ms`, by its clock, tombstones included."""
        return {path: file for path, file in self._seen.items() if file.since_ms > since_ms}

    def on_change(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` whenever `known` may differ; gives what ends that."""
        self._listeners.append(changed)
        return lambda: self._listeners.remove(changed) if changed in self._listeners else None

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()
