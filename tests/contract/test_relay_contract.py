"""What every implementation promises of a UDP session between a socket and a stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.base import Datagrams, Exchange, Network, Relaying, Stream
from ztm.testing import settle
from ztm.wire.datagram import MAX_PAYLOAD, Decoder, encode

from .parties import ANYWHERE, Ends, listening, read_all, rest, session_pair, until, until_stuck


@dataclass(frozen=True, kw_only=True)
class Limits:
    idle_seconds: float = 60.0
    linger_seconds: float = 60.0
    queued_datagrams: int = 256
    queued_bytes: int = 1 << 20


@dataclass
class Party:
    """A UDP socket, and what came to it that no session took."""

    socket: Datagrams
    came: "asyncio.Queue[tuple[bytes, Address]]" = field(default_factory=asyncio.Queue)


async def opened(net: Network, to: Address | None = None) -> Party:
    """A socket that listens, or one that talks to `to`."""
    queue: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()

    def received(data: bytes, sender: Address) -> None:
        queue.put_nowait((data, sender))

    made = net.listen_datagrams(ANYWHERE, received) if to is None else net.dial_datagrams(to, received)
    return Party(await made, queue)


@dataclass
class Relayed:
    """A session of `client`, which sends to `port`; `far` is the other end of the stream."""

    port: Party
    client: Party
    near: Stream
    far: Stream
    relaying: Relaying
    over: asyncio.Task[None]
    _decoder: Decoder = field(default_factory=Decoder)
    _whole: list[bytes] = field(default_factory=list)

    async def next(self) -> bytes:
        """The next datagram that comes out of the stream."""
        async with asyncio.timeout(10):
            while not self._whole:
                self._whole += self._decoder.feed(await self.far.read())
        return self._whole.pop(0)

    async def ended(self) -> str:
        async with asyncio.timeout(10):
            await self.over
        return self.relaying.ending


@asynccontextmanager
async def streams(net: Network, ends: Ends, kind: str) -> AsyncIterator[tuple[Stream, Stream]]:
    """Both ends of a TCP connection, or of a stream of a session."""
    if kind == "tcp":
        async with listening(net, ends.accept) as address:
            yield await net.dial(address), await ends.next()
        return
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        exchange.respond(200)
        accepted.set_result(exchange)
        await done.wait()

    async with session_pair(net, answer) as (client, _):
        exchange = client.open([(":method", "CONNECT"), (":path", "/")])
        await exchange.response()
        yield exchange, await accepted
        done.set()


@asynccontextmanager
async def session(
    net: Network, ends: Ends, limits: Limits | None = None, *, kind: str = "session", early: tuple[bytes, ...] = ()
) -> AsyncIterator[Relayed]:
    async with streams(net, ends, kind) as (near, far):
        port = await opened(net)
        client = await opened(net, port.socket.address)
        client.socket.send(b"first")
        async with asyncio.timeout(10):
            _, sender = await port.came.get()
        relaying = net.relay(port.socket, sender, near, limits or Limits(), early)
        over = asyncio.get_running_loop().create_task(relaying.ended())
        await settle()
        yield Relayed(port, client, near, far, relaying, over)
        relaying.abort("the test is over")
        await asyncio.wait((over,))
        port.socket.close()
        client.socket.close()


@pytest.mark.parametrize("kind", ["tcp", "session"])
async def test_datagrams_of_every_size_are_frames_on_the_stream_and_come_back(
    net: Network, ends: Ends, kind: str
) -> None:
    async with session(net, ends, kind=kind) as held:
        for size in (1, 125, 126, 1400, 16384, MAX_PAYLOAD):
            data = bytes([size % 251]) * size
            held.client.socket.send(data)
            assert await held.next() == data
            await held.far.write(encode(data))
            async with asyncio.timeout(10):
                assert (await held.client.came.get())[0] == data
        assert held.relaying.taken.bytes == held.relaying.given.bytes > MAX_PAYLOAD
        assert held.port.came.empty()
        assert not held.relaying.is_over


async def test_a_dialled_socket_is_carried_whole(net: Network, ends: Ends) -> None:
    async with streams(net, ends, "session") as (near, far):
        target = await opened(net)
        socket = (await opened(net, target.socket.address)).socket
        relaying = net.relay(socket, None, near, Limits())
        over = asyncio.get_running_loop().create_task(relaying.ended())
        await far.write(encode(b"ping"))
        async with asyncio.timeout(10):
            data, sender = await target.came.get()
            assert (data, sender) == (b"ping", socket.address)
            target.socket.send(b"pong", sender)
            assert Decoder().feed(await far.read()) == [b"pong"]
            far.end()
            await over
        assert (relaying.given.bytes, relaying.taken.bytes, relaying.ending) == (4, 4, "")
        socket.close()
        target.socket.close()


async def test_what_came_before_goes_first_and_is_not_counted(net: Network, ends: Ends) -> None:
    async with session(net, ends, early=(b"one", b"two")) as held:
        held.client.socket.send(b"three")
        assert [await held.next() for _ in range(3)] == [b"one", b"two", b"three"]
        assert held.relaying.taken.bytes == 5


async def test_other_senders_are_told_of_as_before(net: Network, ends: Ends) -> None:
    async with session(net, ends) as held:
        other = await opened(net, held.port.socket.address)
        other.socket.send(b"who am I")
        async with asyncio.timeout(10):
            assert (await held.port.came.get())[0] == b"who am I"
        held.client.socket.send(b"mine")
        assert await held.next() == b"mine"
        other.socket.close()


async def test_two_sessions_of_one_socket_keep_apart(net: Network, ends: Ends) -> None:
    async with session(net, ends) as held, streams(net, ends, "tcp") as (near, far):
        other = await opened(net, held.port.socket.address)
        other.socket.send(b"hello")
        async with asyncio.timeout(10):
            _, sender = await held.port.came.get()
        second = net.relay(held.port.socket, sender, near, Limits())
        over = asyncio.get_running_loop().create_task(second.ended())
        await settle()
        await held.far.write(encode(b"for the first"))
        await far.write(encode(b"for the second"))
        async with asyncio.timeout(10):
            assert (await held.client.came.get())[0] == b"for the first"
            assert (await other.came.get())[0] == b"for the second"
        second.abort()
        await asyncio.wait((over,))
        assert second.ending == "cut by this side"
        assert not held.relaying.is_over
        other.socket.close()


async def test_the_end_of_the_stream_is_the_end_and_the_next_datagram_is_a_new_session(
    net: Network, ends: Ends
) -> None:
    async with session(net, ends) as held:
        held.far.end()
        assert await held.ended() == ""
        assert await rest(held.far) == b""
        assert held.relaying.is_over
        held.client.socket.send(b"again")
        async with asyncio.timeout(10):
            assert (await held.port.came.get())[0] == b"again"


async def test_a_silent_session_ends_its_side_and_the_next_datagram_is_a_new_one(net: Network, ends: Ends) -> None:
    async with session(net, ends, Limits(idle_seconds=0.1)) as held:
        async with asyncio.timeout(10):
            assert await held.far.read() == b""
        assert held.relaying.is_over
        held.client.socket.send(b"again")
        async with asyncio.timeout(10):
            assert (await held.port.came.get())[0] == b"again"
        assert not held.over.done()
        held.far.end()
        assert await held.ended() == "idle"


@pytest.mark.parametrize("is_back", [False, True])
async def test_datagrams_either_way_keep_a_session_alive(net: Network, ends: Ends, is_back: bool) -> None:
    async with session(net, ends, Limits(idle_seconds=1.0)) as held:
        begin = net.now()
        while net.now() < begin + 2.0:
            if is_back:
                await held.far.write(encode(b"x"))
            else:
                held.client.socket.send(b"x")
            await asyncio.sleep(0.1)  # there is nothing to wait for but time
            assert not held.relaying.is_over
        assert is_back == (held.relaying.silence > 1.5)


async def test_a_peer_that_never_ends_its_side_is_cut(net: Network, ends: Ends) -> None:
    async with session(net, ends, Limits(idle_seconds=0.05, linger_seconds=0.05)) as held:
        assert await held.ended() == "idle"
        async with asyncio.timeout(10):
            await held.near.ended()
        with pytest.raises(BrokenStreamError, match="idle"):
            await held.near.read()


async def test_aborting_cuts_the_stream_and_says_why(net: Network, ends: Ends) -> None:
    async with session(net, ends) as held:
        held.relaying.abort("not any more")
        held.relaying.abort("too late")
        assert held.relaying.is_over
        assert await held.ended() == "not any more"
        with pytest.raises(BrokenStreamError, match="not any more"):
            await held.near.read()
        async with asyncio.timeout(10):
            with pytest.raises(BrokenStreamError):
                await read_all(held.far)


async def test_a_cut_of_the_stream_is_the_end(net: Network, ends: Ends) -> None:
    async with session(net, ends) as held:
        held.far.abort()
        assert await held.ended() == ""
        assert held.relaying.is_over


async def test_a_stream_of_something_else_is_cut(net: Network, ends: Ends) -> None:
    async with session(net, ends) as held:
        await held.far.write(b"\xc2\x01x")
        reason = "not a datagram stream: reserved bits are set in a frame header"
        assert await held.ended() == reason
        with pytest.raises(BrokenStreamError, match=reason):
            await held.near.read()


async def test_cancelling_ends_the_session_and_the_own_side(net: Network, ends: Ends) -> None:
    async with session(net, ends) as held:
        held.over.cancel()
        await asyncio.wait((held.over,))
        assert held.over.cancelled()
        assert held.relaying.is_over
        async with asyncio.timeout(10):
            assert await held.far.read() == b""


async def test_what_a_stuck_stream_does_not_take_is_dropped_and_what_was_counted_arrives_whole(
    net: Network, ends: Ends
) -> None:
    async with session(net, ends, Limits(queued_datagrams=8)) as held:
        sent = 0
        for number in range(3000):
            held.client.socket.send(number.to_bytes(4, "big") * 250)
            sent += 1000
            if number % 20 == 0:
                await asyncio.sleep(0)
        seen = [0]

        async def look() -> None:
            while True:
                seen[0] = held.relaying.taken.bytes
                await asyncio.sleep(0.01)

        looking = asyncio.get_running_loop().create_task(look())
        taken = await until_stuck(seen)
        looking.cancel()
        assert 0 < taken < sent
        came = [await held.next() for _ in range(taken // 1000)]
        numbers = [int.from_bytes(data[:4], "big") for data in came]
        assert [number.to_bytes(4, "big") * 250 for number in numbers] == came
        assert numbers == sorted(set(numbers))
        held.client.socket.send(b"room again")
        assert await held.next() == b"room again"
        await until(lambda: held.relaying.taken.bytes == taken + len(b"room again"))
