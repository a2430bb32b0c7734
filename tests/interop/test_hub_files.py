"""File metadata, ACLs and file contents through a hub."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hub_client import Mesh, mesh
from v1_http import PATIENCE

MINE = "/shared/bob/a"


async def test_a_long_poll_over_http1_that_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        polls = [await made.dial("bob") for _ in range(3)]
        for wire in polls:
            wire.write(b"GET /api/filesystem?since=9007199254740991&wait HTTP/1.1\r\n\r\n")
            assert (await (await made.dial("bob")).probe("GET", "/api/zones")).status == 200
            await wire.close()
        bob = await made.connect("bob")
        async with asyncio.timeout(PATIENCE):
            while len(made.hub.state.links) > 4:
                await bob.ask("GET", "/api/zones")


async def test_what_the_disk_refused_is_not_acknowledged_and_is_written_later(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob")
        database, files = made.hub.state.store.database, {MINE: {"T": 5, "#": "h1", "$": 5}}
        database.execute("PRAGMA query_only=ON")
        assert (await bob.outer.ask("POST", "/api/filesystem", files)).status == 507
        assert (await bob.outer.ask("POST", "/api/filesystem", files)).status == 507, "asking again is no success"
        assert (await bob.outer.ask("POST", "/api/acl", {"/apps/a/b/shared/bob": {"all": "block"}})).status == 507
        database.execute("PRAGMA query_only=OFF")
        assert (await bob.outer.ask("POST", "/api/filesystem", files)).status == 201
        await made.restart()
        listed = await (await made.connect("alice")).ask("GET", "/api/filesystem")
        assert listed.json == {MINE: {"#": "h1", "$": 5, "T": 5}}


async def test_metadata_acls_and_owners_are_unchanged_after_a_restart(tmp_path: Path) -> None:
    app = "/apps/ztm/tunnel/shared/bob/t"
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob")
        files = {
            MINE: {"T": 5, "#": "h1", "$": 5},
            app: {"T": 6, "#": "h2", "$": 1},
            "/shared/bob/x": {"T": 7, "#": "d", "$": -1},
        }
        await bob.outer.ask("POST", "/api/filesystem", files)
        await bob.outer.ask("POST", "/api/acl", {app: {"all": "block", "users": {"root": "readonly"}, "since": 9}})
        status = (await bob.outer.ask("GET", "/api/status")).json["id"]
        seen = await asyncio.gather(*(look(made, user) for user in ("alice", "root", "bob")))
        assert app not in seen[0][0]
        assert app in seen[1][0]
        await made.restart()
        assert await asyncio.gather(*(look(made, user) for user in ("alice", "root", "bob"))) == seen
        assert (await (await made.connect("bob")).ask("GET", "/api/status")).json["id"] == status
        with pytest.raises(PermissionError):
            await made.agent("alice", endpoint=bob.id)


async def look(made: Mesh, user: str) -> tuple[Any, Any, int]:
    asking = await made.connect(user)
    listed = (await asking.ask("GET", "/api/filesystem")).json
    changes = (await asking.ask("GET", "/api/filesystem?since=0")).json
    return listed, changes, (await asking.ask("GET", "/api/acl/apps/ztm/tunnel/shared/bob/t")).status


async def test_contents_are_passed_on_to_those_who_may_see_the_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob")
        bob.files.update({"h1": content, "h2": b"secret", "h3": b""})
        files = {MINE: "h1", "/users/bob/p": "h2", "/shared/bob/empty": "h3"}
        await bob.outer.ask(
            "POST", "/api/filesystem", {path: {"T": 1, "#": sha, "$": 1} for path, sha in files.items()}
        )
        alice = await made.connect("alice")
        found = await alice.ask("GET", f"/api/endpoints/{bob.id}/file-data/h1")
        assert (found.status, found.kind) == (200, "application/octet-stream")
        assert found.body == content
        assert ("passive", "GET", "/api/file-data/h1?username=alice") in bob.asked, "the endpoint learns who asks"
        wire = await made.dial("alice")
        assert (await wire.probe("GET", f"/api/endpoints/{bob.id}/file-data/h1")).body == content
        assert (await wire.probe("GET", f"/api/endpoints/{bob.id}/file-data/h3")).body == b""
        for sha in ("h2", "h9"):
            assert (await wire.probe("GET", f"/api/endpoints/{bob.id}/file-data/{sha}")).status == 404
        own = await made.connect("bob")
        assert (await own.ask("GET", f"/api/endpoints/{bob.id}/file-data/h2")).body == b"secret"


async def test_a_content_nobody_takes_is_not_gathered_in_the_hub(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob")
        bob.files["h1"] = b"x" * (20 << 20)
        bob.offers_passive = False  # so that it goes by the control session
        await bob.outer.ask("POST", "/api/filesystem", {MINE: {"T": 1, "#": "h1", "$": 1}})
        alice = await made.connect("alice")
        slow = alice.open("GET", f"/api/endpoints/{bob.id}/file-data/h1")
        slow.refills = False
        slow.end()
        assert len(await slow.exactly(1 << 20)) == 1 << 20
        assert (await bob.outer.ask("GET", f"/api/forward/{bob.id}/log")).status == 200, "the session is not stuck"
        sending = next(stream for stream in bob.nested.streams.values() if "file-data" in stream.request[":path"])
        assert sending.unsent > 16 << 20


async def test_only_the_owner_changes_and_others_become_sources(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob, alice = await made.agent("bob"), await made.agent("alice")
        await bob.outer.ask("POST", "/api/filesystem", {MINE: {"T": 5, "#": "h1", "$": 5}})
        await alice.outer.ask("POST", "/api/filesystem", {MINE: {"T": 9, "#": "evil", "$": 5}})
        info = (await alice.outer.ask("GET", f"/api/filesystem{MINE}")).json
        assert (info["#"], info["@"]) == ("h1", [bob.id])
        await alice.outer.ask("POST", "/api/filesystem", {MINE: {"T": 5, "#": "h1", "$": 5}})
        assert (await alice.outer.ask("GET", f"/api/filesystem{MINE}")).json["@"] == [bob.id, alice.id]


@pytest.mark.parametrize("path", ["/shared/bob/../x", "/shared//bob", "/etc/passwd", "shared/bob/x", "/users/alice/x"])
async def test_paths_that_are_not_the_callers_are_ignored(path: str, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob")
        assert (await bob.outer.ask("POST", "/api/filesystem", {path: {"T": 5, "#": "h1", "$": 5}})).status == 201
        assert (await bob.outer.ask("GET", "/api/filesystem")).json == {}
