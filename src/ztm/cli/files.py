"""Reading what a user names and writing what only that user may read.

Errors name the file as it was typed.
"""

import os
import sys
from pathlib import Path

from ztm.errors import NotFoundError, StorageError

MAX_INPUT = 1 << 20
"""Bytes read from a file or standard input: far more than any key or permit."""


def read_text(name: str) -> str:
    """The text of the file `name`; ``-`` is standard input.

    Raises:
        NotFoundError: it cannot be opened, is too large, or is not UTF-8 text.
    """
    try:
        if name == "-":
            return sys.stdin.read(MAX_INPUT)
        with Path(name).expanduser().open("rb") as file:
            return file.read(MAX_INPUT).decode()
    except OSError as error:
        raise NotFoundError(f"cannot open file: {name} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise NotFoundError(f"cannot read file: {name} is not text") from None


def check_writable(name: str) -> None:
    """Make sure that `write_private` may succeed, before something is done that cannot be undone.

    Raises:
        StorageError: the directory is missing or not writable, or `name` is a directory.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        raise StorageError(f"cannot write to file: {name} (it is a directory)")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StorageError(f"cannot write to file: {name} (its directory is missing or not writable)")


def write_private(path: Path, text: str) -> None:
    """Replace the file at once and whole; its mode is 0600 from the start.

    Raises:
        StorageError: the directory is missing, not writable, or full.
    """
    import tempfile

    target = path.expanduser()
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise StorageError(f"cannot write to file: {path} ({error.strerror})") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise StorageError(f"cannot write to file: {path} ({error.strerror})") from None
