"""Files by the local API: forms of HTTP, long polls, and uploads that go wrong."""

import asyncio
from pathlib import Path

import pytest
from mesh_files import (
    API,
    BIG,
    CONTENT,
    DOC,
    SECRET,
    ask,
    content_of,
    has_sources,
    info,
    message,
    on_mesh,
    publish,
    stored,
)

from ztm.agent.api import files as api_files
from ztm.core.files import file_hash
from ztm.testing.mesh import MESH, SimMesh

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
