"""Directories and files that only their owner may read, and files that are replaced whole or not at all.

Never widens a mode, and never leaves a half-written file under its final name.
"""

import errno
import os
import secrets
import stat
from pathlib import Path

from ztm.errors import StorageError, UsageError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "no such directory",
}


def secure_directory(path: Path) -> None:
    """Make sure that `path` is a directory of mode 0700, creating it and its parents if missing.

    A directory that others need as well (one with the sticky bit such as ``/tmp``, or ``/``) is refused
    rather than closed to them.

    Raises:
        UsageError: the path, or a part of it, is a regular file, or the directory is a shared one.
        StorageError: the system did not allow it; the message says why.
    """
    try:
        for parent in reversed([one for one in path.parents if not one.exists()]):
            parent.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would leave them open to others
        path.mkdir(mode=0o700, exist_ok=True)
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) == 0o700:
            return
        if mode & stat.S_ISVTX or path.resolve().parent == path.resolve():
            raise UsageError(f"{path} is shared with the whole system; name a directory of its own inside it")
        path.chmod(0o700)
    except FileExistsError:
        raise UsageError(f"directory path already exists as a regular file: {path}") from None
    except NotADirectoryError:
        raise UsageError(f"cannot create directory {path}: a part of the path is a regular file") from None
    except OSError as error:
        raise StorageError(f"cannot use directory {path}: {reason(error)}") from error


def write_private(path: Path, content: str | bytes) -> None:
    """Replace `path` by a file of mode 0600 with this content (text as UTF-8), on disk when the call returns.

    A symbolic link is followed; whatever else is not a regular file is refused.

    Raises:
        UsageError: `path` is a directory, a device or a pipe.
        StorageError: nothing was written, and an older file is unchanged; the message says why.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise UsageError(f"cannot write {path}: it exists and is not a regular file")
        _replace(target, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {reason(error)}") from error


def create_private(path: Path) -> None:
    """Make sure that `path` is a file of mode 0600, created empty if missing; its content is left alone.

    Raises:
        StorageError: the system did not allow it; the message says why.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StorageError(f"cannot create {path}: {reason(error)}") from error
    restrict(path)


def restrict(path: Path) -> None:
    """Give `path` mode 0600 if it exists with a wider one.

    Raises:
        StorageError: the system did not allow it.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            path.chmod(0o600)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot make {path} private: {reason(error)}") from error


def reason(error: OSError) -> str:
    """Why the system refused, in words for people."""
    return _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__


def _replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
