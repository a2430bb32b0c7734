"""Promises of `ztm.store.HubStore`: what was saved is there after a restart, v1's data is taken over."""

import sqlite3
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ztm.errors import StorageError, UsageError
from ztm.model import Acl, Eviction, FileInfo, Issued, Origin, Revocation
from ztm.pki import Authority
from ztm.store import HubStore
from ztm.store.schema import HUB_MIGRATIONS

NOW = datetime(2026, 12, 1, tzinfo=UTC)
HUB = "0f8f7c4e-5f0a-4f0e-9c0a-0123456789ab"
AUTHORITY = Authority.create(NOW)


def issued(user: str, key: str, *, begin: int = 1000, end: int = 2000, ends: int | None = None) -> Issued:
    return Issued(
        user=user, key=key, not_before=begin, not_after=end, time=begin, origin=Origin.ROOT, ends=ends, latest=end
    )


Reopen = Callable[[], HubStore]


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Reopen]:
    """Each call closes the store and opens it anew, as a restart does."""
    held: list[HubStore] = []

    def again() -> HubStore:
        while held:
            held.pop().close()
        held.append(HubStore(tmp_path / "data"))
        return held[0]

    yield again
    for store in held:
        store.close()


def test_directory_and_database_are_private(reopen: Reopen) -> None:
    path = reopen().database.path
    assert path.name == "ztm-hub.db"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UsageError, match="regular file"):
        HubStore(tmp_path / "data")


def test_the_authority_lasts(reopen: Reopen) -> None:
    assert reopen().authority() is None
    reopen().save_authority(AUTHORITY)
    assert reopen().authority() == AUTHORITY


def test_half_an_authority_is_an_error_and_not_a_new_mesh(reopen: Reopen) -> None:
    store = reopen()
    store.save_authority(AUTHORITY)
    store.database.execute("DELETE FROM keys WHERE name = 'ca'")
    with pytest.raises(StorageError, match="half"):
        store.authority()


def test_the_hub_id_lasts(reopen: Reopen) -> None:
    hub_id = reopen().hub_id()
    assert reopen().hub_id() == hub_id


def test_the_root_permit_is_remembered_as_issued(reopen: Reopen) -> None:
    assert not reopen().root_issued()
    reopen().mark_root_issued()
    assert reopen().root_issued()


def test_owners_last(reopen: Reopen) -> None:
    reopen().save_owner("e1", "alice", "k1")
    reopen().save_owner("e2", "bob", "k2")
    assert reopen().owners() == {"e1": ("alice", "k1"), "e2": ("bob", "k2")}


def test_the_keys_of_a_user_are_those_issued_and_those_seen(reopen: Reopen) -> None:
    store = reopen()
    store.save_permit(issued("alice", "k2"))
    store.save_permit(issued("alice", "k2"))
    store.save_permit(issued("bob", "k9"))
    store.save_owner("e1", "alice", "k1")
    store.save_owner("e2", "alice", "k2")
    assert reopen().keys_of("alice") == ("k1", "k2")
    assert reopen().keys_of("nobody") == ()


def test_permits_last_and_a_newer_one_for_the_same_key_replaces_the_older(reopen: Reopen) -> None:
    first, newer = issued("bob", "k1"), issued("bob", "k1", begin=1500, end=3000, ends=3000)
    other = issued("alice", "k1")
    for one in (first, other):
        reopen().save_permit(one)
    assert reopen().permits() == [other, first]
    reopen().save_permit(newer)
    assert reopen().permits() == [other, newer]
    reopen().delete_permits([("alice", "k1"), ("nobody", "k1")])
    assert reopen().permits() == [newer]


def test_revocations_last_until_they_are_deleted(reopen: Reopen) -> None:
    reopen().save_revocation(Revocation("k1", 100, 200))
    reopen().save_revocation(Revocation("k2", 1, 2))
    reopen().save_revocation(Revocation("k1", 150, 250))
    assert reopen().revocations() == [Revocation("k1", 150, 250), Revocation("k2", 1, 2)]
    reopen().delete_revocations(["k2", "k3"])
    assert reopen().revocations() == [Revocation("k1", 150, 250)]


def test_what_an_earlier_version_signed_is_listed_as_good_for_a_year(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    with sqlite3.connect(tmp_path / "data" / "ztm-hub.db") as old:
        for statement in HUB_MIGRATIONS[0]:
            old.execute(statement)
        old.execute("INSERT INTO issued VALUES ('bob', 'k1', 1000)")
        old.execute("PRAGMA user_version=1")
    old.close()
    store = HubStore(tmp_path / "data")
    (found,) = store.permits()
    assert (found.user, found.key, found.origin, found.ends) == ("bob", "k1", Origin.UNKNOWN, None)
    assert found.not_after == found.latest == 1000 + 365 * 86400
    assert store.keys_of("bob") == ("k1",)
    store.close()


def test_evictions_last_are_replaced_and_undone(reopen: Reopen) -> None:
    first, second = Eviction("bob", 100, 200, ("k1", "k2")), Eviction("bob", 150, 250, ("k3",))
    other = Eviction("alice", 1, 2)
    reopen().save_eviction(first)
    reopen().save_eviction(other)
    assert reopen().evictions() == [other, first]
    reopen().save_eviction(second)
    assert reopen().evictions() == [other, second]
    reopen().delete_eviction("bob")
    reopen().delete_eviction("nobody")
    assert reopen().evictions() == [other]


def test_file_metadata_lasts_without_sources(reopen: Reopen) -> None:
    files = {"/shared/a/x": FileInfo("h1", 5, 10, 20), "/shared/a/y": FileInfo("h2", -1, 11, 21)}
    reopen().save_files(files)
    assert reopen().files() == files
    changed = FileInfo("h3", 6, 12, 22, sources=("e1",))
    reopen().save_files({"/shared/a/x": changed})
    assert reopen().files()["/shared/a/x"] == FileInfo("h3", 6, 12, 22)


def test_acls_last(reopen: Reopen) -> None:
    acls = [Acl("/apps/a/b/shared/u", "block", {"bob": "readonly"}, 7), Acl("/apps/a/b/shared/u/x", since_ms=8)]
    reopen().save_acls(acls)
    assert reopen().acls() == {acl.path: acl for acl in acls}


def test_a_hub_on_a_full_disk_serves_what_it_has_and_refuses_what_it_cannot_keep(reopen: Reopen) -> None:
    reopen().save_owner("e1", "alice", "k1")
    store = reopen()
    store.database.execute("PRAGMA max_page_count=1")
    with pytest.raises(StorageError, match="full"):
        store.save_files({f"/shared/a/{n}": FileInfo("h" * 64, 1, 1) for n in range(2000)})
    assert store.files() == {}
    assert store.owners() == {"e1": ("alice", "k1")}
    assert reopen().owners() == {"e1": ("alice", "k1")}


def v1_data(directory: Path) -> None:
    """A v1 hub's database, with tables that have no keys, as spec mesh-protocol 19 lists them."""
    directory.mkdir()
    connection = sqlite3.connect(directory / "ztm-hub.db")
    connection.executescript(
        """
        CREATE TABLE hubs (id, zone, info, updated_at);
        CREATE TABLE certificates (name, data);
        CREATE TABLE keys (name, data);
        CREATE TABLE files (path, hash, size, time, since);
        CREATE TABLE acl (path, access, since);
        CREATE TABLE evictions (username, evicted_at, expires_at);
        INSERT INTO files VALUES ('/users/a/x', 'old', 1, 2, 3), ('/users/a/x', 'h', 4, 5.0, NULL);
        INSERT INTO acl VALUES ('/apps/a/b/shared/u', '{"all":null,"users":{"bob":"block"}}', 9);
        INSERT INTO evictions VALUES ('bob', 100, NULL);
        """
    )
    connection.execute("INSERT INTO certificates VALUES ('ca', ?)", (AUTHORITY.certificate,))
    connection.execute("INSERT INTO keys VALUES ('ca', ?)", (AUTHORITY.key.encode(),))
    connection.execute("INSERT INTO keys VALUES (?, 'public key')", (f"hub/{HUB}",))
    connection.commit()
    connection.close()


def test_a_v1_data_directory_is_taken_over(tmp_path: Path, reopen: Reopen) -> None:
    v1_data(tmp_path / "data")
    store = reopen()
    assert store.authority() == AUTHORITY
    assert store.hub_id() == HUB
    assert store.files() == {"/users/a/x": FileInfo("h", 4, 5, 0)}
    assert store.acls() == {"/apps/a/b/shared/u": Acl("/apps/a/b/shared/u", "", {"bob": "block"}, 9)}
    assert store.evictions() == [Eviction("bob", 100, 100 + 31536000)]
    store.save_files({"/users/a/x": FileInfo("new", 1, 6, 7)})
    store.save_eviction(Eviction("bob", 300, 400, ("k",)))
    assert reopen().files() == {"/users/a/x": FileInfo("new", 1, 6, 7)}
    assert reopen().evictions() == [Eviction("bob", 300, 400, ("k",))]


def test_v1_finds_its_own_columns_unchanged_after_us(tmp_path: Path, reopen: Reopen) -> None:
    v1_data(tmp_path / "data")
    columns = [row[1] for row in reopen().database.query("PRAGMA table_info(evictions)")]
    assert columns == ["username", "evicted_at", "expires_at"]
