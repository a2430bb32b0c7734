"""UDP ASSOCIATE through the proxy's port: whose datagrams are taken, where they go, and when it is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from app_mesh import read_exactly
from proxy_door import EXIT, HELLO5, Doorway, doorway, wish

from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.apps.proxy.entry.socks5 import address
from ztm.apps.streams.limits import StreamLimits
from ztm.errors import ForbiddenError
from ztm.model import Address
from ztm.net.base import Datagrams, Stream
from ztm.wire.datagram import Decoder, encode


@dataclass
class Association:
    """A client with its UDP port."""

    control: Stream
    port: Address
    socket: Datagrams
    got: "asyncio.Queue[bytes]" = field(default_factory=asyncio.Queue)

    def send(self, host: str, port: int, payload: bytes, fragment: int = 0) -> None:
        self.socket.send(bytes((0, 0, fragment)) + wish(host, port)[3:] + payload)

    async def receive(self) -> tuple[str, int, bytes]:
        data = await self.got.get()
        assert data[:3] == bytes(3)
        found = address(data, 3)
        assert found is not None
        return found[0], found[1], data[found[2] :]


@asynccontextmanager
async def association(here: Doorway, port: int = 0) -> AsyncIterator[Association]:
    control = await here.client(HELLO5 + wish("0.0.0.0", port, 3))
    answer = await read_exactly(control, 12)
    assert answer[:6] == b"\x05\x00\x05\x00\x00\x01"
    found = address(answer, 5)
    assert found is not None
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    socket = await here.network.dial_datagrams(Address(*found[:2]), lambda data, _: queue.put_nowait(data))
    try:
        yield Association(control, Address(*found[:2]), socket, queue)
    finally:
        socket.close()


async def test_datagrams_go_to_many_destinations_and_their_answers_come_back() -> None:
    async with doorway() as here:
        target = await here.datagram_echo()
        here.way.names["name.test"] = target
        async with association(here) as client:
            assert client.port.host == here.address.host
            for host in ("127.0.0.1", "Name.test", "127.0.0.1"):
                client.send(host, target.port, b"some words")
                assert await client.receive() == (host, target.port, b"SOME WORDS")
            assert here.way.asked == [("127.0.0.1", target.port), ("name.test", target.port)]
            client.control.end()
        await here.audited(2)
        assert {(trail.action, trail.target) for trail in here.audit.trails} == {("associate", EXIT)}
        assert sorted(trail.meter.sent for trail in here.audit.trails) == [10, 20]
        assert sorted(trail.meter.received for trail in here.audit.trails) == [10, 20]


async def test_large_datagrams_pass() -> None:
    async with doorway() as here:
        target = await here.datagram_echo()
        async with association(here) as client:
            payload = b"x" * (65507 - 10)
            client.send("127.0.0.1", target.port, payload)
            assert (await client.receive())[2] == payload.upper()


async def test_an_answer_too_large_for_its_head_is_dropped_and_harms_no_other() -> None:
    async with doorway() as here:

        async def serve(stream: Stream) -> None:
            decoder = Decoder()
            while data := await stream.read():
                for datagram in decoder.feed(data):
                    await stream.write(encode(b"x" * int(datagram)))

        target = await here.listen(serve)
        async with association(here) as client:
            for size in (65507, 65507 - 9, 1000):
                client.send("127.0.0.1", target.port, b"%d" % size)
            assert len((await client.receive())[2]) == 1000


async def test_fragments_empty_and_malformed_datagrams_are_dropped() -> None:
    async with doorway() as here:
        target = await here.datagram_echo()
        async with association(here) as client:
            client.send("127.0.0.1", target.port, b"fragment", fragment=1)
            client.send("127.0.0.2", target.port, b"")
            client.send("no host", target.port, b"x")
            client.send("127.0.0.1", 0, b"x")
            for junk in (
                b"",
                b"\x00",
                b"\x00\x00\x00",
                b"\x00\x00\x00\x09abc",
                b"\x01\x00\x00\x01" + bytes(7),
                b"\x00\x00\x00\x03\xffab",
            ):
                client.socket.send(junk)
            client.send("127.0.0.1", target.port, b"whole")
            assert (await client.receive())[2] == b"WHOLE"
            assert len(here.way.asked) == 1


async def test_datagrams_of_others_are_dropped() -> None:
    async with doorway() as here:
        target = await here.datagram_echo()
        async with association(here) as client:
            for host in ("127.0.0.2", "127.0.0.1"):  # another machine at first, then another program of this one
                other = await here.network.listen_datagrams(Address(host, 0), lambda *_: pytest.fail("answered"))
                other.send(bytes(3) + wish("127.0.0.9", target.port)[3:] + b"not the client's", client.port)
                client.send("127.0.0.1", target.port, b"the client's")
                assert (await client.receive())[2] == b"THE CLIENT'S"
                other.close()
            assert here.way.asked == [("127.0.0.1", target.port)]


async def test_the_port_that_the_client_named_is_the_only_one_taken() -> None:
    async with doorway() as here:
        target = await here.datagram_echo()
        named = await here.network.listen_datagrams(Address("127.0.0.1", 0), lambda data, _: got.set_result(data))
        got = asyncio.get_running_loop().create_future()
        async with association(here, named.address.port) as client:
            client.send("127.0.0.1", target.port, b"from another port")
            named.send(bytes(3) + wish("127.0.0.1", target.port)[3:] + b"named", client.port)
            assert (await got).endswith(b"NAMED")
        named.close()


async def test_a_refused_destination_is_not_asked_for_with_every_datagram_and_harms_no_other() -> None:
    async with doorway() as here:
        here.way.errors["x.test"] = ForbiddenError("denied")
        target = await here.datagram_echo()
        async with association(here) as client:
            client.send("x.test", 53, b"one")
            await here.audited(1)
            for _ in range(5):
                client.send("x.test", 53, b"more")
            client.send("127.0.0.1", target.port, b"fine")
            assert (await client.receive())[2] == b"FINE"
            assert here.way.asked.count(("x.test", 53)) == 1
            assert not here.audit.trails[0].is_allowed


async def test_it_ends_with_the_tcp_connection() -> None:
    async with doorway() as here:
        target = await here.datagram_echo()
        for leave in ("end", "abort"):
            async with association(here) as client:
                client.send("127.0.0.1", target.port, b"x")
                await client.receive()
                getattr(client.control, leave)()
                await here.way.opened[-1].ended()
        await here.audited(2)


async def test_one_destination_more_than_there_may_be_ends_the_one_that_was_silent_longest() -> None:
    async with doorway(DoorLimits(destinations=2, linger_seconds=0.1)) as here:
        targets = [await here.datagram_echo() for _ in range(3)]
        async with association(here) as client:
            for n in (0, 1, 0, 2):
                client.send("127.0.0.1", targets[n].port, b"x")
                await client.receive()
            await here.way.opened[1].ended()
            assert not here.way.opened[0].is_over
            assert not here.way.opened[2].is_over


async def test_a_silent_destination_is_forgotten_and_asked_for_again() -> None:
    limits = DoorLimits(datagrams=StreamLimits(idle_seconds=0.05, linger_seconds=0.05))
    async with doorway(limits) as here:
        target = await here.datagram_echo()
        async with association(here) as client:
            for count in (1, 2):
                client.send("127.0.0.1", target.port, b"x")
                assert (await client.receive())[2] == b"X"
                await here.audited(count)
            assert len(here.way.asked) == 2
