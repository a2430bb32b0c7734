"""The recorded first bytes of real connections, played to the sessions of every implementation.

The agent's side is v1's own; the hub's side is a test hub on a general HTTP/2 library.
"""

import asyncio

import pytest

from recorded import ENDPOINT, spoken
from ztm.net.base import Exchange, Network, Session, Stream

from .parties import CONNECT, Ends, listening, read_all

ACCEPTED = ((":method", "CONNECT"), (":scheme", "http"), (":path", "/api/apps/ztm/tunnel"))


class Scene:
    """A session over one end of a connection; a recording speaks at the other."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.taken: asyncio.Queue[Exchange] = asyncio.Queue()
        self.recording: Stream

    async def answer(self, exchange: Exchange) -> None:
        self.taken.put_nowait(exchange)
        await exchange.ended()

    async def next(self) -> Exchange:
        async with asyncio.timeout(5):
            return await self.taken.get()

    async def begin(self, role: str) -> Session:
        ends = Ends()
        async with listening(self.net, ends.accept) as address:
            stream = await self.net.dial(address)
            self.recording = await ends.next()
        if role == "client":
            return self.net.session(stream, "client")
        return self.net.session(stream, "server", answer=self.answer)

    async def play(self, said: list[bytes]) -> None:
        for part in said:
            await self.recording.write(part)


@pytest.fixture
async def scene(net: Network) -> Scene:
    return Scene(net)


async def test_an_agents_control_session_and_heartbeat_are_taken(scene: Scene) -> None:
    hub = await scene.begin("server")
    await scene.play(spoken("bytes-f2", "agent"))
    control, heartbeat = await scene.next(), await scene.next()
    assert tuple(control.request) == (
        (":method", "CONNECT"),
        (":scheme", "http"),
        (":path", f"/api/endpoints/{ENDPOINT}?name=vec%20ep"),
    )
    assert dict(heartbeat.request)[":method"] == "POST"
    assert dict(heartbeat.request)[":path"] == "/api/status"
    assert hub.is_open
    hub.close()


async def test_an_agents_passive_session_carries_its_nested_one(scene: Scene) -> None:
    hub = await scene.begin("server")
    first, *later = spoken("bytes-f3", "agent")
    await scene.play([first])
    passive = await scene.next()
    assert dict(passive.request)[":path"].startswith(f"/api/endpoints/{ENDPOINT}?sid=")
    passive.respond(200)
    nested = scene.net.session(passive, "client")
    exchange = nested.open(ACCEPTED)
    await scene.play(later)
    assert (await exchange.response())[0] == 200
    nested.close()
    hub.close()


async def test_an_agents_answers_are_understood(scene: Scene) -> None:
    hub = await scene.begin("client")
    paths = ("/api/ping", "/api/log", "/api/apps")
    asked = [hub.open([(":method", "GET"), (":scheme", "http"), (":path", path)], end=True) for path in paths]
    await scene.play(spoken("bytes-f2-ctl", "agent"))
    assert await asked[0].response() == (200, [(":status", "200"), ("content-type", "application/json")])
    assert ENDPOINT.encode() in await read_all(asked[0])
    assert (await asked[1].response())[0] == 200
    assert hub.is_open
    hub.close()


async def test_an_agents_app_stream_carries_bytes_both_ways_and_ends(scene: Scene) -> None:
    hub = await scene.begin("client")
    exchange = hub.open(ACCEPTED)
    await exchange.write(b"GET /api/outbound HTTP/1.1\r\n\r\n")
    exchange.end()
    await scene.play(spoken("bytes-f3-pas", "agent"))
    assert (await exchange.response())[0] == 200
    seen = await read_all(exchange)
    assert seen.startswith(b"HTTP/1.1 200 OK\r\n")
    assert seen.endswith(b"\r\n\r\n[]")
    await exchange.ended()
    hub.close()


async def test_a_hubs_answers_and_its_nested_requests_are_understood(scene: Scene) -> None:
    agent = await scene.begin("client")
    control = agent.open(CONNECT)
    posted = [
        agent.open([(":method", "POST"), (":scheme", "http"), (":path", path)], end=True)
        for path in ("/api/status", "/api/filesystem")
    ]
    await scene.play(spoken("bytes-f2", "hub"))
    assert (await control.response())[0] == 200
    assert [(await each.response())[0] for each in posted] == [201, 201]
    served = scene.net.session(control, "server", answer=scene.answer)
    assert dict((await scene.next()).request)[":path"] == "/api/ping"
    served.close()
    agent.close()


async def test_a_hubs_requests_on_a_control_session_arrive_in_order(scene: Scene) -> None:
    agent = await scene.begin("server")
    await scene.play(spoken("bytes-f2-ctl", "hub"))
    requests = [dict((await scene.next()).request) for _ in range(4)]
    assert [each[":method"] for each in requests] == ["GET", "GET", "GET", "POST"]
    assert requests[0][":path"] == "/api/ping"
    assert agent.is_open
    agent.close()


async def test_a_hubs_app_stream_on_a_passive_session_arrives(scene: Scene) -> None:
    agent = await scene.begin("server")
    await scene.play(spoken("bytes-f3-pas", "hub"))
    exchange = await scene.next()
    assert dict(exchange.request)[":method"] == "CONNECT"
    assert "username=" in dict(exchange.request)[":path"]
    assert await read_all(exchange) == b"GET /api/outbound HTTP/1.1\r\n\r\n"
    agent.close()


@pytest.mark.parametrize("cut", [1, 7], ids=["byte by byte", "seven bytes each"])
async def test_a_recording_may_arrive_in_any_pieces(scene: Scene, cut: int) -> None:
    hub = await scene.begin("server")
    whole = b"".join(spoken("bytes-f2", "agent"))
    await scene.play([whole[at : at + cut] for at in range(0, len(whole), cut)])
    assert [dict((await scene.next()).request)[":method"] for _ in range(2)] == ["CONNECT", "POST"]
    hub.close()
