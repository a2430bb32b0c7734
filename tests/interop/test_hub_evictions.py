"""Evictions: at once, by key, lasting, and undone."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hub_client import Agent, Mesh, mesh
from v1_http import Http2
from ztm.errors import StorageError
from ztm.model import Eviction
from ztm.pki import new_key
from ztm.store.hub import HubStore

BEHIND = -30.0
"""The hub's clock against the machine's, so that a certificate signed a second after an eviction is good at once."""


async def evict(root: Http2, user: str, asked: int | None = None, more: str = "") -> int:
    seconds = int(time.time()) if asked is None else asked
    return (await root.ask("POST", f"/api/evictions/{user}?time={seconds}{more}")).status


async def test_it_counts_by_the_hubs_clock_whatever_the_caller_says(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        for user, asked in (("bob", 1), ("alice", 4_000_000_000)):
            assert await evict(root, user, asked) == 201
            stored = (await root.ask("GET", f"/api/evictions/{user}")).json
            assert abs(stored["time"] - made.network.wall()) < 10
            assert stored["expiration"] == stored["time"] + 365 * 86400
            assert await made.is_refused(user)


async def test_a_later_request_of_a_slow_clock_is_newer_all_the_same(tmp_path: Path) -> None:
    async with mesh(tmp_path, shift=BEHIND) as made:
        root = await made.connect("root")
        assert await evict(root, "bob", 1000) == 201
        made.network.shift += 5
        assert await evict(root, "bob", 999) == 200
        assert await evict(root, "bob", 1000) == 200
        first = (await root.ask("GET", "/api/evictions/bob")).json["time"]
        assert await evict(root, "bob", 1001) == 201
        assert (await root.ask("GET", "/api/evictions/bob")).json["time"] > first


async def test_live_streams_and_connections_are_cut_within_a_second(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, bob, alice = await made.connect("root"), await made.agent("bob"), await made.agent("alice")
        carol = await made.agent("carol")
        to_bob, from_bob = await made.app(alice, bob.id), await made.app(bob, alice.id)
        bystander = await made.app(carol, alice.id, early=b"a")
        idle, poll = (
            await made.connect("bob"),
            (await made.connect("bob")).request("GET", "/api/filesystem?since=0&wait"),
        )
        http1 = await made.dial("bob")
        for stream in (to_bob, from_bob, bystander):
            assert (await stream.head()).status == 200
        await idle.ask("GET", "/api/status")
        assert await evict(root, "bob") == 201
        async with asyncio.timeout(1.0):
            await to_bob.ended()
            await from_bob.ended()
            await poll.ended()
            assert await http1.read() == b""
            for connection in (bob.outer, idle, from_bob.connection):
                await connection.closed.wait()
        bystander.write(b"b")
        assert await bystander.exactly(2) == b"ab"
        assert (await root.ask("GET", f"/api/endpoints/{bob.id}")).json["online"] is False


async def test_it_acts_by_key_under_any_name(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, bob = await made.connect("root"), await made.agent("bob")
        other_name = made.issue("robert", made.credential("bob").key.read_text())
        assert not await made.is_refused(other_name)
        live = await made.connect(other_name)
        assert await evict(root, "bob") == 201
        async with asyncio.timeout(1.0):
            await live.closed.wait()
            await bob.outer.closed.wait()
        assert await made.is_refused(other_name)
        assert not await made.is_refused(made.issue("robert", new_key()))


async def test_it_knows_keys_that_were_signed_and_never_seen(tmp_path: Path) -> None:
    async with mesh(tmp_path, shift=BEHIND) as made:
        root, key = await made.connect("root"), new_key()
        known = made.issue("bob", key)
        assert (await root.ask("POST", "/api/sign/bob", known.public)).status == 201
        await made.restart()
        assert await evict(await made.connect("root"), "bob") == 201
        assert await made.is_refused(made.issue("robert", key))


async def test_it_outlives_a_restart(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        await made.agent("bob")
        await evict(await made.connect("root"), "bob")
        await made.restart()
        assert await made.is_refused("bob")
        assert await made.is_refused(made.issue("robert", made.credential("bob").key.read_text()))
        listed = (await (await made.connect("root")).ask("GET", "/api/evictions")).json
        assert [one["username"] for one in listed] == ["bob"]


async def test_it_is_undone_by_a_delete_for_good(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        await evict(root, "bob")
        assert await made.is_refused("bob")
        for _ in range(2):
            assert (await root.ask("DELETE", "/api/evictions/bob")).status == 204
        assert not await made.is_refused("bob")
        assert (await root.ask("GET", "/api/evictions/bob")).status == 404
        await made.restart()
        assert not await made.is_refused("bob")


async def test_an_evicted_user_comes_back_with_a_later_certificate_only(tmp_path: Path) -> None:
    async with mesh(tmp_path, shift=BEHIND) as made:
        root, bob = await made.connect("root"), made.credential("bob")
        await evict(root, "bob")
        again = await root.ask("POST", "/api/sign/bob", bob.public)
        assert again.status == 201
        assert not await made.is_refused(made.keep("bob", again.text, bob.key.read_text()))
        assert await made.is_refused(bob)


async def test_it_ends_when_it_expires(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        assert await evict(root, "bob", more=f"&expiration={int(time.time()) + 100}") == 201
        assert await made.is_refused("bob")
        made.network.shift = 101
        assert not await made.is_refused("bob")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("bob", 400),
        ("bob?time=", 400),
        ("bob?time=soon", 400),
        ("bob?time=nan", 400),
        ("bob?time=1e999", 400),
        ("bob?time=1&expiration=1", 400),
        ("bob?time=1&expiration=x", 400),
        ("root?time=1", 403),
        ("ca?time=1", 400),
        ("hub?time=1", 400),
        ("hub%2Fx?time=1", 400),
        ("a%2Fb?time=1", 400),
    ],
)
async def test_what_cannot_be_evicted_is_refused(target: str, status: int, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        assert (await root.ask("POST", f"/api/evictions/{target}")).status == status
        assert (await root.ask("GET", "/api/evictions")).json == []


async def test_only_root_evicts_and_readmits(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        await evict(await made.connect("root"), "bob")
        alice = await made.connect("alice")
        assert (await alice.ask("POST", "/api/evictions/carol?time=1")).status == 403
        assert (await alice.ask("DELETE", "/api/evictions/bob")).status == 403
        assert await made.is_refused("bob")


# ---------------------------------------------------------------------- a disk that takes nothing

LAST = "z" * 60
"""A user whose eviction sorts last and needs more room than is left."""


@contextmanager
def full_disk(made: Mesh) -> Iterator[None]:
    """Let the hub's database take no eviction more: it may not grow, and what room it had is taken."""
    store = made.hub.state.store
    store.database.execute("PRAGMA max_page_count=1")  # SQLite makes it the present size
    with pytest.raises(StorageError, match="full"):
        store_until_refused(store)
    yield
    store.database.execute("PRAGMA max_page_count=1000000")


def store_until_refused(store: HubStore) -> None:
    for number in range(100_000):
        store.save_eviction(Eviction(f"filler{number:06}", 1, 2))


def is_kept(made: Mesh, user: str) -> bool:
    """Whether the eviction is in the database, read by somebody else."""
    with closing(sqlite3.connect(made.data / "ztm-hub.db")) as database:
        return bool(database.execute("SELECT 1 FROM evictions WHERE username = ?", (user,)).fetchall())


async def test_on_a_full_disk_it_acts_and_says_so_and_is_written_later(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root, bob, alice = await made.connect("root"), await made.agent(LAST), await made.agent("alice")
        with full_disk(made):
            answer = await root.ask("POST", f"/api/evictions/{LAST}?time={int(time.time())}")
            assert answer.status == 507
            assert f"{LAST} is evicted now" in answer.text
            await asyncio.wait_for(bob.outer.closed.wait(), 1.0)
            assert await made.is_refused(LAST)
            made.hub.sweep()
            assert not is_kept(made, LAST)
            assert (await root.ask("GET", "/api/status")).status == 200, "the hub still serves"
            assert (await Agent(made, "alice", "ep", alice.id).connect()).heartbeat.status == 201
        made.hub.sweep()
        assert is_kept(made, LAST)
        await made.restart()
        assert await made.is_refused(LAST)


async def test_on_a_full_disk_an_undone_one_is_undone_and_written_later(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        root = await made.connect("root")
        await evict(root, "bob")
        made.hub.state.store.database.execute("PRAGMA query_only=ON")
        assert (await root.ask("DELETE", "/api/evictions/bob")).status == 507
        assert not await made.is_refused("bob")
        made.hub.state.store.database.execute("PRAGMA query_only=OFF")
        assert is_kept(made, "bob")
        made.hub.sweep()
        assert not is_kept(made, "bob")


async def test_a_hub_starts_without_writing(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        await evict(await made.connect("root"), "bob")
        database = made.data / "ztm-hub.db"
        before = database.stat().st_mtime_ns, database.read_bytes()
        await made.restart()
        assert await made.is_refused("bob")
        assert (database.stat().st_mtime_ns, database.read_bytes()) == before
