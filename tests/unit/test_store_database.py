"""Promises of `ztm.store.Database`: private, durable or refused with the reason, migrated once."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ztm.errors import StorageError
from ztm.store import Database

MIGRATIONS = [["CREATE TABLE t (name TEXT PRIMARY KEY, data BLOB)"]]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "test.db", MIGRATIONS)
    yield made
    made.close()


def fill(database: Database) -> None:
    """Let the disk be full as SQLite sees it: the file may not grow any more."""
    database.execute("PRAGMA max_page_count=1")


def insert(database: Database, name: str, size: int = 1) -> None:
    database.execute("INSERT INTO t (name, data) VALUES (?, ?)", (name, bytes(size)))


def names(database: Database) -> list[str]:
    return [name for (name,) in database.query("SELECT name FROM t ORDER BY name")]


def test_the_file_and_its_journal_are_private_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        database = Database(tmp_path / "new.db", MIGRATIONS)
        with database.transaction():
            insert(database, "a")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(umask)
    assert modes == {"new.db": 0o600, "new.db-journal": 0o600}


def test_an_open_file_of_an_older_installation_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    sqlite3.connect(path).close()
    path.touch()
    path.chmod(0o644)
    Database(path, MIGRATIONS).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_written_is_there_after_reopening(tmp_path: Path, database: Database) -> None:
    insert(database, "a")
    database.close()
    again = Database(tmp_path / "test.db", MIGRATIONS)
    assert names(again) == ["a"]
    again.close()


def test_opening_an_up_to_date_database_writes_nothing(tmp_path: Path, database: Database) -> None:
    insert(database, "a")
    database.close()
    path = tmp_path / "test.db"
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    again = Database(path, MIGRATIONS)
    assert names(again) == ["a"]
    again.close()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_on_a_full_disk_writing_is_refused_and_reading_goes_on(database: Database) -> None:
    insert(database, "a")
    fill(database)
    with pytest.raises(StorageError, match=f"cannot write {database.path}: the disk is full"):
        insert(database, "b", 100_000)
    assert names(database) == ["a"]
    database.execute("PRAGMA max_page_count=100000")
    insert(database, "b", 100_000)
    assert names(database) == ["a", "b"]


def test_a_transaction_that_meets_a_full_disk_is_undone_whole(database: Database) -> None:
    fill(database)

    def both() -> None:
        with database.transaction():
            insert(database, "small")
            insert(database, "large", 100_000)

    with pytest.raises(StorageError, match="full"):
        both()
    assert names(database) == []


def test_a_transaction_is_undone_by_any_error_and_the_next_one_works(database: Database) -> None:
    def broken() -> None:
        with database.transaction():
            insert(database, "a")
            with database.transaction():
                insert(database, "b")
            raise ValueError

    with pytest.raises(ValueError):
        broken()
    assert names(database) == []
    with database.transaction():
        insert(database, "c")
    assert names(database) == ["c"]


def test_many_rows_are_written_all_or_none(database: Database) -> None:
    with pytest.raises(StorageError):
        database.execute_many("INSERT INTO t (name) VALUES (?)", [("a",), ("b",), ("a",)])
    assert names(database) == []


def test_values_that_sqlite_cannot_hold_are_refused_by_our_error(database: Database) -> None:
    for value in ("\ud800", 10**30):
        with pytest.raises(StorageError, match="does not fit"):
            database.execute("INSERT INTO t (name) VALUES (?)", (value,))


def test_transactions_of_other_threads_wait(database: Database) -> None:
    thread = threading.Thread(target=insert, args=(database, "other"))
    with database.transaction():
        thread.start()
        insert(database, "own")
        assert names(database) == ["own"]
    thread.join()
    assert names(database) == ["other", "own"]


def test_migrations_run_once_and_in_order(tmp_path: Path, database: Database) -> None:
    insert(database, "a")
    database.close()
    later = [*MIGRATIONS, ["ALTER TABLE t ADD COLUMN more TEXT", "UPDATE t SET more = 'x'"]]
    for _ in range(2):
        again = Database(tmp_path / "test.db", later)
        assert again.query("SELECT name, more FROM t") == [("a", "x")]
        again.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path, database: Database) -> None:
    database.close()
    with pytest.raises(StorageError):
        Database(tmp_path / "test.db", [*MIGRATIONS, ["CREATE TABLE u (x TEXT)", "nonsense"]])
    again = Database(tmp_path / "test.db", MIGRATIONS)
    assert again.query("SELECT name FROM sqlite_master WHERE name = 'u'") == []
    again.close()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path, database: Database) -> None:
    database.close()
    with pytest.raises(StorageError, match="newer version of ztm"):
        Database(tmp_path / "test.db", [])


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "junk.db"
    path.write_text("this is not a database, " * 100)
    with pytest.raises(StorageError, match=f"{path}: the file is not a database"):
        Database(path, MIGRATIONS)
    assert path.read_text().startswith("this is not")


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such directory"):
        Database(tmp_path / "none" / "x.db", MIGRATIONS)
