"""The mesh files that this agent holds, and its view of all files in the mesh.

Files are kept as v1 keeps them, content beside metadata (spec mesh-protocol 19), advertised whole after each change,
and the hub is watched by a long poll so that nobody has to ask for what is there. It does not download.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from ztm.agent.hublink import HubLink
from ztm.core.files import deleted_hash, file_hash
from ztm.errors import StorageError, ZtmError
from ztm.model import FileInfo
from ztm.store.files import secure_directory, write_private
from ztm.wire import codec, paths

log = logging.getLogger("ztm.agent")

GATHER = 0.05
"""Seconds by which an advertisement waits for more changes."""
RETRY = 2.0
"""Seconds after which an advertisement or a poll that failed is tried again."""
POLL = 3600.0
"""Seconds a long poll may take; the session's own PINGs find a dead hub long before."""


class FileSync:
    """The files of one mesh on this agent."""

    def __init__(self, directory: Path, now_ms: Callable[[], int]) -> None:
        self._directory = directory
        self._now_ms = now_ms
        self._own: dict[str, FileInfo] = {}
        """What is stored here, tombstones included."""
        self._seen: dict[str, FileInfo] = {}
        """What the hub told, tombstones included."""
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        secure_directory(directory)
        self._load()

    # ------------------------------------------------------------------ on disk

    def _load(self) -> None:
        for meta in self._directory.glob("*.meta"):
            try:
                said = json.loads(meta.read_text(encoding="utf-8"))
                path, time_ms = str(said["pathname"]), int(said["timestamp"])
                content = meta.with_suffix("")
                size = -1 if said.get("deleted") else content.stat().st_size
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("ignored %s: %s", meta, error)
                continue
            known = self._own.get(path)
            if known is None or known.time_ms < time_ms:
                self._own[path] = FileInfo(meta.stem, size, time_ms)

    def write(self, path: str, data: bytes) -> None:
        """Store a file and advertise it; it is on disk when this returns. Content that the mesh has costs nothing.

        Raises:
            StorageError: the disk does not take it.
        """
        digest = file_hash(data, path)
        known = self._own.get(path)
        seen = self._seen.get(path, known)
        if known is not None and seen is not None and known.hash == digest == seen.hash:
            self._changed.set()
            return
        write_private(self._directory / digest, data)
        self._note(path, FileInfo(digest, len(data), self._next_time(path)))

    def erase(self, path: str) -> None:
        """Store a deletion marker and advertise it; nothing happens if nobody knows the file.

        Raises:
            StorageError: the disk does not take it.
        """
        known = [file for file in (self._own.get(path), self._seen.get(path)) if file]
        if not known or max(known, key=lambda file: file.time_ms).is_deleted:
            return
        self._note(path, FileInfo(deleted_hash(path), -1, self._next_time(path)))

    def _next_time(self, path: str) -> int:
        """A time that wins over what the mesh knows, also where this machine's clock is behind."""
        known = (self._own.get(path), self._seen.get(path))
        return max(self._now_ms(), *(1 + file.time_ms for file in known if file), 0)

    def _note(self, path: str, file: FileInfo) -> None:
        meta: dict[str, object] = {"pathname": path, "timestamp": file.time_ms}
        if file.is_deleted:
            meta["deleted"] = True
        write_private(self._directory / f"{file.hash}.meta", json.dumps(meta).encode())
        before = self._own.get(path)
        self._own[path] = file
        if before is not None and before.hash != file.hash:
            self._remove(before.hash)
        self._changed.set()
        self._tell()

    def _remove(self, digest: str) -> None:
        for name in (digest, f"{digest}.meta"):
            try:
                (self._directory / name).unlink(missing_ok=True)
            except OSError as error:
                log.warning("an old file is not removed: %s", error)

    def read(self, digest: str) -> bytes | None:
        """The content of a file held here, by its hash."""
        if not any(file.hash == digest and not file.is_deleted for file in self._own.values()):
            return None
        try:
            return (self._directory / digest).read_bytes()
        except OSError as error:
            raise StorageError(f"a mesh file cannot be read: {error.strerror}") from error

    # ------------------------------------------------------------------ in the mesh

    def known(self) -> Mapping[str, FileInfo]:
        """All live files that the mesh shows or that are stored here."""
        merged = dict(self._seen)
        for path, file in self._own.items():
            seen = merged.get(path)
            if seen is None or seen.time_ms < file.time_ms:
                merged[path] = file
        return {path: file for path, file in merged.items() if not file.is_deleted}

    def on_change(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` whenever `known` may differ; gives what ends that."""
        self._listeners.append(changed)
        return lambda: self._listeners.remove(changed) if changed in self._listeners else None

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()

    async def run(self, link: HubLink) -> None:
        """Advertise and watch by way of `link`, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._advertise(link))
            tasks.create_task(self._watch(link))

    async def _advertise(self, link: HubLink) -> None:
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not self._own:
                continue
            try:
                await link.ask("POST", paths.FILES, codec.encode_files(self._own))
            except ZtmError as error:
                log.info("the hub did not take the file list: %s", error)
                self._changed.set()
                await asyncio.sleep(RETRY)
            else:
                await asyncio.sleep(GATHER)

    async def _watch(self, link: HubLink) -> None:
        since, query = 0, {"since": 0}
        while True:
            try:
                body = await link.ask("GET", paths.fill(paths.FILES, query), timeout=POLL)
                changes = codec.decode_files(body)
            except ZtmError as error:
                log.info("the hub did not tell its files: %s", error)
                await asyncio.sleep(RETRY)
                continue
            newest = max([since, *(file.since_ms for file in changes.values())])
            if "wait" not in query:  # the whole of it: what the last hub said no longer counts
                self._seen.clear()
            elif newest == since:  # a hub that answers without news would be asked as fast as it can
                await asyncio.sleep(RETRY)
            since = newest
            query = {"since": since, "wait": 1}
            self._seen.update(changes)
            self._tell()
