"""Metadata of mesh files, and ACLs, as JSON.

It judges neither paths nor who may see them; file contents never pass here.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from ztm.model import Acl, FileInfo
from ztm.wire.codec.base import MAX_NUMBER, Number, read, write


class _File(msgspec.Struct, omit_defaults=True):
    hash: str = msgspec.field(name="#")
    size: Annotated[int, msgspec.Meta(ge=-1, le=MAX_NUMBER)] = msgspec.field(name="$")
    time: Number = msgspec.field(name="T")
    since: Number | None = msgspec.field(name="+", default=None)
    sources: list[str] | None = msgspec.field(name="@", default=None)

    @property
    def record(self) -> FileInfo:
        return FileInfo(self.hash, self.size, int(self.time), int(self.since or 0), tuple(self.sources or ()))


def encode_files(files: Mapping[str, FileInfo], *, since: bool = False) -> bytes:
    """A file map: what an agent advertises, and what a hub lists. With `since`, when the hub learnt each."""
    return write(
        {
            path: _File(file.hash, file.size, file.time_ms, file.since_ms if since else None)
            for path, file in files.items()
        }
    )


def decode_files(data: bytes) -> dict[str, FileInfo]:
    """A file map by path.

    Raises:
        UsageError: `data` is malformed.
    """
    return {path: found.record for path, found in read(data, dict[str, _File], "file map").items()}


def encode_file(file: FileInfo) -> bytes:
    """The answer to GET `paths.FILE`, sources included."""
    return write(_File(file.hash, file.size, file.time_ms, file.since_ms, list(file.sources)))


def decode_file(data: bytes) -> FileInfo:
    """One file with its sources.

    Raises:
        UsageError: `data` is malformed.
    """
    return read(data, _File, "file entry").record


class _Acl(msgspec.Struct, omit_defaults=True):
    pathname: str | None = None
    prefix: str | None = None
    all: str | None = None
    users: dict[str, str | None] | None = None
    since: Number | None = None

    def record(self, path: str) -> Acl:
        users = {user: right for user, right in (self.users or {}).items() if right}
        return Acl(path, self.all or "", users, int(self.since or 0))


def encode_acls(acls: Iterable[Acl]) -> bytes:
    """The body of POST `paths.ACLS`."""
    return write({acl.path: {"all": acl.all, "users": acl.users, "since": acl.since_ms} for acl in acls})


def decode_acls(data: bytes) -> dict[str, Acl]:
    """ACL entries by path.

    Raises:
        UsageError: `data` is malformed.
    """
    return {path: found.record(path) for path, found in read(data, dict[str, _Acl], "ACL map").items()}


def encode_acl(acl: Acl | None) -> bytes:
    """The answer to the owner's GET `paths.ACL`; an empty object if nothing is stored."""
    if acl is None:
        return b"{}"
    return write(_Acl(acl.path, acl.path + "/", acl.all, dict(acl.users), acl.since_ms))


def decode_acl(data: bytes) -> Acl | None:
    """One stored ACL entry, or None if there is none.

    Raises:
        UsageError: `data` is malformed.
    """
    found = read(data, _Acl, "ACL entry")
    return found.record(found.pathname) if found.pathname else None
