"""What a hub keeps on disk and writes to its log."""

import asyncio
import json
import logging
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub_client import mesh
from ztm.errors import CertificateError, ConflictError, StorageError, UsageError
from ztm.hub.config import HubConfig
from ztm.hub.hub import Hub
from ztm.hub.root import issue, issue_once
from ztm.model import Address
from ztm.net.choice import network as chosen_network
from ztm.pki import new_key, parse_permit, public_key

NAMES = (Address("hub.example", 8888),)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_data_directory_and_its_files_are_their_owners_alone(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        await made.agent("bob")
        assert mode(made.data) == 0o700
        assert {mode(path) for path in made.data.rglob("*")} == {0o600}


async def test_the_log_tells_what_happened_and_holds_no_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ztm")
    async with mesh(tmp_path) as made:
        root, bob, key = await made.connect("root"), await made.agent("bob", "bob ep"), new_key()
        await root.ask("POST", "/api/sign/carol", public_key(key).encode())
        await root.ask("POST", "/api/sign/carol", key.encode())
        await (await made.app(bob, bob.id, early=b"hello")).head()
        await root.ask("POST", "/api/evictions/bob?time=1")
        assert await made.is_refused("bob")
        lines = (await root.ask("GET", "/api/log")).json
        text = caplog.text + json.dumps(lines)
        for said in ("started", "bob ep", "evicted", "signed a certificate of user carol"):
            assert said in text
        assert not re.search("PRIVATE|BEGIN", text)
        secrets = [made.authority.key, key, made.credential("bob").key.read_text(), made.hub._tls.key]  # type: ignore[union-attr]
        assert not any(line in text for secret in secrets for line in secret.splitlines()[1:-1])
        assert {"time", "type", "message"} == set(lines[0])
        datetime.fromisoformat(lines[0]["time"])


async def test_log_lines_cannot_be_forged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ztm")
    async with mesh(tmp_path) as made:
        bob = await made.connect("bob")
        await bob.ask("GET", "/api/filesystem/%0aFORGED")
        await bob.open("CONNECT", "/api/endpoints/%0aFORGED?name=%0aFORGED").answer()
        await bob.ask("POST", "/api/sign/bob%0aFORGED", b"x")
        assert "\nFORGED" not in "\n".join(record.getMessage() for record in caplog.records)


async def test_a_hub_without_a_ca_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="--permit"):
        Hub(HubConfig(data=tmp_path / "hub", listen=Address("127.0.0.1", 1), names=NAMES), chosen_network())


async def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        other = tmp_path / "other"
        issue(other, NAMES)
        hub = Hub(HubConfig(data=other, listen=Address("127.0.0.1", made.port), names=NAMES), chosen_network())
        with pytest.raises(ConflictError, match="in use"):
            await hub.start()
        await hub.close()


def test_a_data_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("")
    with pytest.raises(UsageError, match="regular file"):
        issue_once(tmp_path / "hub", NAMES, tmp_path / "root.json")


def test_the_root_permit_is_made_once_and_private(tmp_path: Path) -> None:
    permit = tmp_path / "root.json"
    assert issue_once(tmp_path / "hub", NAMES, permit)
    first = permit.read_text()
    assert mode(permit) == 0o600
    assert parse_permit(first, datetime.now(UTC)).bootstraps == NAMES
    assert not issue_once(tmp_path / "hub", NAMES, permit)
    assert permit.read_text() == first
    permit.unlink()
    assert not issue_once(tmp_path / "hub", NAMES, permit)
    assert not permit.exists()
    assert (
        parse_permit(issue(tmp_path / "hub", NAMES), datetime.now(UTC)).ca == parse_permit(first, datetime.now(UTC)).ca
    )


def test_a_root_permit_that_could_not_be_written_is_made_the_next_time(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        issue_once(tmp_path / "hub", NAMES, tmp_path / "missing" / "root.json")
    assert issue_once(tmp_path / "hub", NAMES, tmp_path / "root.json")


async def test_closing_a_hub_ends_every_connection_and_task_of_it(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        before = asyncio.all_tasks()
        bob, alice = await made.agent("bob"), await made.agent("alice")
        await (await made.app(bob, alice.id, early=b"x")).head()
        poll = bob.outer.request("GET", "/api/filesystem?since=9007199254740991&wait")
        await made.hub.close()
        await asyncio.wait_for(bob.outer.closed.wait(), 2)
        await poll.ended()
        left = {task for task in asyncio.all_tasks() - before if "ztm/" in str(task.get_coro().cr_code.co_filename)}  # type: ignore[union-attr]
        assert not left
        await made.hub.close()
        await made.start()


async def test_addresses_are_told_to_those_who_can_use_them(tmp_path: Path) -> None:
    names = (Address("hub.example", 8888), Address("10.0.0.1", 8888), Address("203.0.113.1", 8888))
    async with mesh(tmp_path, names=names) as made:
        bob = await made.connect("bob")
        own = f"127.0.0.1:{made.port}"
        status = (await bob.ask("GET", "/api/status")).json
        assert status["ports"] == ["hub.example:8888", own]
        listed = (await bob.ask("GET", "/api/zones/default/hubs")).json
        assert {hub: one["ports"] for hub, one in listed.items()} == {status["id"]: ["hub.example:8888", own]}


async def test_p2p_addresses_expire_after_ten_minutes(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob", "bob ep")
        said = {"publicIp": "1.2.3.4", "publicPort": 1, "privateIp": None, "privatePort": None}
        assert (await bob.outer.ask("POST", "/api/p2p/connection-info", said)).status == 201
        asked = await bob.outer.ask("GET", f"/api/p2p/request-connection/{bob.id}")
        assert asked.json == {"id": bob.id, "name": "bob ep", **said}
        made.network.shift = 601
        asked = await bob.outer.ask("GET", f"/api/p2p/request-connection/{bob.id}")
        assert (asked.status, asked.text) == (404, "P2P connection info expired")


async def test_lists_are_filtered_and_paged(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        for number in range(7):
            await made.agent("bob", f"bob {number}")
        alice = await made.agent("alice", "alice 0")

        async def names(query: str) -> list[str]:
            return [one["name"] for one in (await alice.outer.ask("GET", f"/api/endpoints?{query}")).json]

        assert await names("user=bob&limit=2&offset=1") == ["bob 1", "bob 2"]
        assert await names("keyword=0") == ["bob 0", "alice 0"]
        assert await names("name=bob%203") == ["bob 3"]
        assert await names(f"id={alice.id}") == ["alice 0"]
        assert await names("limit=0") == []
        users = {user["name"]: user["endpoints"] for user in (await alice.outer.ask("GET", "/api/users")).json}
        assert (users["bob"]["count"], len(users["bob"]["instances"]), users["alice"]["count"]) == (7, 5, 1)
