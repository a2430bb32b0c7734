"""The simulated network: links take time, have rates, lose, are cut and heal, and hosts die."""

import asyncio
from datetime import UTC, datetime

import pytest

from ztm.errors import BrokenStreamError, DeadlineError, UnreachableError
from ztm.model import Address
from ztm.net.base import Stream
from ztm.testing import SimNetwork, SimWorld, settle

A, B = "10.0.0.1", "10.0.0.2"
PORT = Address(B, 80)


class Target:
    """Takes connections on host B and keeps them."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()

    async def __call__(self, stream: Stream) -> None:
        self.streams.put_nowait(stream)
        await stream.ended()


@pytest.fixture
def world() -> SimWorld:
    return SimWorld(start=datetime(2030, 5, 1, tzinfo=UTC))


async def connected(world: SimWorld) -> tuple[Stream, Stream]:
    target = Target()
    await world.host(B).listen(Address("0.0.0.0", 80), target)
    near = await world.host(A).dial(PORT)
    return near, await target.streams.get()


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_dialling_takes_a_round_trip_and_bytes_half_of_one(world: SimWorld) -> None:
    world.link(A, B, delay=0.02)
    near, far = await connected(world)
    assert clock() == pytest.approx(0.06)  # the handler runs when the third packet is there
    begin = clock()
    await near.write(b"x")
    assert clock() == begin
    assert await far.read() == b"x"
    assert clock() - begin == pytest.approx(0.02)


async def test_the_wall_clock_goes_with_the_virtual_one(world: SimWorld) -> None:
    host = world.host(A)
    assert host.wall() == datetime(2030, 5, 1, tzinfo=UTC).timestamp()
    await asyncio.sleep(90)
    assert host.wall() == datetime(2030, 5, 1, 0, 1, 30, tzinfo=UTC).timestamp()
    assert host.now() == pytest.approx(90)


async def test_a_rate_is_shared_by_all_connections_of_a_link(world: SimWorld) -> None:
    world.link(A, B, delay=0.01, rate=1_000_000, buffer=4 << 20)
    target = Target()
    await world.host(B).listen(Address(B, 80), target)
    pairs = [(await world.host(A).dial(PORT), await target.streams.get()) for _ in range(2)]
    begin = clock()

    async def send(near: Stream, far: Stream) -> float:
        near.write_now(bytes(500_000))
        near.end()
        while await far.read():
            pass
        return clock() - begin

    times = await asyncio.gather(*(send(*pair) for pair in pairs))
    assert max(times) == pytest.approx(1.01, rel=0.01)


async def test_a_buffer_bounds_what_is_under_way(world: SimWorld) -> None:
    """256 KiB for each round trip of a second."""
    world.link(A, B, delay=0.5, buffer=256 << 10)
    near, far = await connected(world)
    begin = clock()
    near.write_now(bytes(1 << 20))
    near.end()
    while await far.read():
        pass
    assert 3 < clock() - begin < 5


async def test_a_cut_link_is_silent_and_all_arrives_once_it_heals(world: SimWorld) -> None:
    near, far = await connected(world)
    world.cut(A, B)
    for number in range(10):
        await near.write(b"%d" % number)
        await asyncio.sleep(1)
    near.end()
    reading = asyncio.ensure_future(far.read())
    await asyncio.sleep(60)
    assert not reading.done()
    world.heal(A, B)
    seen = await reading
    while data := await far.read():
        seen += data
    assert seen == b"0123456789"


async def test_what_was_under_way_when_the_link_was_cut_is_held_too(world: SimWorld) -> None:
    world.link(A, B, delay=1)
    near, far = await connected(world)
    await near.write(b"x")
    await asyncio.sleep(0.5)
    world.cut(A, B)
    await asyncio.sleep(0.1)
    world.heal(A, B)
    begin = clock()
    assert await far.read() == b"x"
    assert clock() - begin == pytest.approx(1)


async def test_a_dial_over_a_cut_link_meets_its_deadline_or_the_healing(world: SimWorld) -> None:
    await world.host(B).listen(Address(B, 80), Target())
    world.cut(A, B)
    with pytest.raises(DeadlineError, match="within 3 s"):
        await world.host(A).dial(PORT, timeout=3)
    assert clock() == pytest.approx(3)
    dialling = asyncio.ensure_future(world.host(A).dial(PORT))
    await asyncio.sleep(5)
    world.heal(A, B)
    assert not (await dialling).is_over


async def test_an_address_that_no_host_has_never_answers(world: SimWorld) -> None:
    with pytest.raises(DeadlineError):
        await world.host(A).dial(Address("10.9.9.9", 80))
    assert clock() == pytest.approx(10)


async def test_a_name_leads_to_its_host(world: SimWorld) -> None:
    world.names["b.example"] = B
    await world.host(B).listen(Address(B, 80), Target())
    stream = await world.host(A).dial(Address("b.example", 80))
    assert stream.remote == PORT
    with pytest.raises(UnreachableError):
        await world.host(A).dial(Address("c.example", 80))


async def test_a_reset_link_breaks_both_ends_at_once_and_takes_new_connections(world: SimWorld) -> None:
    near, far = await connected(world)
    world.reset(A, B)
    for stream in (near, far):
        with pytest.raises(BrokenStreamError):
            await stream.read()
    assert not (await world.host(A).dial(PORT)).is_over


async def test_a_killed_host_resets_its_connections_and_refuses_new_ones(world: SimWorld) -> None:
    near, far = await connected(world)
    world.kill(B)
    assert far.is_over
    with pytest.raises(BrokenStreamError):
        await near.read()
    with pytest.raises(UnreachableError):
        await world.host(A).dial(PORT)
    target = Target()
    await world.host(B).listen(PORT, target)
    await world.host(A).dial(PORT)
    await target.streams.get()


async def test_the_handlers_of_a_killed_host_are_stopped(world: SimWorld) -> None:
    stopped = asyncio.Event()

    async def accept(stream: Stream) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await world.host(B).listen(PORT, accept)
    await world.host(A).dial(PORT)
    await asyncio.sleep(1)
    world.kill(B)
    await stopped.wait()


async def test_lost_segments_come_late_and_in_order_and_the_same_way_each_time(world: SimWorld) -> None:
    async def transfer(seed: int) -> tuple[bytes, float]:
        world = SimWorld()
        world.link(A, B, delay=0.01, loss=0.3, seed=seed)
        near, far = await connected(world)
        begin = clock()
        sent = bytes(range(256)) * 1000
        near.write_now(sent)
        near.end()
        seen = b""
        while data := await far.read():
            seen += data
        assert seen == sent
        return seen, clock() - begin

    first, again, other = await transfer(1), await transfer(1), await transfer(2)
    assert first[1] == pytest.approx(again[1])
    assert first[1] > 0.2
    assert first[1] != pytest.approx(other[1]) or other[1] > 0.2


def test_loss_without_a_seed_is_refused(world: SimWorld) -> None:
    with pytest.raises(ValueError, match="seed"):
        world.link(A, B, loss=0.1)


async def test_datagrams_are_lost_while_the_link_is_cut_or_bad(world: SimWorld) -> None:
    received: list[bytes] = []
    await world.host(B).listen_datagrams(Address("0.0.0.0", 53), lambda data, source: received.append(data))
    socket = await world.host(A).dial_datagrams(Address(B, 53), lambda data, source: None)
    socket.send(b"one")
    await asyncio.sleep(1)
    world.cut(A, B)
    socket.send(b"two")
    world.heal(A, B)
    await asyncio.sleep(1)
    socket.send(b"three")
    await asyncio.sleep(1)
    assert received == [b"one", b"three"]
    world.link(A, B, loss=0.5, seed=7)
    for _ in range(1000):
        socket.send(b"x")
    await asyncio.sleep(1)
    assert 400 < len(received) < 600


async def test_hosts_have_ports_of_their_own(world: SimWorld) -> None:
    for host in (world.host(A), world.host(B)):
        await host.listen(Address("127.0.0.1", 80), Target())
    assert (await world.host(A).dial(Address("127.0.0.1", 80))).local != PORT
    with pytest.raises(UnreachableError):
        await world.host(A).dial(PORT)


async def test_a_silent_peer_without_tls_is_cut_after_the_handshakes_time(world: SimWorld) -> None:
    from contract.parties import Parties

    parties = Parties.create(datetime(2030, 5, 1, tzinfo=UTC))
    await world.host(B).listen(PORT, Target(), parties.hub, handshakes=1)
    silent = await world.host(A).dial(PORT)
    refused = await world.host(A).dial(PORT)
    with pytest.raises(BrokenStreamError):
        await refused.read()
    assert clock() < 1
    with pytest.raises(BrokenStreamError):
        await silent.read()
    assert clock() == pytest.approx(10, abs=0.1)


async def test_a_host_of_another_implementation_is_not_taken_for_our_own() -> None:
    from contract.parties import Parties

    now = datetime(2030, 5, 1, tzinfo=UTC)
    world, parties, target = SimWorld(start=now), Parties.create(now), Target()
    foreign: SimNetwork = world.host(B, own=False)
    await foreign.listen(PORT, target, parties.hub)
    near = await world.host(A).dial(PORT, parties.alice)
    far = await target.streams.get()
    assert not near.is_own
    assert not far.is_own
    await settle()
