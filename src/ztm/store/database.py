"""One SQLite file: private, durable, migrated in place, with errors that name the file and the reason.

The SQL that goes through here is kept to what PostgreSQL would take too, except in migrations. Knows
nothing of the tables' meaning.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ztm.errors import StorageError
from ztm.store import files

Migration = Sequence[str]
"""The statements that bring a database from one version to the next."""

BUSY_TIMEOUT_MS = 2000
"""How long to wait for another process that holds the file; ours hold it for milliseconds."""

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the file or its file system is read-only",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_IOERR: "the disk reported an error",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
    sqlite3.SQLITE_BUSY: "another process holds it; is a second one running on the same data directory?",
    sqlite3.SQLITE_LOCKED: "another process holds it",
}


class Database:
    """An open database of mode 0600 whose schema is at the latest of `migrations`.

    Opening one that is up to date writes nothing, so that it works on a full disk. Safe to use from any
    thread; a transaction excludes the other threads.

    Raises:
        StorageError: the file cannot be opened or migrated, or is of a newer version of ztm.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        self.path = path
        self._lock = threading.RLock()
        files.create_private(path)
        for suffix in ("-journal", "-wal", "-shm"):
            files.restrict(path.with_name(path.name + suffix))
        with self._told("open"):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._configure()
            self._migrate(migrations)
        except StorageError:
            self._connection.close()
            raise

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a SELECT.

        Raises:
            StorageError: the file cannot be read.
        """
        with self._lock, self._told("read"):
            return self._connection.execute(sql, parameters).fetchall()

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement, and return how many rows it changed.

        On disk when this returns, or with the transaction around it.

        Raises:
            StorageError: nothing was changed; the message says why.
        """
        with self._lock, self._told("write"):
            return self._connection.execute(sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row, all or none.

        Raises:
            StorageError: nothing was changed; the message says why.
        """
        with self.transaction(), self._told("write"):
            self._connection.executemany(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside one change: on disk when the block ends, undone if it raises.

        A transaction inside another one is part of it.

        Raises:
            StorageError: the change could not be written, and was undone.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            with self._told("write"):
                self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                with self._told("write"):
                    self._connection.execute("COMMIT")
            finally:
                self._undo()

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._connection.close()

    def _undo(self) -> None:
        """Roll back unless committed; SQLite may have done so by itself on a full disk."""
        if self._connection.in_transaction:
            with self._told("write"):
                self._connection.execute("ROLLBACK")

    def _configure(self) -> None:
        """EXTRA also syncs the directory after a commit: without that, a power cut may undo the last one."""
        with self._told("open"):
            self._connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            self._connection.execute("PRAGMA journal_mode=DELETE")
            self._connection.execute("PRAGMA synchronous=EXTRA")

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        version = self._version()
        if version > len(migrations):
            raise StorageError(f"{self.path} was written by a newer version of ztm; install that one or newer")
        if version == len(migrations):
            return
        with self.transaction():
            for migration in migrations[self._version() :]:
                for statement in migration:
                    self.execute(statement)
            self.execute(f"PRAGMA user_version={len(migrations)}")

    def _version(self) -> int:
        return int(self.query("PRAGMA user_version")[0][0])

    @contextmanager
    def _told(self, action: str) -> Iterator[None]:
        """Turn SQLite's errors into ours, naming the file, what was tried and why it failed."""
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"cannot {action} {self.path}: {_reason(error)}") from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise StorageError(f"cannot {action} {self.path}: a value does not fit ({error})") from error


def _reason(error: sqlite3.Error) -> str:
    """The low byte of an extended code is the plain one (sqlite.org/rescode.html)."""
    code = getattr(error, "sqlite_errorcode", None)
    return _REASONS.get(code & 0xFF, str(error)) if code is not None else str(error)
