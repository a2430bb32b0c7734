"""The package of an app: its files one behind the other, each as an HTTP/1.1 request, as v1 packs them.

A package may come from anyone in the mesh. Unpacking writes below the given directory and nowhere else, follows
no link, and stops at what is too much. What an app does, and who made it, is no concern of this module.

Source: spec app-framework 6.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ztm.agent.files.content import Content
from ztm.errors import StorageError, TooLargeError, UsageError
from ztm.store.files import reason

MAX_FILES = 10_000
"""Files of one package (spec app-framework 10.4)."""
MAX_BYTES = 256 << 20
"""Bytes of all its files."""
MAX_PATH = 512
"""Characters of a file's path in it."""
PIECE = 128 << 10
_HEAD_END = b"\r\n\r\n"
_MAX_HEAD = 8 << 10


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a package."""

    path: str
    """With its leading slash."""
    start: int
    """Where its content begins in the package."""
    size: int

    def pieces(self, package: Content) -> Iterator[bytes]:
        """Its content, piece by piece.

        Raises:
            StorageError: the disk does not give it, or not all of it.
        """
        start, end = self.start, self.start + self.size
        while start < end:
            piece = package.read(start, min(PIECE, end - start))
            if not piece:
                raise StorageError(f"{self.path} cannot be read: the package is shorter than it was")
            start += len(piece)
            yield piece

    def read(self, package: Content, limit: int) -> bytes:
        """Its whole content.

        Raises:
            TooLargeError: it exceeds `limit` bytes.
        """
        if self.size > limit:
            raise TooLargeError(f"{self.path} has {self.size} bytes; {limit} are allowed")
        return b"".join(self.pieces(package))

    def digest(self, package: Content) -> str:
        """SHA-256 of its content, in hex."""
        found = hashlib.sha256()
        for piece in self.pieces(package):
            found.update(piece)
        return found.hexdigest()


# ---------------------------------------------------------------------- packing


def pack(folder: Path, is_left_out: Callable[[Path], bool] = lambda _: False) -> Iterator[bytes]:
    """All files below `folder`, piece by piece, but those (and folders) that are left out.

    Raises:
        UsageError: there is none, too many, or one that cannot be in a package (a link, an odd name).
        StorageError: one cannot be read.
    """
    files = listed(folder, is_left_out)
    if not files:
        raise UsageError("No files to pack")
    for file in files:
        yield from _packed(folder, file)


def listed(folder: Path, is_left_out: Callable[[Path], bool] = lambda _: False) -> list[Path]:
    """The files of `folder` that would be packed, in their order.

    Raises:
        UsageError: one of them is a link.
        TooLargeError: they are too many.
    """
    return sorted(_files(folder, is_left_out), key=lambda file: file.relative_to(folder).as_posix())


def _files(folder: Path, is_left_out: Callable[[Path], bool]) -> Iterator[Path]:
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_left_out(Path(root, name))]
        files = [Path(root, name) for name in names if not is_left_out(Path(root, name))]
        for path in (*(Path(root, name) for name in folders), *files):
            if path.is_symlink():
                raise UsageError(f"{path.relative_to(folder)} is a link, which cannot be packed")
            count += 1
            if count > MAX_FILES:
                raise TooLargeError(f"a package may have {MAX_FILES} files")
        yield from files


def _packed(folder: Path, file: Path) -> Iterator[bytes]:
    path = "/" + file.relative_to(folder).as_posix()
    content = Content(file)
    yield head(path, content.size)
    yield from Member(path, 0, content.size).pieces(content)


def head(path: str, size: int) -> bytes:
    """What stands before a file's content.

    Raises:
        UsageError: no file of a package may have that path.
    """
    check_member(path)
    return f"POST {path} HTTP/1.1\r\ncontent-length: {size}\r\nconnection: keep-alive\r\n\r\n".encode()


# ---------------------------------------------------------------------- taking apart


def members(package: Content) -> list[Member]:
    """The files of `package`, in its order; each path is there once and below its folder.

    Raises:
        UsageError: the package is malformed, or names a file that may not be.
        TooLargeError: it has too many files, or too large ones.
    """
    found: dict[str, Member] = {}
    start, total = 0, 0
    while start < package.size:
        path, size, length = _head(package, start)
        total += size
        if len(found) >= MAX_FILES or total > MAX_BYTES:
            raise TooLargeError(f"the package has more than {MAX_FILES} files, or {MAX_BYTES} bytes in them")
        if path in found:
            raise UsageError(f"malformed package: {path!r} comes twice")
        start += length
        if size > package.size - start:
            raise UsageError(f"malformed package: it ends within {path!r}")
        found[path] = Member(path, start, size)
        start += size
    if not found:
        raise UsageError("malformed package: there is no file in it")
    return list(found.values())


def unpack(package: Content, folder: Path) -> int:
    """Write the files of `package` below `folder`, which is new and empty; how many they were.

    Raises:
        UsageError: the package is malformed, or names a file that may not be.
        TooLargeError: it has too many files, or too large ones.
        StorageError: the disk does not take them.
    """
    found = members(package)
    for member in found:
        _write(package, member, folder / member.path[1:])
    return len(found)


def _head(package: Content, start: int) -> tuple[str, int, int]:
    """Path and size of the file that begins at `start`, and the length of what says so."""
    data = package.read(start, min(_MAX_HEAD, package.size - start))
    end = data.find(_HEAD_END)
    try:
        first, *fields = data[: max(end, 0)].decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError("malformed package: a path is not UTF-8") from error
    if end < 0 or not (first.startswith("POST /") and first.endswith(" HTTP/1.1")):
        raise UsageError("malformed package: a file does not begin as it should")
    sizes = [value.strip() for name, _, value in (field.partition(":") for field in fields) if _is_size(name)]
    if len(sizes) != 1 or not (sizes[0].isascii() and sizes[0].isdigit() and len(sizes[0]) < 16):
        raise UsageError("malformed package: a file does not say its size")
    path = first.removeprefix("POST ").removesuffix(" HTTP/1.1")
    check_member(path)
    return path, int(sizes[0]), end + len(_HEAD_END)


def _is_size(name: str) -> bool:
    return name.strip().lower() == "content-length"


def check_member(path: str) -> None:
    """Return if a file of a package may have that path: below its folder on every system.

    Raises:
        UsageError: it may not.
    """
    first, *parts = path.split("/")
    is_odd = bool(first) or any(character in "\\:\x7f" or character < " " for character in path)
    is_odd = is_odd or any("\ud800" <= character <= "\udfff" for character in path)  # a file name that is no UTF-8
    if is_odd or len(path) > MAX_PATH or not parts or any(not _is_part(part) for part in parts):
        raise UsageError(f"malformed package: {path[:80]!r} is not a path that a file of it may have")


def _is_part(part: str) -> bool:
    return bool(part) and part not in (".", "..") and len(part) <= 128


def _write(package: Content, member: Member, target: Path) -> None:
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
            for piece in member.pieces(package):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise UsageError(f"malformed package: {target.name!r} is a file and a folder at once") from error
    except OSError as error:
        raise StorageError(f"the package cannot be unpacked: {reason(error)}") from error
