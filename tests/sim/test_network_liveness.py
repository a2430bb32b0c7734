"""Sessions over time: pings, silent links, late prefaces, long fat links; all in virtual time."""

import asyncio

import pytest
from hyperframe.frame import PingFrame, SettingsFrame

from http2_peer import CONNECT, GET, OK, PREFACE, ForeignPeer, Requests, is_set, of_type, ping
from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.base import Exchange, Session, Stream
from ztm.testing import SimWorld

A, B = "10.0.0.1", "10.0.0.2"
PORT = Address(B, 443)


async def echo(exchange: Exchange) -> None:
    exchange.respond(200)
    while data := await exchange.read():
        await exchange.write(data)


async def sessions(world: SimWorld) -> tuple[Session, Session]:
    made: asyncio.Future[Session] = asyncio.get_running_loop().create_future()

    async def accept(stream: Stream) -> None:
        session = world.host(B).session(stream, "server", answer=echo, own=True)
        made.set_result(session)
        await session.closed()

    await world.host(B).listen(PORT, accept)
    client = world.host(A).session(await world.host(A).dial(PORT), "client", own=True)
    return client, await made


async def pass_time(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def test_both_ends_ping_every_five_seconds_and_learn_the_round_trip() -> None:
    world = SimWorld()
    world.link(A, B, delay=0.05)
    client, server = await sessions(world)
    assert client.round_trip is None
    await pass_time(6)
    assert client.round_trip == pytest.approx(0.1)
    assert server.round_trip == pytest.approx(0.1)
    world.link(A, B, delay=0.2)
    await pass_time(6)
    assert client.round_trip == pytest.approx(0.4)


async def test_an_idle_session_lives_for_ever() -> None:
    client, server = await sessions(SimWorld())
    await pass_time(6 * 3600)
    assert client.is_open
    assert server.is_open
    assert client.silence < 0.01


async def test_a_silent_link_is_noticed_by_both_ends_within_thirty_seconds() -> None:
    world = SimWorld()
    client, server = await sessions(world)
    exchange = client.open(CONNECT)
    await exchange.response()
    await pass_time(60)
    world.cut(A, B)
    async with asyncio.timeout(30):
        reasons = await asyncio.gather(client.closed(), server.closed())
    assert all("silent" in reason for reason in reasons)
    with pytest.raises(BrokenStreamError, match="silent"):
        await exchange.read()


async def test_silence_shows_before_it_ends_the_session_and_is_over_when_the_link_heals() -> None:
    world = SimWorld()
    client, _ = await sessions(world)
    await pass_time(31)
    world.cut(A, B)
    await pass_time(12)
    assert client.is_open
    assert client.silence > 5
    world.heal(A, B)
    await pass_time(1)
    assert client.silence == 0
    await pass_time(600)
    assert client.is_open


async def test_a_busy_session_over_a_cut_link_ends_too() -> None:
    world = SimWorld()
    client, server = await sessions(world)
    exchange = client.open(CONNECT)
    writing = asyncio.ensure_future(write_for_ever(exchange))
    reading = asyncio.ensure_future(read_for_ever(exchange))
    await pass_time(3)
    world.cut(A, B)
    async with asyncio.timeout(30):
        await asyncio.gather(client.closed(), server.closed())
    for task in (writing, reading):
        with pytest.raises(BrokenStreamError):
            await task


async def write_for_ever(stream: Stream) -> None:
    while True:
        await stream.write(bytes(10_000))
        await asyncio.sleep(0.01)


async def read_for_ever(stream: Stream) -> None:
    while await stream.read():
        pass


async def test_a_peer_that_stops_answering_pings_but_still_talks_is_not_silent() -> None:
    """v1 answers every PING; but one that is late must not end a session that carries data."""
    peer = ForeignPeer("server", Requests())
    for _ in range(100):
        await pass_time(2)
        peer.say(ping())
    assert peer.session.is_open
    assert sum(not is_set(frame, "ACK") for frame in of_type(peer.heard(), PingFrame)) == 1
    peer.session.close()


async def test_pings_go_out_every_five_seconds_with_eight_bytes() -> None:
    peer = ForeignPeer("client")
    sent = []
    for _ in range(20):
        await pass_time(5.01)
        for frame in of_type(await peer.hears(), PingFrame):
            sent.append(bytes(frame.opaque_data))
            answer = PingFrame(0, opaque_data=frame.opaque_data)
            answer.flags.add("ACK")
            peer.say(answer)
    assert sent == [bytes(8)] * 20
    peer.session.close()


async def test_a_preface_may_come_late() -> None:
    """v1 hubs send it on a nested session only with their first request (spec 4.1)."""
    requests = Requests()
    peer = ForeignPeer("server", requests, preface=False)
    await pass_time(19)
    peer.say(PREFACE, SettingsFrame(0), peer.head(1, GET, end=True))
    await pass_time(0.1)
    requests.last.respond(200)
    requests.last.end()
    heads = [frame for frame in await peer.hears() if frame.type == 1]
    assert peer.fields(heads[0]) == list(OK)  # type: ignore[arg-type]
    peer.session.close()


async def test_a_servers_settings_may_come_late() -> None:
    peer = ForeignPeer("client", preface=False)
    exchange = peer.session.open(GET, end=True)
    await pass_time(15)
    peer.say(SettingsFrame(0), peer.head(1, OK, end=True))
    assert (await exchange.response())[0] == 200
    peer.session.close()


async def test_a_long_fat_link_is_filled_between_our_own_peers() -> None:
    """20 ms each way at 25 MB/s holds 1 MB: the window must not be the bound."""
    world = SimWorld()
    world.link(A, B, delay=0.02, rate=25e6, buffer=4 << 20)
    client, _ = await sessions(world)
    await pass_time(6)
    exchange = client.open(CONNECT)
    size = 100_000_000
    begin = asyncio.get_running_loop().time()
    writing = asyncio.ensure_future(write_all(exchange, size))
    count = 0
    while data := await exchange.read():
        count += len(data)
    await writing
    assert count == size
    assert size / (asyncio.get_running_loop().time() - begin) > 20e6


async def write_all(stream: Stream, size: int) -> None:
    for _ in range(size // 50_000):
        await stream.write(bytes(50_000))
    stream.end()


async def test_a_request_gets_through_quickly_while_bulk_data_fills_the_link() -> None:
    world = SimWorld()
    world.link(A, B, delay=0.02, rate=25e6, buffer=1 << 20)
    client, _ = await sessions(world)
    bulk = client.open(CONNECT)
    writing = asyncio.ensure_future(write_busily(bulk))
    reading = asyncio.ensure_future(read_for_ever(bulk))
    await pass_time(2)
    begin = asyncio.get_running_loop().time()
    assert (await client.open(CONNECT).response())[0] == 200
    assert asyncio.get_running_loop().time() - begin < 0.2
    writing.cancel()
    reading.cancel()


async def write_busily(stream: Stream) -> None:
    while True:
        await stream.write(bytes(50_000))


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_cancelling_a_splice_at_any_moment_leaves_nothing_open(steps: int) -> None:
    world = SimWorld()
    client, server = await sessions(world)
    ends: list[Stream] = []

    async def target(stream: Stream) -> None:
        ends.append(stream)
        while data := await stream.read():
            await stream.write(data)

    await world.host(A).listen(Address("127.0.0.1", 80), target)

    async def relay() -> None:
        exchange = client.open(CONNECT)
        exchange.write_now(b"early")
        await exchange.response()
        onward = await world.host(A).dial(Address("127.0.0.1", 80))
        await world.host(A).splice(exchange, onward)

    task = asyncio.ensure_future(relay())
    for _ in range(steps):
        await asyncio.sleep(0.0001)
    task.cancel()
    await asyncio.wait([task])
    await pass_time(1)
    if steps > 30:
        assert ends
        assert all(stream.is_over for stream in ends)
        assert client.streams == server.streams == 0


async def test_a_stream_that_was_answered_and_that_the_peer_never_ends_is_cut_after_a_while() -> None:
    async def answer(exchange: Exchange) -> None:
        exchange.respond(200, end=True)

    peer = ForeignPeer("server", answer)
    peer.say(peer.head(1, CONNECT))
    await pass_time(10.0)
    assert peer.session.streams == 1, "the peer has time to end it"
    for _ in range(5):
        await pass_time(5.0)
        peer.say(ping())
    assert peer.session.streams == 0
    assert peer.session.is_open
    peer.session.close()
