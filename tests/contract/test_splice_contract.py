"""Splices and back-pressure: what every implementation promises about joined streams."""

import asyncio

import pytest

from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.base import MAX_HELD, Exchange, Meter, Network, Stream

from .parties import (
    CONNECT,
    Ends,
    Parties,
    echo,
    echo_exchange,
    fill,
    listening,
    read_all,
    read_exactly,
    session_pair,
    until,
    until_stuck,
)

SLACK = 16 << 20
"""What the kernel may hold besides: its socket buffers grow to about 4 MiB on each side of loopback, three times."""


class Relay:
    """Joins each stream it accepts to a new one to `to`; keeps what became of the splice."""

    def __init__(self, net: Network, to: Address, meter: Meter | None = None) -> None:
        self.net = net
        self.to = to
        self.meter = meter
        self.outcome: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None

    async def accept(self, stream: Stream) -> None:
        self.task = asyncio.current_task()
        onward = await self.net.dial(self.to)
        try:
            await self.net.splice(stream, onward, self.meter)
        except (BrokenStreamError, asyncio.CancelledError) as error:
            self.outcome.set_result(error)
            raise
        self.outcome.set_result(None)


async def test_bytes_and_both_ends_pass_and_are_counted(net: Network) -> None:
    async with listening(net, echo) as target:
        relay = Relay(net, target, meter := Meter())
        async with listening(net, relay.accept) as entrance:
            stream = await net.dial(entrance)
            await stream.write(b"there and back")
            assert await read_exactly(stream, 14) == b"there and back"
            assert (meter.sent, meter.received) == (14, 14)
            stream.end()
            assert await read_all(stream) == b""
            assert await relay.outcome is None


async def test_one_half_ends_while_the_other_goes_on(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as target:
        relay = Relay(net, target)
        async with listening(net, relay.accept) as entrance:
            near = await net.dial(entrance)
            far = await ends.next()
            near.end()
            assert await far.read() == b""
            await far.write(b"still")
            assert await read_exactly(near, 5) == b"still"
            await far.write(b" here")
            far.end()
            assert await read_all(near) == b" here"
            assert await relay.outcome is None


async def test_a_cut_on_one_side_is_a_cut_on_the_other(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as target:
        relay = Relay(net, target)
        async with listening(net, relay.accept) as entrance:
            near = await net.dial(entrance)
            far = await ends.next()
            near.abort()
            with pytest.raises(BrokenStreamError):
                await far.read()
            assert isinstance(await relay.outcome, BrokenStreamError)


async def test_a_cut_after_one_end_is_a_cut_on_the_other_side_too(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as target:
        relay = Relay(net, target)
        async with listening(net, relay.accept) as entrance:
            near = await net.dial(entrance)
            far = await ends.next()
            near.end()
            assert await far.read() == b""
            far.abort()
            with pytest.raises(BrokenStreamError):
                await near.read()
            assert isinstance(await relay.outcome, BrokenStreamError)


async def test_a_stream_that_ended_and_was_cut_before_the_splice_cuts_the_other(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near, other = await net.dial(address), await net.dial(address)
        far, far_other = await ends.next(), await ends.next()
        near.end()
        assert await far.read() == b""
        far.abort()
        with pytest.raises(BrokenStreamError):
            await net.splice(far, far_other)
        with pytest.raises(BrokenStreamError):  # the end came first; a cut after it shows when writing
            await fill(other, [0])


async def test_cancelling_a_splice_cuts_both_sides(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as target:
        relay = Relay(net, target)
        async with listening(net, relay.accept) as entrance:
            near = await net.dial(entrance)
            far = await ends.next()
            await near.write(b"x")
            assert await far.read() == b"x"
            assert relay.task is not None
            relay.task.cancel()
            for stream in (near, far):
                with pytest.raises(BrokenStreamError):
                    await stream.read()


async def test_bytes_that_were_read_ahead_go_first(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near, onward = await net.dial(address), await net.dial(address)
        far, target = await ends.next(), await ends.next()
        await near.write(b"headbody")
        assert await read_exactly(far, 8) == b"headbody"
        far.unread(b"body")
        await near.write(b" and more")
        splicing = asyncio.ensure_future(net.splice(far, onward))
        assert await read_exactly(target, 13) == b"body and more"
        near.end()
        target.end()
        await splicing


async def test_a_pipe_carries_early_data_before_anyone_awaits_it(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near, onward = await net.dial(address), await net.dial(address)
        far, target = await ends.next(), await ends.next()
        meter = Meter()
        meter.sent = 100
        await near.write(b"early")
        onward.write_now(b"head:")
        joining = net.pipe(far, onward, meter)
        assert await read_exactly(target, 10) == b"head:early"
        assert (meter.sent, meter.received) == (105, 0)
        near.end()
        assert await target.read() == b""
        await target.write(b"late and")
        assert await read_exactly(onward, 5) == b"late "
        joined = asyncio.ensure_future(joining.joined(meter))
        assert await read_exactly(near, 3) == b"and"
        target.end()
        await joined
        assert (meter.sent, meter.received) == (105, 3)


async def test_a_reader_that_stops_makes_the_writer_wait_and_gets_all_once_it_goes_on(
    net: Network, parties: Parties
) -> None:
    """Client, entrance, session, exit and target: the whole way of a tunnel, with two hops of ours between."""
    reading = asyncio.Event()
    received = [0]

    async def target(stream: Stream) -> None:
        await reading.wait()
        while data := await stream.read():
            received[0] += len(data)

    async with (
        listening(net, target) as address,
        session_pair(net, lambda exchange: _exit(net, exchange, address), parties) as (client, _),
        listening(net, lambda stream: net.splice(stream, client.open(CONNECT))) as entrance,
    ):
        stream = await net.dial(entrance)
        written = [0]
        writing = asyncio.ensure_future(fill(stream, written))
        stuck = await until_stuck(written)
        assert stuck <= 2 * MAX_HELD + SLACK
        reading.set()
        await until(lambda: received[0] >= stuck + (16 << 20))
        writing.cancel()
        stream.abort()


async def _exit(net: Network, exchange: Exchange, address: Address) -> None:
    onward = await net.dial(address)
    exchange.respond(200)
    await net.splice(exchange, onward)


async def test_one_process_holds_at_most_its_bound_for_a_stalled_stream(net: Network, parties: Parties) -> None:
    async with session_pair(net, _stall, parties) as (client, server):
        exchange = client.open(CONNECT)
        written = [0]
        writing = asyncio.ensure_future(fill(exchange, written))
        stuck = await until_stuck(written)
        assert 512 << 10 <= stuck <= MAX_HELD  # what the receiver holds, as nothing else is in its way
        writing.cancel()
        exchange.abort()
        await until(lambda: not server.streams)
        assert server.held == 0  # type: ignore[attr-defined]


async def _stall(exchange: Exchange) -> None:
    exchange.respond(200)
    await exchange.ended()


async def test_a_stalled_stream_does_not_stop_its_neighbours(net: Network, parties: Parties) -> None:
    async def answer(exchange: Exchange) -> None:
        await (_stall if dict(exchange.request)[":path"] == "/stall" else echo_exchange)(exchange)

    async with session_pair(net, answer, parties) as (client, _):
        written = [0]
        stalled = client.open(((":method", "CONNECT"), (":scheme", "http"), (":path", "/stall")))
        filling = asyncio.ensure_future(fill(stalled, written))
        await until_stuck(written, 0.1)
        sent = bytes(range(256)) * 16_384  # four times the window
        neighbour = client.open(CONNECT)
        writing = asyncio.ensure_future(neighbour.write(sent))
        assert await read_exactly(neighbour, len(sent)) == sent
        await writing
        filling.cancel()
