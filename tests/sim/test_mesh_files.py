"""What the mesh promises of files: exact bytes, from whichever source is there, to those who may read them."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ztm.agent.api import files as api_files
from ztm.agent.files import fetch as filefetch
from ztm.core.files import deleted_hash, file_hash
from ztm.net.http1 import Answer
from ztm.rest.client import call_stream
from ztm.testing import run_virtual
from ztm.testing.mesh import HUB, MESH, SimEndpoint, SimMesh

DOC = "/shared/root/doc.txt"
SECRET = "/users/root/secret.txt"
CONTENT = b"hello world"
BIG = os.urandom(1 << 20) * 3
API = f"/api/meshes/{MESH}"


def on_mesh(directory: Path, story: Callable[[SimMesh], Awaitable[None]]) -> None:
    async def main() -> None:
        mesh = SimMesh(directory)
        try:
            await story(mesh)
        finally:
            await mesh.close()

    run_virtual(main())


async def ask(
    at: SimEndpoint, method: str, path: str, body: bytes = b"", *, mesh: str = MESH, **headers: str
) -> Answer:
    """One request to the local API, whatever comes of it."""
    assert at.agent is not None
    stream = await at.network.dial(at.agent.address)
    fields = [("authorization", f"Bearer {at.agent.token}"), *((k.replace("_", "-"), v) for k, v in headers.items())]
    try:
        target = f"/api/meshes/{mesh}{path}"
        return await call_stream(stream, method, target, body=body, timeout=120.0, headers=fields, limit=100 << 20)
    finally:
        stream.abort("answered")


async def publish(at: SimEndpoint, path: str, content: bytes) -> None:
    answer = await ask(at, "POST", f"/file-data{path}", content)
    assert (answer.status, answer.body) == (201, b"")


async def content_of(at: SimEndpoint, path: str) -> bytes:
    answer = await ask(at, "GET", f"/file-data{path}")
    assert answer.status == 200, answer
    return answer.body


async def info(at: SimEndpoint, path: str) -> dict[str, Any]:
    found: dict[str, Any] = await at.api("GET", f"{API}/files{path}")
    return found


async def has_sources(at: SimEndpoint, path: str, count: int) -> list[str]:
    async with asyncio.timeout(10.0):
        while len(sources := (await info(at, path))["sources"]) != count:
            await asyncio.sleep(0.1)
    return list(sources)


def message(answer: Answer) -> str:
    said = json.loads(answer.body)
    assert said["status"] == answer.status
    return str(said["message"])


def stored(at: SimEndpoint) -> list[str]:
    """Names of all that is in the directory of mesh files."""
    return sorted(one.name for one in (at.data / "meshes" / MESH / "fs").iterdir())


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


# ---------------------------------------------------------------------- rights


@pytest.mark.parametrize(
    "path",
    [
        "/users/alice/x",
        "/shared/alice/x",
        "/apps/ztm/tunnel/shared/alice/x",
        "/home/root/x",
        "/x",
        "/shared/root",
        "/users/root/../alice/x",
        "/users/root%2F..%2Falice%2Fx",
    ],
)
def test_a_path_that_is_not_the_users_is_refused_and_nothing_is_stored(tmp_path: Path, path: str) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        for method, room, body in (("POST", "file-data", CONTENT), ("DELETE", "files", b"")):
            answer = await ask(a, method, f"/{room}{path}", body)
            assert answer.status == 403
            assert "root" in message(answer)
        assert stored(a) == []

    on_mesh(tmp_path, story)


def test_a_refused_upload_is_refused_before_its_body_is_sent(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        assert a.agent is not None
        stream = await a.network.dial(a.agent.address)
        head = f"POST {API}/file-data/users/alice/x HTTP/1.1\r\nauthorization: Bearer {a.agent.token}\r\n"
        await stream.write(f"{head}expect: 100-continue\r\ncontent-length: 1000000\r\n\r\n".encode())
        async with asyncio.timeout(1.0):
            assert (await stream.read()).startswith(b"HTTP/1.1 403 ")
        stream.abort()

    on_mesh(tmp_path, story)


def test_erasing_what_does_not_exist_is_not_found_and_marks_nothing(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        answer = await ask(a, "DELETE", "/files/shared/root/none")
        assert answer.status == 404
        assert "/shared/root/none" in message(answer)
        assert stored(a) == []
        assert await a.api("GET", f"{API}/files?since=0") == {}

    on_mesh(tmp_path, story)


def test_a_foreign_private_file_is_refused_by_path_and_by_hash(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        (alice,) = await mesh.join("laptop", user="alice")
        await publish(a, SECRET, CONTENT)
        await publish(a, DOC, CONTENT)
        digest = file_hash(CONTENT, SECRET)
        for reader, status in ((alice, 404), (b, 200)):
            assert (await ask(reader, "GET", f"/file-data{SECRET}")).status == status
            assert (await ask(reader, "GET", f"/files{SECRET}")).status == status
            assert (await ask(reader, "GET", f"/endpoints/{a.id}/file-data/{digest}")).status == status
        shared = await ask(alice, "GET", f"/endpoints/{a.id}/file-data/{file_hash(CONTENT, DOC)}")
        assert (shared.status, shared.body) == (200, CONTENT)
        assert all(not name.startswith(digest) for name in stored(alice))

    on_mesh(tmp_path, story)


def test_the_endpoint_that_holds_a_private_file_refuses_it_to_users_that_its_hub_names(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        await publish(a, SECRET, CONTENT)
        digest = file_hash(CONTENT, SECRET)
        files = a.mesh.files
        assert files.open_for("alice", digest) is None
        assert files.open_for("root", digest) is not None
        assert files.open_for("", digest) is not None

    on_mesh(tmp_path, story)


def test_a_content_is_fetched_from_the_named_endpoint_only_and_is_not_kept(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b, c = await mesh.join("a", "b", "c")
        await publish(a, DOC, CONTENT)
        digest = file_hash(CONTENT, DOC)
        found = await ask(b, "GET", f"/endpoints/{a.id}/file-data/{digest}")
        assert (found.status, found.body) == (200, CONTENT)
        assert stored(b) == []
        for endpoint in (c.id, b.id, "00000000-0000-4000-8000-000000000000"):
            answer = await ask(b, "GET", f"/endpoints/{endpoint}/file-data/{digest}")
            assert answer.status == 404
            assert message(answer)
        assert (await ask(a, "GET", f"/endpoints/{a.id}/file-data/{digest}")).body == CONTENT
        for wrong in ("0000", "..%2F..%2Fztm.db", "0" * 64):
            assert (await ask(b, "GET", f"/endpoints/{a.id}/file-data/{wrong}")).status == 404
        assert (await ask(b, "GET", f"/endpoints/nobody/file-data/{digest}")).status == 400

    on_mesh(tmp_path, story)


# ---------------------------------------------------------------------- the forms of HTTP


def test_ranges_conditions_and_heads_are_answered_as_http_has_them(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, CONTENT)
        tag = f'"{file_hash(CONTENT, DOC)}"'
        url = f"/file-data{DOC}"
        head = await ask(b, "HEAD", url)
        assert (head.status, dict(head.headers)["content-length"], head.body) == (200, "11", b"")
        assert dict(head.headers)["accept-ranges"] == "bytes"
        assert (await ask(b, "GET", url, if_none_match=tag)).status == 304
        assert (await ask(b, "GET", url, if_match='"another"')).status == 412
        assert stored(b) == []  # for none of these its content is needed
        part = await ask(b, "GET", url, range="bytes=6-")
        assert (part.status, part.body) == (206, b"world")
        assert dict(part.headers)["content-range"] == "bytes 6-10/11"
        assert dict(part.headers)["content-length"] == "5"
        assert (await ask(b, "GET", url, range="bytes=0-0", if_range=tag)).body == b"h"
        assert (await ask(b, "GET", url, range="bytes=0-0", if_range='"older"')).body == CONTENT
        beyond = await ask(b, "GET", url, range="bytes=11-")
        assert (beyond.status, dict(beyond.headers)["content-range"]) == (416, "bytes */11")
        assert message(beyond)

    on_mesh(tmp_path, story)


def test_paths_are_decoded_once_and_normalised(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        await publish(a, "/shared/root/sp%20ace%2Fenc.txt", b"enc")
        await publish(a, "/shared/root/x/../a%252Fb", b"once")
        assert (await a.api("GET", f"{API}/files")).keys() == {"/shared/root/sp ace/enc.txt", "/shared/root/a%2Fb"}
        assert await content_of(a, "/shared//root/./sp%20ace/enc.txt") == b"enc"
        for bad in ("/shared/root/%00", "/shared/root/%ff", "/shared/root/" + "x" * 2000, "/..", "/%2e%2e"):
            assert (await ask(a, "POST", f"/file-data{bad}", b"x")).status == 400

    on_mesh(tmp_path, story)


def test_in_an_unknown_mesh_the_list_is_empty_and_all_else_is_not_found(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        for query in ("", "?since=0", "?since=0&wait=true"):
            assert await a.api("GET", f"/api/meshes/nope/files{query}") == {}
        for method, url in (
            ("GET", "/files/x"),
            ("DELETE", "/files/x"),
            ("GET", "/file-data/x"),
            ("POST", "/file-data/x"),
            ("DELETE", "/file-data/x"),
            ("GET", f"/endpoints/{a.id}/file-data/00"),
        ):
            answer = await ask(a, method, url, mesh="nope")
            assert answer.status == 404, url
            assert "nope" in message(answer)

    on_mesh(tmp_path, story)


def test_while_no_hub_is_connected_what_is_held_is_given_and_all_else_says_why(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        await publish(a, DOC, CONTENT)
        await mesh.kill_hub()
        async with asyncio.timeout(30.0):
            while str(a.mesh.health.state) == "connected":
                await a.mesh.standing.turned()
        assert await content_of(a, DOC) == CONTENT
        await publish(a, SECRET, b"later")
        for url in ("/files", f"/files{DOC}", "/file-data/shared/root/other"):
            answer = await ask(a, "GET", url)
            assert answer.status == 503
            assert MESH in message(answer)
        await mesh.start_hub()
        await mesh.connected()
        await has_sources(a, SECRET, 1)

    on_mesh(tmp_path, story)


# ---------------------------------------------------------------------- long polls


def test_a_long_poll_is_answered_by_the_first_change(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(a, DOC, CONTENT)
        since = (await info(b, DOC))["since"]
        poll = asyncio.ensure_future(b.api("GET", f"{API}/files?since={since}&wait=true"))
        await asyncio.sleep(20.0)
        assert not poll.done()
        await publish(a, "/shared/root/late", b"x")
        async with asyncio.timeout(2.0):
            found = await poll
        assert found.keys() == {"/shared/root/late"}
        assert found["/shared/root/late"]["since"] > since
        again = await b.api("GET", f"{API}/files?since={since}&wait=true")
        assert again == found

    on_mesh(tmp_path, story)


def test_a_long_poll_without_news_is_answered_within_a_minute_with_nothing(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        loop = asyncio.get_running_loop()
        begin = loop.time()
        assert await a.api("GET", f"{API}/files?since=9007199254740991&wait=true") == {}
        assert loop.time() - begin == pytest.approx(api_files.WAIT, abs=1.0)
        begin = loop.time()
        assert await a.api("GET", f"{API}/files?since=9007199254740991&wait=1") == {}
        assert loop.time() - begin < 1.0  # only `true` waits

    on_mesh(tmp_path, story)


def test_long_polls_are_bounded_and_those_whose_caller_left_hold_no_place(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        assert a.agent is not None
        fields = f"authorization: Bearer {a.agent.token}\r\n"
        head = f"GET {API}/files?since=9007199254740991&wait=true HTTP/1.1\r\n{fields}\r\n"
        polls = [await a.network.dial(a.agent.address) for _ in range(api_files.MAX_WAITING)]
        for poll in polls:
            await poll.write(head.encode())
        await asyncio.sleep(1.0)
        assert (await ask(a, "GET", "/files?since=9007199254740991&wait=true")).status == 429
        for poll in polls:
            poll.abort("gone")
        await asyncio.sleep(1.0)
        assert (await ask(a, "GET", "/files?since=9007199254740991&wait=true")).status == 200

    on_mesh(tmp_path, story)


@pytest.mark.parametrize("since", ["", "x", "-1", "1.5", "1e3", "9" * 40, "%00"])
def test_a_since_that_is_no_time_is_refused(tmp_path: Path, since: str) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        answer = await ask(a, "GET", f"/files?since={since}")
        assert answer.status == 400
        assert "since" in message(answer)

    on_mesh(tmp_path, story)


# ---------------------------------------------------------------------- uploads


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        assert a.agent is not None
        stream = await a.network.dial(a.agent.address)
        head = f"POST {API}/file-data{DOC} HTTP/1.1\r\nauthorization: Bearer {a.agent.token}\r\n"
        await stream.write(f"{head}content-length: 1000000\r\n\r\n".encode() + b"x" * 500_000)
        async with asyncio.timeout(5.0):
            while not stored(a):
                await asyncio.sleep(0.01)
        stream.abort("gone")
        async with asyncio.timeout(5.0):
            while stored(a):
                await asyncio.sleep(0.01)
        assert await a.api("GET", f"{API}/files") == {}

    on_mesh(tmp_path, story)


def test_an_upload_that_stops_coming_is_given_up(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        assert a.agent is not None
        stream = await a.network.dial(a.agent.address)
        head = f"POST {API}/file-data{DOC} HTTP/1.1\r\nauthorization: Bearer {a.agent.token}\r\n"
        await stream.write(f"{head}content-length: 1000000\r\n\r\nx".encode())
        async with asyncio.timeout(70.0):
            assert b" 408 " in await stream.read()
        assert stored(a) == []
        stream.abort()

    on_mesh(tmp_path, story)


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_file_beyond_the_limit_is_refused_and_leaves_nothing(tmp_path: Path, *, is_announced: bool) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        await publish(b, DOC, b"x" * 1001)
        a.mesh.downloads.limit = 1000
        assert (await ask(a, "GET", f"/file-data{DOC}")).status == 413
        if is_announced:
            answer = await ask(a, "POST", f"/file-data{SECRET}", b"x" * 1001)
            assert answer.status == 413
            assert "1000" in message(answer)
        else:
            assert a.agent is not None
            stream = await a.network.dial(a.agent.address)
            head = f"POST {API}/file-data{SECRET} HTTP/1.1\r\nauthorization: Bearer {a.agent.token}\r\n"
            await stream.write(
                f"{head}transfer-encoding: chunked\r\n\r\n3e9\r\n".encode() + b"x" * 1001 + b"\r\n0\r\n\r\n"
            )
            assert b" 413 " in await stream.read()
            stream.abort()
        await publish(a, SECRET, b"x" * 1000)
        assert len(stored(a)) == 2

    on_mesh(tmp_path, story)


def test_a_user_who_has_all_the_files_the_hub_takes_is_told_so(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        assert mesh.hub is not None
        mesh.hub.state.files._max_files = 1
        await publish(a, DOC, CONTENT)
        answer = await ask(a, "POST", f"/file-data{SECRET}", CONTENT)
        assert answer.status == 429
        assert "too many mesh files" in message(answer)

    on_mesh(tmp_path, story)


def test_a_caller_that_does_not_read_on_holds_up_nobody(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (a,) = await mesh.join("a")
        await publish(a, DOC, BIG)
        assert a.agent is not None
        stream = await a.network.dial(a.agent.address)
        await stream.write(
            f"GET {API}/file-data{DOC} HTTP/1.1\r\nauthorization: Bearer {a.agent.token}\r\n\r\n".encode()
        )
        assert (await stream.read()).startswith(b"HTTP/1.1 200")
        assert await content_of(a, DOC) == BIG
        assert (await ask(a, "DELETE", f"/files{DOC}")).status == 204
        left = len(BIG) - 1_000_000
        while left > 0:
            left -= len(await stream.read())
        stream.abort("enough")

    on_mesh(tmp_path, story)
