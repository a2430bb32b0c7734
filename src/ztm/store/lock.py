"""One process at a time for a data directory, so that two agents or hubs never share one database and token.

The lock ends with the process, however it ends; nothing stale is left. Programs that only read, or that issue a
permit beside a running hub, need not take it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ztm.errors import ConflictError, StorageError
from ztm.store.files import create_private, reason, secure_directory


@contextmanager
def sole_use(data: Path, who: str) -> Iterator[None]:
    """Hold `data`, made with mode 0700 if missing, for one process that calls itself `who` (a file name).

    Where the system has no such locks nothing is held.

    Raises:
        ConflictError: another process holds it.
        UsageError: the path is a file, or a directory shared with others.
        StorageError: the lock file cannot be made, or not locked.
    """
    secure_directory(data)
    path = data / f"{who}.lock"
    create_private(path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"cannot open {path}: {reason(error)}") from error
    try:
        _lock(descriptor, data, who)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, data: Path, who: str) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConflictError(
            f"another {who} is using the data directory {data}: stop it first, or give this one its own with --data"
        ) from None
    except OSError as error:
        raise StorageError(f"cannot lock {data}: {reason(error)}") from error
