"""Passive sessions of our agent with a v1-like hub: open before they are answered for, and given back."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from v1_mesh import v1_mesh

import recorded
from v1_http import Answer


async def test_a_session_is_answered_for_only_after_the_hub_has_accepted_it(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        gate = made.hub.gates["passive"] = asyncio.Event()
        sid = str(uuid4())
        asking = made.hub.control().http.request("GET", f"/api/sessions/{sid}")
        await made.hub.until(lambda: len(made.hub.links) == 2 and made.hub.links[1].sids)
        await made.hub.control().http.ask("GET", "/api/ping")
        assert asking.number not in made.hub.control().http.peer_ended
        gate.set()
        assert (await asking.answer()).status == recorded.load("agent-session-alloc").status
        wanted = recorded.load("agent-passive-connect").path.partition("?")[2].partition("=")[0]
        connect = [one for one in made.hub.asked if wanted in one.query]
        assert [(one.path, one.query) for one in connect] == [(f"/api/endpoints/{party.id}", {"sid": sid})]


async def test_sessions_asked_for_at_once_come_on_connections_of_their_own(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        sessions = await asyncio.gather(*(made.hub.passive() for _ in range(5)))
        assert [link.sids and len(link.live_sids) for link in made.hub.links[1:]] == [1] * 5
        for session in sessions:
            assert (await session.http.ask("GET", "/api/ping")).status == 200


async def test_an_agent_ends_its_side_and_closes_the_connection_once_the_hub_has_ended_the_session(
    tmp_path: Path,
) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        session = await made.passive_ended()
        assert session.is_ended_by_agent
        assert (await made.hub.control().http.ask("GET", "/api/ping")).status == 200


async def test_a_session_that_nobody_uses_stays(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined(idle=0.01)
        session = await made.hub.passive()
        await made.hub.control().http.ask("GET", "/api/ping")
        assert (await session.http.ask("GET", "/api/ping")).status == 200


async def test_a_session_can_be_had_on_the_control_session_only(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        session = await made.hub.passive()
        assert (await session.http.ask("GET", f"/api/sessions/{uuid4()}")).status == 404


async def ask_session(made: object, sid: str) -> Answer:
    return await made.hub.control().http.ask("GET", f"/api/sessions/{sid}")  # type: ignore[attr-defined]


async def test_a_session_that_the_hub_refuses_is_told_so_and_closed(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        made.hub.answers["CONNECT", f"/api/endpoints/{party.id}"] = (429, b"Too many agents")
        assert (await ask_session(made, str(uuid4()))).status >= 400
        await made.hub.until(made.hub.links[1].http.closed.is_set)
        assert (await made.hub.control().http.ask("GET", "/api/ping")).status == 200


async def test_a_session_that_the_hub_never_takes_is_given_up_and_closed(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined(answer_timeout=0.3)
        made.hub.gates["passive"] = asyncio.Event()
        assert (await ask_session(made, str(uuid4()))).status >= 400
        await made.hub.until(made.hub.links[1].http.closed.is_set)


async def test_a_session_that_the_hub_resets_instead_is_closed(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        made.hub.gates["passive"] = asyncio.Event()
        asking = asyncio.ensure_future(ask_session(made, str(uuid4())))
        await made.hub.until(lambda: len(made.hub.links) == 2 and made.hub.links[1].sids)
        tunnel = made.hub.asked[-1].stream
        assert tunnel is not None
        tunnel.reset()
        assert (await asking).status >= 400
        await made.hub.until(made.hub.links[1].http.closed.is_set)


@pytest.mark.parametrize("when", ["being opened", "open"])
async def test_no_session_outlives_its_link(tmp_path: Path, when: str) -> None:
    async with v1_mesh(tmp_path) as made:
        party = await made.joined()
        if when == "being opened":
            made.hub.gates["passive"] = asyncio.Event()
            made.hub.control().http.request("GET", f"/api/sessions/{uuid4()}")
            await made.hub.until(lambda: len(made.hub.links) == 2 and made.hub.links[1].sids)
        else:
            await made.hub.passive()
        await party.agent.leave("m")
        await made.hub.until(lambda: all(link.http.closed.is_set() for link in made.hub.links))


async def test_an_app_stream_that_the_caller_resets_leaves_the_session_usable(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made:
        await made.joined()
        session = await made.hub.passive()
        target = recorded.load("agent-19").path
        for _ in range(20):
            stream = session.http.open("CONNECT", target)
            stream.write(b"GET /api/outbound HTTP/1.1\r\n\r\n")
            await stream.head()
            stream.reset()
        assert (await session.http.ask("GET", "/api/ping")).status == 200
