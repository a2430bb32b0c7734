"""The hub's merge rule for file metadata, and what each user is shown."""

import pytest

from recorded import load
from ztm.core.files import FileHash, FileTable, deleted_hash, file_hash, mesh_path
from ztm.errors import LimitError, UsageError
from ztm.model import Acl, FileInfo
from ztm.wire import codec

A = "/shared/bob/a"


def info(digest="h1", time_ms=10, size=1):
    return FileInfo(digest, size, time_ms)


def everyone_online(endpoint_id):
    return True


def sources(table, path, user="bob", online=everyone_online):
    found = table.lookup(path, user, {}, online)
    return found and found.sources


def test_hashes_are_those_of_the_specification():
    assert (
        file_hash(b"hello world", "/users/root/x y.txt")
        == "88c82b81fe21206e2687a4f7a9ae451e9b347a8fbbe0fa99f69df6d5f2840938"
    )
    assert file_hash(b"", "/users/root/empty") == "63ad36b1a595df08b3143bc387e857aced632678136759e4517219550a3a4a2f"
    assert load("agent-06").path.endswith(file_hash(b"hello", "/users/root/a.txt"))
    assert deleted_hash("/a") != file_hash(b"", "/a")


def test_a_recorded_advertisement_gives_the_recorded_lists():
    table = FileTable()
    offered = codec.decode_files(load("hub-22").request_body)
    table.advertise("56f6e5f7-a8b2-4363-b9d2-1623b24920d9", "bob", offered, 1795431879233, {})
    assert table.listing("bob", {}).keys() == codec.decode_files(load("hub-23").response_body).keys()
    assert table.listing("root", {}).keys() == codec.decode_files(load("hub-24").response_body).keys()
    changes = table.listing("bob", {}, since_ms=1795431878233)
    assert changes.keys() == codec.decode_files(load("hub-25").response_body).keys()
    found = table.lookup("/shared/bob/a.txt", "root", {}, everyone_online)
    assert found == codec.decode_file(load("hub-26").response_body)
    assert table.lookup("/users/bob/p.txt", "root", {}, everyone_online) is None
    assert table.lookup("/shared/bob/del", "bob", {}, everyone_online) is None


def test_only_the_owner_creates_and_changes():
    table = FileTable()
    assert table.advertise("e2", "alice", {A: info()}, 100, {}) == {}
    assert table.advertise("e1", "bob", {A: info()}, 100, {}) == {A: FileInfo("h1", 1, 10, 100)}
    assert table.advertise("e2", "alice", {A: info("h2", 99)}, 101, {}) == {}
    assert sources(table, A) == ("e1",)


def test_others_with_the_same_content_become_sources_and_change_nothing():
    table = FileTable()
    table.advertise("e1", "bob", {A: info()}, 100, {})
    assert table.advertise("e2", "alice", {A: info(time_ms=99)}, 200, {}) == {}
    assert sources(table, A) == ("e1", "e2")
    assert sources(table, A, online=lambda endpoint_id: endpoint_id == "e2") == ("e2",)
    assert table.newest_since_ms == 100


def test_later_content_of_the_owner_replaces_and_starts_its_sources_anew():
    table = FileTable()
    table.advertise("e1", "bob", {A: info()}, 100, {})
    assert table.advertise("e3", "bob", {A: info("h2", 10)}, 150, {}) == {}, "not later"
    assert table.advertise("e3", "bob", {A: info("h2", 11, 5)}, 200, {}) == {A: FileInfo("h2", 5, 11, 200)}
    assert sources(table, A) == ("e3",)
    assert table.advertise("e1", "bob", {A: info()}, 300, {}) == {}


def test_the_same_content_touched_later_by_the_owner_is_news():
    table = FileTable()
    table.advertise("e1", "bob", {A: info()}, 100, {})
    assert table.advertise("e1", "bob", {A: info(time_ms=11)}, 200, {}) == {A: FileInfo("h1", 1, 11, 200)}


def test_since_grows_when_the_clock_stands_or_goes_back():
    table = FileTable()
    for at, path in enumerate(("/shared/bob/1", "/shared/bob/2", "/shared/bob/3")):
        table.advertise("e1", "bob", {path: info()}, 100 - at, {})
    assert table.newest_since_ms == 102
    assert list(table.listing("bob", {}, since_ms=101)) == ["/shared/bob/3"]


def test_a_deletion_hides_the_file_and_is_seen_as_a_change():
    table = FileTable()
    table.advertise("e1", "bob", {A: info()}, 100, {})
    table.advertise("e1", "bob", {A: FileInfo(deleted_hash(A), -1, 11)}, 200, {})
    assert table.listing("bob", {}) == {}
    assert table.listing("alice", {}, since_ms=100)[A].is_deleted
    assert sources(table, A) is None


def test_acls_hide_files_from_lists_lookups_and_sources():
    path = "/apps/p/a/shared/bob/x"
    acls = {path: Acl(path, "block", {}, 1)}
    table = FileTable()
    table.advertise("e1", "bob", {path: info()}, 100, acls)
    assert table.listing("alice", acls) == {}
    assert table.listing("alice", acls, since_ms=0) == {}
    assert table.lookup(path, "alice", acls, everyone_online) is None
    table.advertise("e2", "alice", {path: info()}, 100, acls)
    assert sources(table, path) == ("e1",)


@pytest.mark.parametrize("path", ["/shared/bob/../eve/x", "/other", "/shared/bob/a\n", "/shared/bob//x", "/users/bob"])
def test_malformed_and_foreign_paths_are_ignored(path):
    table = FileTable()
    assert table.advertise("e1", "bob", {path: info(), A: info()}, 100, {}).keys() == {A}


def test_a_user_has_a_bounded_number_of_files_and_a_refusal_changes_nothing():
    table = FileTable({A: info()}, max_files=2)
    with pytest.raises(LimitError, match="bob"):
        table.advertise("e1", "bob", {A: info("h2", 99), f"{A}1": info(), f"{A}2": info()}, 100, {})
    assert table.listing("bob", {}).keys() == {A}
    assert table.listing("bob", {})[A].hash == "h1"
    table.advertise("e1", "bob", {f"{A}1": info()}, 100, {})
    with pytest.raises(LimitError):
        table.advertise("e1", "bob", {f"{A}2": info()}, 100, {})
    table.advertise("e1", "bob", {A: info("h2", 99)}, 100, {})
    table.advertise("e2", "alice", {"/shared/alice/a": info()}, 100, {})


def test_stored_rows_come_back_without_sources_and_time_goes_on_from_them():
    table = FileTable({A: FileInfo("h1", 1, 10, 500), f"{A}0": FileInfo("h0", 1, 10, 400, ("e9",))})
    assert table.newest_since_ms == 500
    assert sources(table, f"{A}0") == ()
    assert list(table.listing("bob", {}, since_ms=400)) == [A]
    table.advertise("e1", "bob", {f"{A}1": info()}, 100, {})
    assert table.newest_since_ms == 501


def test_an_endpoint_that_is_gone_is_no_source():
    table = FileTable()
    table.advertise("e1", "bob", {A: info(), f"{A}1": info()}, 100, {})
    table.advertise("e2", "alice", {A: info()}, 100, {})
    table.drop_source("e1")
    table.drop_source("e1")
    assert sources(table, A) == ("e2",)
    assert sources(table, f"{A}1") == ()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("shared/root/x", "/shared/root/x"),
        ("/shared/root/x/", "/shared/root/x"),
        ("//shared/./root//a/../x", "/shared/root/x"),
        ("/../../shared/root/x", "/shared/root/x"),
        ("/a/..b/...", "/a/..b/..."),
    ],
)
def test_a_path_as_people_write_it_is_normalised(text, path):
    assert mesh_path(text) == path


@pytest.mark.parametrize("text", ["", "/", "..", "/a/..", "/a\x00", "/a\nb", "/" + "x" * 2000])
def test_what_names_no_file_is_refused(text):
    with pytest.raises(UsageError):
        mesh_path(text)


def test_a_hash_made_piece_by_piece_is_that_of_the_whole():
    hashed = FileHash("/users/root/x y.txt")
    for piece in (b"hello", b"", b" world"):
        hashed.update(piece)
    assert hashed.hexdigest() == file_hash(b"hello world", "/users/root/x y.txt")
    assert (hashed.size, hashed.hexdigest()) == (11, hashed.hexdigest())
