"""What the mesh promises of files: exact bytes, the latest ones, from whichever source is there."""

import asyncio
from pathlib import Path

import pytest
from mesh_files import API, BIG, CONTENT, DOC, ask, content_of, has_sources, info, message, on_mesh, publish, stored

from ztm.agent.files import fetch as filefetch
from ztm.core.files import deleted_hash, file_hash
from ztm.testing.mesh import HUB, MESH, SimMesh

# ---------------------------------------------------------------------- exact bytes


@pytest.mark.parametrize("content", [b"", b"x", CONTENT, bytes(range(256)) * 5000])
def test_what_one_endpoint_publishes_another_gets_byte_for_byte_and_becomes_a_source(
    tmp_path: Path, content: bytes
) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        (alice,) = await mesh.join("laptop", user="alice")
        await publish(a, DOC, content)
        assert await has_sources(b, DOC, 1) == [a.id]
        for reader in (a, b, alice):
            answer = await ask(reader, "GET", f"/file-data{DOC}")
            fields = dict(answer.headers)
            assert (answer.status, answer.body) == (200, content)
            assert fields["content-length"] == str(len(content))
            assert fields["content-type"] == "application/octet-stream"
            assert fields["etag"] == f'"{file_hash(content, DOC)}"'
        assert set(await has_sources(a, DOC, 3)) == {a.id, b.id, alice.id}

    on_mesh(tmp_path, story)


def test_a_file_shows_in_the_mesh_as_soon_as_its_publishing_is_answered(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, CONTENT)
        found = (await b.api("GET", f"{API}/files"))[DOC]
        assert found == {"hash": file_hash(CONTENT, DOC), "size": len(CONTENT), "time": found["time"]}
        known = await info(b, DOC)
        assert known.keys() == {"hash", "size", "time", "since", "sources"}
        await publish(a, DOC, b"newer")
        assert await content_of(b, DOC) == b"newer"

    on_mesh(tmp_path, story)


def test_two_endpoints_of_a_user_that_write_in_turn_never_lose_the_later_write(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        for number in range(6):
            writer = (a, b)[number % 2]
            await publish(writer, DOC, b"%d" % number)
            assert await content_of(a, DOC) == await content_of(b, DOC) == b"%d" % number

    on_mesh(tmp_path, story)


def test_a_write_wins_at_once_over_one_of_a_machine_whose_clock_is_ahead(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        a.mesh.files._now_ms = lambda: a.mesh.now_ms() + 3_600_000
        for number in range(3):
            await publish(a, DOC, b"%d ahead" % number)
            await publish(b, DOC, b"%d" % number)
            assert await content_of(a, DOC) == b"%d" % number
        await publish(a, DOC, b"ahead")
        assert (await ask(b, "DELETE", f"/files{DOC}")).status == 204
        assert (await ask(a, "GET", f"/file-data{DOC}")).status == 404

    on_mesh(tmp_path, story)


def test_an_erased_file_is_gone_everywhere_at_once_also_where_a_copy_is_held(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, CONTENT)
        assert await content_of(b, DOC) == CONTENT
        assert (await ask(a, "DELETE", f"/files{DOC}")).status == 204
        for reader in (a, b):
            assert (await ask(reader, "GET", f"/file-data{DOC}")).status == 404
            assert (await ask(reader, "GET", f"/files{DOC}")).status == 404
            assert DOC not in await reader.api("GET", f"{API}/files")
        changes = await b.api("GET", f"{API}/files?since=0")
        assert (changes[DOC]["size"], changes[DOC]["hash"]) == (-1, deleted_hash(DOC))
        assert (await ask(a, "DELETE", f"/files{DOC}")).status == 404

    on_mesh(tmp_path, story)


def test_a_user_can_erase_from_another_of_his_endpoints_and_publish_again(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, CONTENT)
        assert (await ask(b, "DELETE", f"/files{DOC}")).status == 204
        assert (await ask(a, "GET", f"/files{DOC}")).status == 404
        await asyncio.sleep(1.0)
        await publish(a, DOC, CONTENT)
        assert await content_of(b, DOC) == CONTENT

    on_mesh(tmp_path, story)


def test_unpublishing_drops_the_copy_held_here_and_no_other(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, CONTENT)
        assert await content_of(b, DOC) == CONTENT
        assert (await ask(a, "DELETE", f"/file-data{DOC}")).status == 204
        assert stored(a) == []
        refused = await ask(a, "DELETE", f"/file-data{DOC}")
        assert refused.status == 404
        assert DOC in message(refused)
        assert DOC in await a.api("GET", f"{API}/files")
        assert await content_of(a, DOC) == CONTENT

    on_mesh(tmp_path, story)


# ---------------------------------------------------------------------- sources


def test_a_source_that_dies_within_a_download_is_followed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b, c = await mesh.join("a", "b", "c")
        await publish(a, DOC, BIG)
        assert await content_of(b, DOC) == BIG
        assert set(await has_sources(c, DOC, 2)) == {a.id, b.id}
        order = [a.id, b.id]
        monkeypatch.setattr(filefetch.random, "shuffle", lambda sources: sources.sort(key=order.index))
        mesh.world.link(HUB, a.ip, delay=0.2)
        downloading = asyncio.ensure_future(content_of(c, DOC))
        async with asyncio.timeout(20.0):
            while not any(name.endswith(".incoming") for name in stored(c)):
                await asyncio.sleep(0.05)
        await a.kill()
        assert await downloading == BIG

    on_mesh(tmp_path, story)


def test_a_download_whose_only_source_dies_fails_and_leaves_no_file(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, BIG)
        mesh.world.link(HUB, a.ip, delay=0.2)
        downloading = asyncio.ensure_future(ask(b, "GET", f"/file-data{DOC}"))
        async with asyncio.timeout(20.0):
            while not any(name.endswith(".incoming") for name in stored(b)):
                await asyncio.sleep(0.05)
        source = a.id
        await a.kill()
        answer = await downloading
        assert answer.status == 503
        assert source in message(answer)
        assert stored(b) == []
        await a.start()
        await mesh.connected()
        mesh.world.link(HUB, a.ip, delay=0.001)
        await has_sources(b, DOC, 1)
        assert await content_of(b, DOC) == BIG

    on_mesh(tmp_path, story)


@pytest.mark.parametrize("slow", ["source", "reader"])
def test_a_download_of_a_minute_over_a_slow_link_comes_to_its_end(tmp_path: Path, slow: str) -> None:
    """Also when the link is so full that pings are late and the hub is dialled anew meanwhile."""

    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, BIG)
        mesh.world.link(HUB, (a if slow == "source" else b).ip, delay=0.05, rate=50_000.0)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        assert await content_of(b, DOC) == BIG
        assert loop.time() - begin > 60.0

    on_mesh(tmp_path, story)


def test_a_source_that_sends_something_else_is_not_believed(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, CONTENT)
        (a.data / "meshes" / MESH / "fs" / file_hash(CONTENT, DOC)).write_bytes(b"hello w0rld")
        answer = await ask(b, "GET", f"/file-data{DOC}")
        assert answer.status == 503
        assert "hash" in message(answer)
        assert stored(b) == []
        assert await has_sources(b, DOC, 1) == [a.id]

    on_mesh(tmp_path, story)


def test_without_a_source_that_is_online_a_download_says_so(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, CONTENT)
        await a.kill()
        async with asyncio.timeout(60.0):
            while (await info(b, DOC))["sources"]:
                await asyncio.sleep(1.0)
        answer = await ask(b, "GET", f"/file-data{DOC}")
        assert answer.status == 503
        assert "online" in message(answer)

    on_mesh(tmp_path, story)


def test_many_who_want_the_same_file_at_once_share_one_download(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, BIG)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, sum(name.endswith(".incoming") for name in stored(b)))
                await asyncio.sleep(0.01)

        watching = asyncio.ensure_future(watch())
        found = await asyncio.gather(*(content_of(b, DOC) for _ in range(20)))
        watching.cancel()
        assert all(one == BIG for one in found)
        assert most == 1

    on_mesh(tmp_path, story)


def test_a_download_nobody_waits_for_any_more_ends_and_leaves_no_file(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, BIG)
        mesh.world.link(HUB, a.ip, delay=0.2)
        assert b.agent is not None
        stream = await b.network.dial(b.agent.address)
        await stream.write(
            f"GET {API}/file-data{DOC} HTTP/1.1\r\nauthorization: Bearer {b.agent.token}\r\n\r\n".encode()
        )
        async with asyncio.timeout(20.0):
            while not stored(b):
                await asyncio.sleep(0.01)
        stream.abort("gone")
        async with asyncio.timeout(5.0):
            while stored(b):
                await asyncio.sleep(0.1)

    on_mesh(tmp_path, story)
