"""Writing what service managers read, and handing directories to the user that a service runs as.

It never follows a symbolic link when it changes an owner.
"""

import os
from pathlib import Path

from ztm.errors import StorageError

READABLE = 0o644
"""Units hold no secret, and managers' tools show them to everybody."""


def write_public(path: Path, content: bytes) -> bool:
    """Make `path` a file with this content that all may read; False if it was that already.

    Raises:
        StorageError: it cannot be written, and an older file is unchanged.
    """
    import tempfile

    try:
        if path.is_file() and path.read_bytes() == content:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(READABLE)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
    return True


def open_way(directory: Path) -> None:
    """Make the directories above `directory` that are missing; all may pass through them.

    Raises:
        StorageError: the system does not allow it.
    """
    try:
        for parent in reversed([one for one in directory.parents if not one.exists()]):
            parent.mkdir()
            parent.chmod(0o755)
    except OSError as error:
        raise StorageError(f"cannot make {directory.parent}: {error.strerror}") from None


def hand_over(directory: Path, user: int, group: int) -> None:
    """Make the directory if it is missing, and give it and what root made in it to a user.

    Raises:
        StorageError: the system does not allow it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _, directories, files, at in os.fwalk(directory, follow_symlinks=False):
            for name in (".", *directories, *files):
                if os.stat(name, dir_fd=at, follow_symlinks=False).st_uid == 0:
                    os.chown(name, user, group, dir_fd=at, follow_symlinks=False)
    except OSError as error:
        raise StorageError(f"cannot hand {directory} over: {error.strerror}") from None
