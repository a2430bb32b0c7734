"""Control and passive sessions with v1-like agents."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest

from hub_client import mesh, until
from v1_http import PATIENCE

QUICK = {"ping_every": 0.05, "ping_timeout": 0.3}


async def test_a_heartbeat_in_the_same_flight_as_the_control_connect_is_taken(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob", "bob ep")
        assert agent.heartbeat.status == 201


async def test_a_heartbeat_before_the_control_connect_is_told_so_and_harms_nothing(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        early = await made.connect("bob")
        answer = await early.ask("POST", "/api/status", agent.status())
        assert (answer.status, answer.text) == (404, "No agent session established yet")
        tunnel = early.open("CONNECT", f"/api/endpoints/{uuid4()}?name=late")
        assert (await tunnel.head()).status == 200
        assert (await early.ask("POST", "/api/status", agent.status())).status == 201


async def test_an_agent_that_names_no_hub_is_listed_online_with_this_one(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob", "bob ep")
        shown = (await agent.outer.ask("GET", f"/api/endpoints/{agent.id}")).json
        assert agent.status()["hubs"] == []
        assert shown["hubs"] == [made.hub.state.id]
        assert shown["online"] is True
        assert shown["stats"] == {"controlSessions": 1, "passiveSessions": 0}
        assert (shown["name"], shown["username"], shown["agent"]["labels"]) == ("bob ep", "bob", ["site:x"])


async def test_the_time_of_a_ping_is_shown(tmp_path: Path) -> None:
    async with mesh(tmp_path, **QUICK) as made:
        agent = await made.agent("bob")

        async def is_shown() -> bool:
            return (await agent.outer.ask("GET", f"/api/endpoints/{agent.id}")).json["ping"] is not None

        await until(is_shown)


async def test_the_control_connect_also_works_over_http1(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        wire = await made.dial("bob")
        wire.write(f"CONNECT /api/endpoints/{uuid4()}?name=old HTTP/1.1\r\nconnection: keep-alive\r\n\r\n".encode())
        seen = b""
        while b"/api/ping" not in seen and b"PRI * HTTP/2.0" not in seen:
            seen += await asyncio.wait_for(wire.read(), PATIENCE)
        assert seen.startswith(b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n")


async def test_a_session_that_stops_answering_is_closed_so_that_its_agent_notices(tmp_path: Path) -> None:
    async with mesh(tmp_path, **QUICK) as made:
        agent = await made.agent("bob")
        other = await made.agent("alice")
        await asyncio.wait_for(agent.pinged.wait(), PATIENCE)
        agent.is_mute = True
        await asyncio.wait_for(agent.nested.closed.wait(), PATIENCE)
        shown = (await other.outer.ask("GET", f"/api/endpoints/{agent.id}")).json
        assert (shown["online"], shown["stats"]["controlSessions"]) == (False, 0)
        agent.is_mute = False
        again = agent.open()
        assert (await again.head()).status == 200, "the agent may come back on the same connection"


async def test_a_session_that_answers_pings_with_an_error_is_closed(tmp_path: Path) -> None:
    async with mesh(tmp_path, **QUICK) as made:
        agent = await made.agent("bob")
        agent.ping_status = 500
        await asyncio.wait_for(agent.nested.closed.wait(), PATIENCE)


async def test_a_dead_session_stops_nobody_elses_pings(tmp_path: Path) -> None:
    async with mesh(tmp_path, ping_every=0.05, ping_timeout=PATIENCE * 2) as made:
        dead = await made.agent("bob")
        well = await made.agent("alice")
        dead.is_mute = True
        for _ in range(5):
            well.pinged.clear()
            await asyncio.wait_for(well.pinged.wait(), PATIENCE)


async def test_requests_go_to_the_session_added_last_and_back_when_it_ends(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        first = await made.agent("bob")
        second = await made.agent("bob", endpoint=first.id)
        await first.outer.ask("GET", f"/api/forward/{first.id}/log")
        assert second.asked[-1] == ("control", "GET", "/api/log")
        second.control.end()
        await asyncio.wait_for(second.nested.closed.wait(), PATIENCE)
        await first.outer.ask("GET", f"/api/forward/{first.id}/log")
        assert first.asked[-1] == ("control", "GET", "/api/log")


async def test_one_connection_speaks_for_one_endpoint(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        other = str(uuid4())
        assert (await agent.outer.open("CONNECT", f"/api/endpoints/{other}?name=b").answer()).status == 403
        assert made.hub.state.registry.owner_of(other) is None, "what was refused claims nothing"


async def test_a_passive_session_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        stray = await made.connect("bob")
        assert (await stray.open("CONNECT", f"/api/endpoints/{agent.id}?sid={uuid4()}").answer()).status == 404


async def test_app_streams_start_on_the_control_session_and_go_on_on_a_passive_one(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await made.agent("bob"), await made.agent("alice")
        for _ in range(2):
            stream = await made.app(source, target.id, early=b"hi")
            assert await stream.exactly(2) == b"hi"
            await asyncio.wait_for(target.passive_came.wait(), PATIENCE)
        assert [where for where, _ in target.connects()] == ["control", "passive"]
        assert len(target.passives) == 1, "one session carries many streams"


async def test_an_agent_that_offers_no_passive_session_is_not_asked_for_every_stream(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        source, target = await made.agent("bob"), await made.agent("alice")
        target.offers_passive = False
        for _ in range(5):
            stream = await made.app(source, target.id, early=b"hi")
            assert await stream.exactly(2) == b"hi"
        asked = [path for _, _, path in target.asked if path.startswith("/api/sessions/")]
        assert len(asked) == 1
        assert {where for where, _ in target.connects()} == {"control"}


async def test_a_passive_session_in_use_stays_and_an_idle_one_is_closed(tmp_path: Path) -> None:
    async with mesh(tmp_path, passive_idle=0.1) as made:
        source, target = await made.agent("bob"), await made.agent("alice")
        first = await made.app(source, target.id, early=b"a")
        await asyncio.wait_for(target.passive_came.wait(), PATIENCE)
        second = await made.app(source, target.id, early=b"b")
        assert await second.exactly(1) == b"b"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(target.passives[0].closed.wait(), 0.3)
        second.end()
        await second.ended()
        await asyncio.wait_for(target.passives[0].closed.wait(), PATIENCE)
        first.write(b"c")
        assert await first.exactly(2) == b"ac", "the control session's streams go on"


async def test_the_hub_answers_http2_pings_on_both_layers(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob")
        for connection in (agent.outer, agent.nested):
            await asyncio.wait_for(connection.ping(), PATIENCE)


async def test_a_ping_tells_each_failure_within_its_answer(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent = await made.agent("bob", "bob ep")

        async def hops(endpoint: str) -> list[dict[str, object]]:
            answer = await agent.outer.ask("GET", f"/api/ping/endpoints/{endpoint}?timeout=2")
            assert answer.status == 200
            return list(json.loads(answer.body))

        assert [(hop.get("error"), "endpoint" in hop) for hop in await hops(agent.id)] == [(None, False), (None, True)]
        assert (await hops(str(uuid4())))[0]["error"] == "Endpoint not found"
        agent.ping_status = 503
        assert str((await hops(agent.id))[0]["error"]).startswith("Invalid response (status 503)")
        agent.ping_status, agent.says_id = 200, "another"
        assert str((await hops(agent.id))[0]["error"]).startswith("Invalid response")
        agent.is_mute = True
        assert (await hops(agent.id))[0]["error"] == "Response timeout"


async def test_an_endpoint_that_is_gone_for_long_is_forgotten_and_its_id_stays_its_owners(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        agent, root = await made.agent("bob"), await made.connect("root")
        await agent.outer.close()

        async def is_offline() -> bool:
            return not (await root.ask("GET", f"/api/endpoints/{agent.id}")).json["stats"]["controlSessions"]

        await until(is_offline)
        made.network.shift += 121
        made.hub.sweep()
        assert (await root.ask("GET", f"/api/endpoints/{agent.id}")).status == 404
        assert (await root.ask("GET", "/api/users")).json == []
        with pytest.raises(PermissionError, match="403"):
            await made.agent("alice", endpoint=agent.id)
