"""Contents on their way between the agent and this machine's files: whole, or not at all.

Nothing is held whole, and a file that is written has its name only once all of it is on disk.
"""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ztm.errors import NotFoundError, StorageError

PIECE = 256 << 10
"""Bytes moved at once."""


@contextmanager
def source(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file `name` for reading, and its size; ``-`` is standard input, whose size nobody knows.

    Raises:
        NotFoundError: it cannot be opened, or is a directory.
    """
    if name == "-":
        if sys.stdin is None:
            raise NotFoundError("cannot read standard input: it is closed")
        yield sys.stdin.buffer, None
        return
    try:
        file = Path(name).expanduser().open("rb")
    except OSError as error:
        raise NotFoundError(f"cannot open file: {name} ({error.strerror})") from None
    with file:
        found = os.fstat(file.fileno())
        yield file, found.st_size if stat.S_ISREG(found.st_mode) else None


def pieces(file: BinaryIO, size: int | None, name: str) -> Iterator[bytes]:
    """All of `file`, piece by piece; just `size` bytes where that is known.

    Raises:
        StorageError: it cannot be read, or has become shorter meanwhile.
    """
    left = size
    while left is None or left > 0:
        try:
            piece = file.read(PIECE if left is None else min(PIECE, left))
        except OSError as error:
            raise StorageError(f"cannot read file: {name} ({error.strerror})") from None
        if not piece:
            if left is None:
                return
            raise StorageError(f"cannot read file: {name} (it has become shorter)")
        left = None if left is None else left - len(piece)
        yield piece


@contextmanager
def target(name: str) -> Iterator[BinaryIO]:
    """Where to write what is to become the file `name`, once the body of this ``with`` has ended well.

    It gets the mode of the file that it replaces, or the one of any new file of this user. What is not a regular file,
    such as ``/dev/null``, is written to directly; ``-`` is standard output.

    Raises:
        StorageError: the directory is missing, not writable or full, or `name` is a directory.
    """
    path = Path(os.path.realpath(Path(name).expanduser()))
    try:
        if name == "-":
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as file:
                yield file
        else:
            with _replacing(path) as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write to file: {name} ({error.strerror})") from None


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    import tempfile

    if path.is_dir():
        raise StorageError(f"cannot write to file: {path} (it is a directory)")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, _mode(path))
            yield file
            file.flush()
            os.fsync(handle)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int:
    """The mode of the file at `path`, or else of a new one."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask
