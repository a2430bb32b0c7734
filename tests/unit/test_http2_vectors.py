"""The recorded first bytes of real connections, played to our sessions in place of the peer that said them.

The agent's side is v1's own; the hub's side is a test hub on a general HTTP/2 library. Lines that were cut short in the
recording are played up to the last whole frame. `contract/test_recorded_sessions.py` plays them to every network.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from http2_peer import MemoryFlow, Requests
from recorded import ENDPOINT, FILES, spoken
from ztm.net.base import SessionLimits
from ztm.net.http2.session import Http2Session
from ztm.testing import settle


class Player:
    """One session of ours, with a recording in the place of its peer."""

    def __init__(self, role: str, requests: Requests | None = None) -> None:
        self.flow = MemoryFlow()
        self.session = Http2Session(self.flow, role, requests, SessionLimits(), own=False)

    async def play(self, said: list[bytes]) -> None:
        for part in said:
            self.flow.arrived(part)
            await settle()


@pytest.fixture
async def requests() -> AsyncIterator[Requests]:
    made = Requests()
    yield made
    for exchange in made.taken:
        exchange.abort()
    await settle()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("side", ["hub", "agent"])
def test_the_recordings_hold_something_to_play(name: str, side: str) -> None:
    assert sum(map(len, spoken(name, side))) > 50


async def test_an_agent_opens_its_control_session_and_sends_its_heartbeat(requests: Requests) -> None:
    hub = Player("server", requests)
    await hub.play(spoken("bytes-f2", "agent"))
    control, heartbeat = requests.taken[:2]
    assert tuple(control.request) == (
        (":method", "CONNECT"),
        (":scheme", "http"),
        (":path", f"/api/endpoints/{ENDPOINT}?name=vec%20ep"),
    )
    assert dict(heartbeat.request)[":method"] == "POST"
    assert dict(heartbeat.request)[":path"] == "/api/status"
    assert hub.session.is_open
    hub.session.close()


async def test_an_agent_opens_a_passive_session_with_its_nested_one_inside(requests: Requests) -> None:
    hub = Player("server", requests)
    first, *later = spoken("bytes-f3", "agent")
    await hub.play([first])
    (passive,) = requests.taken
    assert dict(passive.request)[":path"].startswith(f"/api/endpoints/{ENDPOINT}?sid=")
    passive.respond(200)
    nested = Http2Session(passive, "client", None, SessionLimits(), own=False)
    exchange = nested.open([(":method", "CONNECT"), (":scheme", "http"), (":path", "/api/apps/ztm/tunnel")])
    await hub.play(later)
    assert (await exchange.response())[0] == 200  # the recorded agent's answer to the recorded hub's stream 1
    nested.close()
    hub.session.close()


async def test_an_agents_answers_on_the_control_session_are_understood() -> None:
    hub = Player("client")
    paths = ("/api/ping", "/api/log", "/api/apps")
    exchanges = [
        hub.session.open([(":method", "GET"), (":scheme", "http"), (":path", path)], end=True) for path in paths
    ]
    await hub.play(spoken("bytes-f2-ctl", "agent"))
    assert await exchanges[0].response() == (200, [(":status", "200"), ("content-type", "application/json")])
    assert ENDPOINT.encode() in await exchanges[0].read()
    assert await exchanges[0].read() == b""
    assert (await exchanges[1].response())[0] == 200
    assert hub.session.is_open
    hub.session.close()


async def test_an_agents_app_stream_carries_bytes_both_ways_and_ends() -> None:
    hub = Player("client")
    exchange = hub.session.open([(":method", "CONNECT"), (":scheme", "http"), (":path", "/api/apps/ztm/tunnel")])
    exchange.write_now(b"GET /api/outbound HTTP/1.1\r\n\r\n")
    exchange.end()
    await hub.play(spoken("bytes-f3-pas", "agent"))
    assert (await exchange.response())[0] == 200
    seen = b""
    while said := await exchange.read():
        seen += said
    assert seen.startswith(b"HTTP/1.1 200 OK\r\n")
    assert seen.endswith(b"\r\n\r\n[]")
    await exchange.ended()
    hub.session.close()


async def test_a_hubs_answers_to_an_agent_and_its_nested_requests_are_understood(requests: Requests) -> None:
    agent = Player("client")
    control = agent.session.open([(":method", "CONNECT"), (":scheme", "http"), (":path", "/api/endpoints/x?name=y")])
    heartbeat = agent.session.open([(":method", "POST"), (":scheme", "http"), (":path", "/api/status")])
    files = agent.session.open([(":method", "POST"), (":scheme", "http"), (":path", "/api/filesystem")])
    for exchange in (heartbeat, files):
        exchange.end()
    await agent.play(spoken("bytes-f2", "hub"))
    assert (await control.response())[0] == 200
    assert (await heartbeat.response())[0] == 201
    assert (await files.response())[0] == 201
    served = Http2Session(control, "server", requests, SessionLimits(), own=False)
    await settle()
    assert [dict(exchange.request)[":path"] for exchange in requests.taken] == ["/api/ping"]
    served.close()
    agent.session.close()


async def test_a_hubs_nested_requests_arrive_on_a_control_session(requests: Requests) -> None:
    agent = Player("server", requests)
    await agent.play(spoken("bytes-f2-ctl", "hub"))
    assert [dict(exchange.request)[":method"] for exchange in requests.taken] == ["GET", "GET", "GET", "POST"]
    assert dict(requests.taken[0].request)[":path"] == "/api/ping"
    assert agent.session.is_open
    agent.session.close()


async def test_a_hubs_app_stream_arrives_on_a_passive_session(requests: Requests) -> None:
    agent = Player("server", requests)
    await agent.play(spoken("bytes-f3-pas", "hub"))
    (exchange,) = requests.taken
    assert dict(exchange.request)[":method"] == "CONNECT"
    assert "username=" in dict(exchange.request)[":path"]
    assert await exchange.read() == b"GET /api/outbound HTTP/1.1\r\n\r\n"
    assert await exchange.read() == b""
    agent.session.close()


async def test_the_recordings_may_arrive_byte_by_byte(requests: Requests) -> None:
    hub = Player("server", requests)
    for byte in b"".join(spoken("bytes-f2", "agent")):
        hub.flow.arrived(bytes([byte]))
    await asyncio.sleep(0)
    await settle()
    assert len(requests.taken) >= 2
    hub.session.close()
