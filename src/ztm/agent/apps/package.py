"""The package of an app: its files one behind the other, each as an HTTP/1.1 request, as v1 packs them.

A package may come from anyone in the mesh. Unpacking writes below the given directory and nowhere else, follows
no link, and stops at what is too much. What an app does is no concern of this module.

Source: spec app-framework 6.
"""

import os
from collections.abc import Iterator
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


def pack(folder: Path) -> Iterator[bytes]:
    """All files below `folder`, piece by piece.

    Raises:
        UsageError: there is none, too many, or one that cannot be in a package (a link, an odd name).
        StorageError: one cannot be read.
    """
    files = sorted(_files(folder), key=lambda file: file.relative_to(folder).as_posix())
    if not files:
        raise UsageError("No files to pack")
    for file in files:
        yield from _packed(folder, file)


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(root, name)
            if path.is_symlink():
                raise UsageError(f"{path.relative_to(folder)} is a link, which cannot be packed")
            count += 1
            if count > MAX_FILES:
                raise TooLargeError(f"a package may have {MAX_FILES} files")
        yield from (Path(root, name) for name in names)


def _packed(folder: Path, file: Path) -> Iterator[bytes]:
    path = "/" + file.relative_to(folder).as_posix()
    check_member(path)
    content = Content(file)
    yield f"POST {path} HTTP/1.1\r\ncontent-length: {content.size}\r\nconnection: keep-alive\r\n\r\n".encode()
    start = 0
    while start < content.size:
        piece = content.read(start, min(PIECE, content.size - start))
        if not piece:
            raise StorageError(f"{path} has become shorter while it was packed")
        start += len(piece)
        yield piece


def unpack(package: Content, folder: Path) -> int:
    """Write the files of `package` below `folder`, which is new and empty; how many they were.

    Raises:
        UsageError: the package is malformed, or names a file that may not be.
        TooLargeError: it has too many files, or too large ones.
        StorageError: the disk does not take them.
    """
    start, count, total = 0, 0, 0
    seen: set[str] = set()
    while start < package.size:
        path, size, head = _head(package, start)
        count, total = count + 1, total + size
        if count > MAX_FILES or total > MAX_BYTES:
            raise TooLargeError(f"the package has more than {MAX_FILES} files, or {MAX_BYTES} bytes in them")
        if path in seen:
            raise UsageError(f"malformed package: {path!r} comes twice")
        seen.add(path)
        start += head
        if size > package.size - start:
            raise UsageError(f"malformed package: it ends within {path!r}")
        _write(package, start, size, folder / path[1:])
        start += size
    if not count:
        raise UsageError("malformed package: there is no file in it")
    return count


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
    parts = path.split("/")[1:]
    is_odd = any(character in "\\:\x7f" or character < " " for character in path)
    if is_odd or len(path) > MAX_PATH or any(not part or part in (".", "..") or len(part) > 128 for part in parts):
        raise UsageError(f"malformed package: {path[:80]!r} is not a path that a file of it may have")


def _write(package: Content, start: int, size: int, target: Path) -> None:
    end = start + size
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
            while start < end and (piece := package.read(start, min(PIECE, end - start))):
                file.write(piece)
                start += len(piece)
            file.flush()
            os.fsync(file.fileno())
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise UsageError(f"malformed package: {target.name!r} is a file and a folder at once") from error
    except OSError as error:
        raise StorageError(f"the package cannot be unpacked: {reason(error)}") from error
