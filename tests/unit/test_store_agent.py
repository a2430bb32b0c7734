"""Promises of `ztm.store.AgentStore`: what was saved is there after a restart, v1's data is taken over."""

import json
import sqlite3
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ztm import pki
from ztm.errors import CertificateError, StorageError
from ztm.model import Address, HubInfo, Version
from ztm.store import AgentStore, AppRow, MeshRow

NOW = datetime(2026, 12, 1, tzinfo=UTC)
KEY = pki.new_key()
MESH = MeshRow(
    name="m",
    ca="CA",
    endpoint_id="0f8f7c4e-5f0a-4f0e-9c0a-0123456789ab",
    endpoint_name="home é",
    certificate="CERT",
    key="KEY",
    labels=("a", "b"),
    offline=True,
    bootstraps=(Address("10.0.0.1", 8888), Address("::1", 1)),
)

Reopen = Callable[[], AgentStore]


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Reopen]:
    """Each call closes the store and opens it anew, as a restart does."""
    held: list[AgentStore] = []

    def again() -> AgentStore:
        while held:
            held.pop().close()
        held.append(AgentStore(tmp_path / "data"))
        return held[0]

    yield again
    for store in held:
        store.close()


def test_directory_and_database_are_private(reopen: Reopen) -> None:
    path = reopen().database.path
    assert path.name == "ztm.db"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_identity_is_made_once_and_lasts(reopen: Reopen) -> None:
    key = reopen().identity_key()
    assert pki.check_private_key(key) == key
    assert reopen().identity_key() == key


def test_the_identity_can_be_replaced_by_a_good_key_only(reopen: Reopen) -> None:
    reopen().replace_identity(KEY)
    with pytest.raises(CertificateError):
        reopen().replace_identity("garbage")
    assert reopen().identity_key() == KEY


def test_meshes_last_are_replaced_and_forgotten(reopen: Reopen) -> None:
    plain = MeshRow("n", "CA", "id", "ep", "CERT")
    reopen().save_mesh(MESH)
    reopen().save_mesh(plain)
    assert reopen().meshes() == {"m": MESH, "n": plain}
    erased = MeshRow("m", "CA", MESH.endpoint_id, "x", "")
    reopen().save_mesh(erased)
    assert reopen().meshes()["m"] == erased
    reopen().delete_mesh("m")
    assert reopen().meshes() == {"n": plain}


def test_a_mesh_is_stored_as_v1_would_find_it(reopen: Reopen) -> None:
    store = reopen()
    store.save_mesh(MESH)
    [(ca, agent, bootstraps)] = store.database.query("SELECT ca, agent, bootstraps FROM meshes WHERE name = 'm'")
    assert ca == "CA"
    assert bootstraps == "10.0.0.1:8888,[::1]:1"
    assert json.loads(agent) == {
        "id": MESH.endpoint_id,
        "name": "home é",
        "certificate": "CERT",
        "privateKey": "KEY",
        "labels": ["a", "b"],
        "offline": True,
    }


def test_a_mesh_never_shows_its_key() -> None:
    assert "KEY" not in repr(MESH)


def test_leaving_a_mesh_takes_its_belongings_and_no_others(reopen: Reopen) -> None:
    store = reopen()
    hub = HubInfo("h", (Address("a", 1),))
    for mesh in ("m", "n"):
        store.save_hubs(mesh, {"h": hub}, NOW)
        store.save_app_state(mesh, "ztm", "tunnel", "", "root", "running")
        store.write_file(mesh, "ztm", "tunnel", "config.json", b"{}")
    store.delete_mesh("m")
    assert (store.hubs("m"), store.apps("m"), store.list_files("m", "ztm", "tunnel")) == ({}, (), ())
    assert store.hubs("n") == {"h": hub}
    assert len(store.apps("n")) == 1
    assert store.list_files("n", "ztm", "tunnel") == ("config.json",)


def test_hubs_are_kept_by_mesh_and_dropped_when_long_silent(reopen: Reopen) -> None:
    old = HubInfo("old", (Address("10.0.0.1", 8888),), "default", Version("e", "t", "c", "d"))
    new = HubInfo("new", (Address("::1", 2), Address("hub.example", 3)), "west")
    reopen().save_hubs("m", {"old": old}, NOW)
    reopen().save_hubs("m", {"new": new}, NOW + timedelta(days=30))
    assert reopen().hubs("m") == {"new": new, "old": old}
    reopen().save_hubs("m", {"new": new}, NOW + timedelta(days=30, seconds=1))
    assert reopen().hubs("m") == {"new": new}
    assert reopen().hubs("other") == {}


def test_app_states_last(reopen: Reopen) -> None:
    reopen().save_app_state("m", "ztm", "tunnel", "", "root", "running")
    reopen().save_app_state("m", "ztm", "tunnel", "", "bob", "stopped")
    reopen().save_app_state("m", "ztm", "proxy", "v2", "root", "disabled")
    assert reopen().apps("m") == (
        AppRow("ztm", "proxy", "v2", "root", "disabled"),
        AppRow("ztm", "tunnel", "", "bob", "stopped"),
    )


def test_apps_local_files_last(reopen: Reopen) -> None:
    reopen().write_file("m", "ztm", "tunnel", "config.json", b"\x00\xff")
    reopen().write_file("m", "ztm", "tunnel", "config.json", b"")
    reopen().write_file("m", "ztm", "tunnel", "a", b"1")
    store = reopen()
    assert store.read_file("m", "ztm", "tunnel", "config.json") == b""
    assert store.read_file("m", "ztm", "tunnel", "none") is None
    assert store.list_files("m", "ztm", "tunnel") == ("a", "config.json")
    assert store.delete_file("m", "ztm", "tunnel", "a")
    assert not store.delete_file("m", "ztm", "tunnel", "a")
    assert reopen().list_files("m", "ztm", "tunnel") == ("config.json",)


def test_a_damaged_mesh_is_named(reopen: Reopen) -> None:
    store = reopen()
    store.save_mesh(MESH)
    for broken in ("{", "[]", "null", "{}", '{"id":"x","labels":3}'):
        store.database.execute("UPDATE meshes SET agent = ?", (broken,))
        with pytest.raises(StorageError, match="the mesh 'm'"):
            store.meshes()


def test_a_v1_data_directory_is_taken_over(tmp_path: Path, reopen: Reopen) -> None:
    (tmp_path / "data").mkdir()
    connection = sqlite3.connect(tmp_path / "data" / "ztm.db")
    connection.executescript(
        """
        CREATE TABLE hubs (id PRIMARY KEY, zone, info, updated_at);
        CREATE TABLE meshes (name PRIMARY KEY, ca, agent, bootstraps);
        CREATE TABLE apps (mesh, name, tag, provider, username, state);
        CREATE TABLE files (mesh, provider, app, path, data);
        CREATE TABLE keys (name, data);
        INSERT INTO hubs VALUES ('h', 'default', '{"ports":["a:1"]}', 1);
        INSERT INTO meshes VALUES ('m', 'CA', '{"id":"x","name":"home","certificate":"C","offline":false}', 'a:1,b:2');
        INSERT INTO apps VALUES ('m', 'tunnel', NULL, 'ztm', 'root', 'running');
        INSERT INTO files VALUES ('m', 'ztm', 'tunnel', 'config.json', '{}');
        """
    )
    connection.execute("INSERT INTO keys VALUES ('agent', ?)", (KEY,))
    connection.commit()
    connection.close()
    store = reopen()
    assert store.identity_key() == KEY
    bootstraps = (Address("a", 1), Address("b", 2))
    assert store.meshes() == {"m": MeshRow("m", "CA", "x", "home", "C", bootstraps=bootstraps)}
    assert store.read_file("m", "ztm", "tunnel", "config.json") == b"{}"
    store.save_app_state("m", "ztm", "tunnel", "", "root", "stopped")
    assert reopen().apps("m") == (AppRow("ztm", "tunnel", "", "root", "stopped"),)
    assert reopen().hubs("m") == {}
