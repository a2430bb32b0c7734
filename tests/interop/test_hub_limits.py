"""Limits: what is too much is refused, what is malformed gets an answer, and neighbours live."""

import asyncio
import json
import logging
import struct
from pathlib import Path
from uuid import uuid4

import pytest

from hub_client import Mesh, mesh, until
from v1_http import DATA, END_STREAM, HEADERS, PATIENCE, PING, REFUSED_STREAM, RST, SETTINGS, Http2, Wire
from ztm.net.base import SessionLimits
from ztm.net.scope import HttpLimits

LONG_POLL = "/api/filesystem?since=9007199254740991&wait"


async def lives(connection: Http2) -> bool:
    return (await connection.ask("GET", "/api/zones")).status == 200


async def test_one_agent_too_many_is_told_so_and_gets_in_when_there_is_room(tmp_path: Path) -> None:
    async with mesh(tmp_path, max_agents=2) as made:
        first, _ = await made.agent("bob"), await made.agent("bob")
        third = await made.connect("alice")
        refused = await third.open("CONNECT", f"/api/endpoints/{uuid4()}?name=c").answer()
        assert (refused.status, refused.text.startswith("Too many agents")) == (429, True)
        assert await lives(third)
        again = await made.agent("bob", endpoint=first.id)
        assert again.heartbeat.status == 201, "one that is in may come again"
        for agent in (first, again):
            await agent.outer.close()

        async def is_gone() -> bool:
            return not (await third.ask("GET", f"/api/endpoints/{first.id}")).json["online"]

        await until(is_gone)
        made.network.shift = 121
        assert (await made.agent("alice")).heartbeat.status == 201, "those long gone do not count"


async def test_one_app_stream_too_many_is_told_so(tmp_path: Path) -> None:
    async with mesh(tmp_path, max_sessions=10) as made:
        source, target = await made.agent("bob"), await made.agent("alice")
        path = f"/api/endpoints/{target.id}/apps/ztm/tunnel?src={source.id}"
        streams = [source.outer.open("CONNECT", path) for _ in range(10)]
        for stream in streams:
            assert (await stream.head()).status == 200
        refused = await source.outer.open("CONNECT", path).answer()
        assert (refused.status, refused.text) == (429, "Too many forwarding sessions")
        streams[0].end()
        await streams[0].ended()
        assert (await source.outer.open("CONNECT", path).head()).status == 200


async def test_excess_streams_of_a_session_are_refused_and_the_session_lives(tmp_path: Path) -> None:
    async with mesh(tmp_path, sessions=SessionLimits(streams=4)) as made:
        bob = await made.connect("bob")
        polls = [bob.request("GET", LONG_POLL) for _ in range(4)]
        excess = [bob.request("GET", "/api/zones") for _ in range(20)]
        for stream in excess:
            await stream.ended()
            assert stream.reset_code == REFUSED_STREAM
        polls[0].reset()

        async def has_room() -> bool:
            stream = bob.request("GET", "/api/zones")
            await stream.ended()
            return stream.reset_code is None

        await until(has_room)
        assert not bob.closed.is_set()


async def test_a_body_too_large_gets_413_and_the_connection_lives(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        for path, size in (("status", 65 << 10), ("p2p/connection-info", 5000), ("sign/bob", 17 << 10)):
            stream = agent.outer.open("POST", f"/api/{path}")
            stream.write(b"x" * size)
            assert (await stream.answer()).status == 413
            stream.reset()
        assert await lives(agent.outer)


async def test_a_large_file_map_is_taken(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        files = {f"/shared/bob/{number:0200}": {"T": 1, "#": f"{number:064}", "$": 1} for number in range(30_000)}
        assert len(json.dumps(files)) > 8 << 20
        assert (await agent.outer.ask("POST", "/api/filesystem", files)).status == 201


async def test_headers_of_20_kb_are_taken_and_of_100_kb_not(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob, other = await made.connect("bob"), await made.connect("bob")
        assert (await bob.ask("GET", "/api/zones", extra=[("x-long", "y" * 20_000)])).status == 200
        bob.request("GET", "/api/zones", extra=[("x-long", "y" * 100_000)])
        await asyncio.wait_for(bob.closed.wait(), PATIENCE)
        assert await lives(other)
        http1 = await made.dial("bob")
        assert (await http1.probe("GET", "/api/zones?" + "y" * 20_000)).status == 200
        assert (await http1.probe("GET", "/api/zones?" + "y" * 100_000)).status == 431


async def test_a_slow_handshake_is_cut_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ztm.net.listener.HANDSHAKE", 0.2)
    async with mesh(tmp_path) as made:
        slow = [Wire(*await asyncio.open_connection("127.0.0.1", made.port)) for _ in range(20)]
        for wire in slow:
            made.stack.push_async_callback(wire.close)
        assert await lives(await made.connect("bob"))
        for wire in slow:
            assert await asyncio.wait_for(wire.read(), PATIENCE) == b""


async def test_a_slow_request_head_is_cut_and_stops_nobody(tmp_path: Path) -> None:
    async with mesh(tmp_path, http=HttpLimits(head_seconds=0.2)) as made:
        slow = []
        for begin in (b"GET /api/zones HTT", b"PRI * HTT"):
            wire = await made.dial("bob")
            wire.write(begin)
            slow.append(wire)
        assert await lives(await made.connect("bob"))
        for wire in slow:
            assert await asyncio.wait_for(wire.read(), PATIENCE) == b""


async def test_a_silent_connection_is_closed_in_the_end(tmp_path: Path) -> None:
    async with mesh(tmp_path, http=HttpLimits(idle_seconds=0.2)) as made:
        assert await asyncio.wait_for((await made.dial("bob")).read(), PATIENCE) == b""


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("status", b"{bad"),
        ("status", b"[]"),
        ("status", b'{"name": 1}'),
        ("status", b'{"name": "a/b"}'),
        ("status", b"\xff"),
        ("status", b"[" * 5000),
        ("filesystem", b"{bad"),
        ("filesystem", b'{"/shared/bob/x": {"T": "x", "#": "h", "$": 1}}'),
        ("filesystem", b'{"/shared/bob/x": {"T": 1, "#": "h", "$": 1e400}}'),
        ("acl", b"{bad"),
        ("acl", b'{"/apps/a/b/shared/bob": {"all": 1}}'),
        ("p2p/connection-info", b"{bad"),
        ("p2p/connection-info", b'{"publicIp": "evil host", "publicPort": 1}'),
        ("p2p/connection-info", b'{"publicIp": "1.2.3.4", "publicPort": 99999}'),
    ],
)
async def test_a_malformed_body_gets_400_and_the_session_lives(path: str, body: bytes, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        assert (await agent.outer.ask("POST", f"/api/{path}", body)).status == 400
        assert await lives(agent.outer)
        http1 = await made.dial("bob")
        assert (await http1.probe("POST", f"/api/{path}", body)).status == 404, "no session on that connection"
        assert (await http1.probe("GET", "/api/zones")).status == 200


@pytest.mark.parametrize(
    "target", ["endpoints?limit=x", "endpoints?offset=-1", "filesystem?since=x", "users?limit=1e3"]
)
async def test_a_malformed_query_gets_400(target: str, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.connect("bob")
        assert (await bob.ask("GET", f"/api/{target}")).status == 400
        assert await lives(bob)


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "GET"), (":scheme", "http")],
        [(":method", "GET"), (":path", "/api/zones")],
        [(":method", "GET"), (":scheme", "http"), (":path", "")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/a b")],
        [(":method", "GET"), (":method", "GET"), (":scheme", "http"), (":path", "/api/zones")],
        [(":method", "GET"), (":scheme", "http"), ("x", "y"), (":path", "/api/zones")],
        [(":method", "CONNECT"), (":authority", "x:1")],
    ],
)
async def test_malformed_heads_get_400_and_the_session_lives(fields: list[tuple[str, str]], tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        stream = agent.outer.open("GET", "/api/zones")
        stream.end()
        assert (await stream.answer()).status == 200
        odd = agent.outer.open_with(fields)
        odd.end()
        await odd.ended()
        assert odd.reset_code is not None or (await odd.head()).status == 400
        assert await lives(agent.outer)


async def test_a_content_length_that_lies_harms_its_own_stream_only(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        poll = agent.outer.request("GET", LONG_POLL)
        lying = agent.outer.open("POST", "/api/status", [("content-length", "12")])
        lying.write(b"{}")
        lying.end()
        await lying.ended()
        assert await lives(agent.outer)
        assert poll.reset_code is None


async def test_a_handler_that_fails_answers_500_and_harms_no_other_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with mesh(tmp_path) as made:
        source, target = await made.agent("bob"), await made.agent("alice")
        path = f"/api/endpoints/{target.id}/apps/ztm/tunnel?src={source.id}"
        neighbour = source.outer.open("CONNECT", path)
        await neighbour.head()

        def fails(*_: object, **__: object) -> None:
            raise RuntimeError("a mistake")

        monkeypatch.setattr(made.hub.state.traffic, "of", fails)
        monkeypatch.setattr(made.hub.state.registry, "owner_of", fails)
        with caplog.at_level(logging.CRITICAL):
            assert (await source.outer.ask("GET", "/api/stats/endpoints")).status == 500
            assert (await source.outer.open("CONNECT", path).answer()).status == 500
        neighbour.write(b"hi")
        assert await neighbour.exactly(2) == b"hi"
        http1 = await made.dial("bob")
        assert (await http1.probe("GET", "/api/stats/endpoints")).status == 500
        assert await lives(source.outer)


async def flood(made: Mesh, frames: bytes) -> Http2:
    """Send raw frames in one go on a fresh connection, and wait until the hub closes it."""
    connection = await made.connect("bob", acks=False)
    assert await lives(connection)
    connection.raw(frames)
    await asyncio.wait_for(connection.closed.wait(), PATIENCE)
    return connection


def frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", number) + payload


async def test_floods_end_their_own_connection_only(tmp_path: Path) -> None:
    limits = SessionLimits(resets=5, controls=5)
    async with mesh(tmp_path, sessions=limits) as made:
        neighbour = await made.agent("alice")
        head = bytes([0x82, 0x86]) + b"\x04\x05/slow"  # a route that is found nowhere, reset at once
        resets = b"".join(frame(HEADERS, 4, n, head) + frame(RST, 0, n, bytes(4)) for n in range(5, 1000, 2))
        await flood(made, resets)
        await flood(made, frame(PING, 0, 0, bytes(8)) * 200)
        await flood(made, frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20)) * 200)
        await flood(made, frame(HEADERS, 0, 5, head) + frame(9, 0, 5, b"\0\1x\1y" * 3000) * 100)
        await flood(made, frame(DATA, END_STREAM, 0, b"x"))
        await flood(made, frame(SETTINGS, 0, 0, b"x"))
        assert await lives(neighbour.outer)
        assert not neighbour.nested.closed.is_set()


async def test_no_user_can_take_all_connections(tmp_path: Path) -> None:
    async with mesh(tmp_path, max_agents=2, max_sessions=10) as made:
        half = made.hub.state.config.max_connections // 2
        for _ in range(half):
            assert await lives(await made.connect("bob"))
        assert await made.is_refused("bob")
        assert not await made.is_refused("alice")
        assert not await made.is_refused("root")
