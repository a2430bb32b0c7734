"""The hub's table of mesh files: what agents advertise merged into one list, and what each user sees of it.

It holds metadata only and stores nothing: `FileTable.advertise` says which rows to keep. Who is online is
asked of the caller. Times are epoch ms. Source: spec mesh-protocol 11 and W22, W23.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256

from ztm.core.access import check_path, may_read, owner_of
from ztm.errors import LimitError, UsageError
from ztm.model import Acl, FileInfo

MAX_FILES = 100_000
"""Entries of one user, tombstones included; some 50 MB of hub memory."""


class FileHash:
    """The hash that names a content at `path`, of a content that comes piece by piece.

    SHA-256 over the content, its size in decimal, and the path in UTF-8. Source: spec mesh-protocol 11.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._sum = sha256()
        self.size = 0
        """Bytes of content so far."""

    def update(self, data: bytes | bytearray) -> None:
        """Add the next piece of content."""
        self._sum.update(data)
        self.size += len(data)

    def hexdigest(self) -> str:
        """The hash of the content so far, lower-case hex."""
        whole = self._sum.copy()
        whole.update(str(self.size).encode() + self._path.encode())
        return whole.hexdigest()


def file_hash(content: bytes, path: str) -> str:
    """The hash that names `content` at `path`; see `FileHash`."""
    hashed = FileHash(path)
    hashed.update(content)
    return hashed.hexdigest()


def deleted_hash(path: str) -> str:
    """The hash of the tombstone at `path`: no content, and ``-1`` for the size."""
    return sha256(b"-1" + path.encode()).hexdigest()


def mesh_path(text: str) -> str:
    """The mesh path that a person or URL means by `text`: with a leading slash, ``.`` and ``..`` resolved.

    Raises:
        UsageError: nothing is left of it, it is too long, or it has a control character.

    Source: spec agent-api 7.
    """
    segments: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return check_path("/" + "/".join(segments))


class FileTable:
    """All files of a mesh by path, in the order in which the hub learnt their present state.

    Every advertisement that changes anything has a `since` greater than all before it, so that who
    asks again with the greatest `since` it was given misses nothing.
    """

    def __init__(self, stored: Mapping[str, FileInfo] | None = None, *, max_files: int = MAX_FILES) -> None:
        rows = sorted((stored or {}).items(), key=lambda row: row[1].since_ms)
        self._files = {path: replace(file, sources=()) for path, file in rows}
        """Ordered by `since_ms`: what changes moves to the end."""
        self._sources: dict[str, dict[str, None]] = {}
        self._held: dict[str, set[str]] = {}
        """Paths by the endpoint that holds them: `_sources` the other way round."""
        self._path_of = {file.hash: path for path, file in rows}
        """Paths by hash: a hash covers content and path, so it names one of them."""
        self._count = Counter(owner_of(path) or "" for path in self._files)
        self._max_files = max_files

    @property
    def newest_since_ms(self) -> int:
        """The `since` of the latest change, or 0."""
        last = next(reversed(self._files), None)
        return self._files[last].since_ms if last is not None else 0

    def advertise(
        self,
        endpoint_id: str,
        user: str,
        offered: Mapping[str, FileInfo],
        now_ms: int,
        acls: Mapping[str, Acl],
    ) -> dict[str, FileInfo]:
        """Merge what an endpoint of `user` says it stores; gives the rows that changed, to be kept on disk.

        Only the owner creates and changes, by a later `time_ms`; others become sources of what is there.
        Malformed or inaccessible paths are ignored, and a path left out changes nothing.

        Raises:
            LimitError: the user would own too many files; nothing is changed then.
        """
        visible = {path: file for path, file in offered.items() if _is_path(path) and may_read(path, user, acls)}
        added = sum(path not in self._files and owner_of(path) == user for path in visible)
        if added and self._count[user] + added > self._max_files:
            raise LimitError(f"user {user} has too many mesh files; {self._max_files} are allowed")
        since_ms = max(now_ms, self.newest_since_ms + 1)
        changed = {}
        for path, file in visible.items():
            if self._merge(endpoint_id, path, file, since_ms, owned=owner_of(path) == user):
                changed[path] = self._files[path]
        self._count[user] += added
        return changed

    def _merge(self, endpoint_id: str, path: str, file: FileInfo, since_ms: int, *, owned: bool) -> bool:
        known = self._files.get(path)
        is_same = known is not None and known.hash == file.hash
        is_news = owned and (known is None or file.time_ms > known.time_ms)
        if not is_same and not is_news:
            return False
        if not is_same:
            self._drop_sources(path)
        self._sources.setdefault(path, {})[endpoint_id] = None
        self._held.setdefault(endpoint_id, set()).add(path)
        if is_news:
            size = known.size if known and is_same else file.size
            if known is not None:
                self._path_of.pop(known.hash, None)
            self._path_of[file.hash] = path
            self._files.pop(path, None)
            self._files[path] = FileInfo(file.hash, size, file.time_ms, since_ms)
        return is_news

    def _drop_sources(self, path: str) -> None:
        for endpoint_id in self._sources.pop(path, ()):
            self._held[endpoint_id].discard(path)

    def listing(self, user: str, acls: Mapping[str, Acl], since_ms: int | None = None) -> dict[str, FileInfo]:
        """What `user` may see: the files there are, or with `since_ms` all later changes, tombstones included.

        The cost of asking for changes is that of those later than `since_ms`, not of all files.
        """
        if since_ms is None:
            return {
                path: file for path, file in self._files.items() if not file.is_deleted and may_read(path, user, acls)
            }
        found = []
        for path, file in reversed(self._files.items()):
            if file.since_ms <= since_ms:
                break
            if may_read(path, user, acls):
                found.append((path, file))
        return dict(reversed(found))

    def lookup(self, path: str, user: str, acls: Mapping[str, Acl], online: Callable[[str], bool]) -> FileInfo | None:
        """One file with its online sources; None if it is unknown, deleted or hidden from `user`."""
        file = self._files.get(path)
        if file is None or file.is_deleted or not may_read(path, user, acls):
            return None
        sources = tuple(endpoint_id for endpoint_id in self._sources.get(path, ()) if online(endpoint_id))
        return replace(file, sources=sources)

    def path_of(self, digest: str) -> str | None:
        """The path whose present content has this hash, or None."""
        path = self._path_of.get(digest)
        return path if path in self._files and self._files[path].hash == digest else None

    def drop_source(self, endpoint_id: str) -> None:
        """Forget that this endpoint holds anything."""
        for path in self._held.pop(endpoint_id, ()):
            sources = self._sources[path]
            del sources[endpoint_id]
            if not sources:
                del self._sources[path]


def _is_path(path: str) -> bool:
    try:
        check_path(path)
    except UsageError:
        return False
    return True
