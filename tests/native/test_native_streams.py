"""Native streams in the hands of Python: layers, other kinds of streams, and who is told of a cut."""

import asyncio
import socket

import pytest

from contract.parties import ANYWHERE, CONNECT, Ends, Parties, echo, listening, read_exactly, session_pair, until
from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.aio import AioNetwork
from ztm.net.base import Exchange, Meter, Stream
from ztm.net.flow import FlowStream
from ztm.net.joint import joint
from ztm.net.layer import Tapped


class Hoarder:
    """An outlet that gives no credit by itself."""

    def __init__(self) -> None:
        self.size = 0
        self.is_finished = False
        self.reason: str | None = None

    def push(self, data: bytes) -> None:
        self.size += len(data)

    def finish(self) -> None:
        self.is_finished = True

    def broke(self, reason: str) -> None:
        self.reason = reason


async def pair(net: AioNetwork, ends: Ends, address: Address) -> tuple[FlowStream, FlowStream]:
    near = await net.dial(address)
    far = await ends.next()
    assert isinstance(near, FlowStream)
    assert isinstance(far, FlowStream)
    return near, far


async def test_an_outlet_is_handed_no_more_than_a_bound_before_it_gives_credit(net: AioNetwork, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near, far = await pair(net, ends, address)
        size = 8 << 20
        near.write_now(bytes(size))
        near.end()
        far.attach(outlet := Hoarder())
        await until(lambda: outlet.size >= 256 << 10)
        given = 0
        while not outlet.is_finished:
            assert outlet.size - given <= 512 << 10
            given, credit = outlet.size, outlet.size - given
            far.credit(credit)
            await asyncio.sleep(0)
        assert outlet.size == size


async def test_an_outlet_is_told_of_a_cut_although_it_holds_all_that_it_may(net: AioNetwork, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near, far = await pair(net, ends, address)
        near.write_now(bytes(1 << 20))
        far.attach(outlet := Hoarder())
        await until(lambda: outlet.size >= 256 << 10)
        near.abort()
        await until(lambda: outlet.reason is not None)


async def test_a_native_stream_is_spliced_with_one_of_another_kind(net: AioNetwork, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near, far = await pair(net, ends, address)
        inner, outer = joint()
        splicing = asyncio.ensure_future(net.splice(far, inner, meter := Meter()))
        sent = bytes(range(256)) * 4096
        writing = asyncio.ensure_future(near.write(sent))
        assert await read_exactly(outer, len(sent)) == sent
        await writing
        await outer.write(b"and back")
        assert await read_exactly(near, 8) == b"and back"
        near.end()
        assert await outer.read() == b""
        outer.end()
        assert await near.read() == b""
        await splicing
        assert (meter.sent, meter.received) == (len(sent), 8)


async def test_a_session_runs_over_a_layer_on_a_native_stream(net: AioNetwork, ends: Ends) -> None:
    async def answer(exchange: Exchange) -> None:
        exchange.respond(200)
        await echo(exchange)

    async with listening(net, ends.accept) as address:
        near, far = await pair(net, ends, address)
        seen: list[bytes] = []
        server = net.session(Tapped(far, seen.append), "server", answer=answer)
        client = net.session(near, "client")
        exchange = client.open(CONNECT)
        await exchange.write(b"through")
        assert (await exchange.response())[0] == 200
        assert await read_exactly(exchange, 7) == b"through"
        assert b"".join(seen).startswith(b"PRI * HTTP/2.0")
        client.close("done")
        assert await server.closed()


async def test_a_buffer_of_any_kind_can_be_written(net: AioNetwork, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near, far = await pair(net, ends, address)
        await near.write(bytearray(b"array "))
        await near.write(memoryview(b"view"))  # type: ignore[arg-type]
        assert await read_exactly(far, 10) == b"array view"


async def test_a_handler_in_a_splice_hears_why_its_target_was_cut(net: AioNetwork, ends: Ends) -> None:
    heard: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async with listening(net, ends.accept) as address:

        async def answer(exchange: Exchange) -> None:
            onward = await net.dial(address)
            exchange.respond(200)
            try:
                await net.splice(exchange, onward)
            except BaseException as error:
                heard.set_result(error)
                raise

        async with session_pair(net, answer) as (client, _):
            exchange = client.open(CONNECT)
            await exchange.response()
            (await ends.next()).abort()
            assert isinstance(await heard, BrokenStreamError)
            with pytest.raises(BrokenStreamError):
                await exchange.read()


async def test_a_handler_whose_pipe_has_ended_is_stopped_when_its_caller_leaves(net: AioNetwork, ends: Ends) -> None:
    """The hub's way: the caller has ended its side, and cuts the stream while the target still has to say something."""
    stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async with listening(net, ends.accept) as address:

        async def answer(exchange: Exchange) -> None:
            onward = await net.dial(address)
            joining = net.pipe(exchange, onward)
            exchange.respond(200)
            try:
                await joining.joined()
            except (BrokenStreamError, asyncio.CancelledError):
                stopped.set_result(None)
                raise
            finally:
                onward.abort("no longer relayed")

        async with session_pair(net, answer) as (client, _):
            exchange = client.open(CONNECT)
            await exchange.response()
            exchange.end()
            target = await ends.next()
            assert await target.read() == b""
            exchange.abort()
            await stopped
            await target.ended()


async def test_the_port_of_a_closed_listener_is_free_at_once(net: AioNetwork) -> None:
    listener = await net.listen(ANYWHERE, echo)
    await listener.close()
    with socket.socket() as other:
        other.bind((listener.address.host, listener.address.port))


async def test_the_first_datagram_of_a_new_socket_leaves(net: AioNetwork) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()
    port = await net.listen_datagrams(ANYWHERE, lambda data, _: received.put_nowait(data))
    for number in range(50):
        dialled = await net.dial_datagrams(port.address, lambda data, _: None)
        dialled.send(b"%d" % number)
        async with asyncio.timeout(5):
            assert await received.get() == b"%d" % number
        dialled.close()
    port.close()


async def test_an_accepted_stream_that_is_ended_and_forgotten_is_not_cut(net: AioNetwork) -> None:
    async def accept(stream: Stream) -> None:
        stream.write_now(bytes(1 << 20))

    async with listening(net, accept) as address:
        stream = await net.dial(address)
        size = 0
        while data := await stream.read():
            size += len(data)
        assert size == 1 << 20
        stream.end()
        await stream.ended()


async def test_tls_over_a_socket_that_was_opened_elsewhere_begins_at_once(
    net: AioNetwork, parties: Parties, ends: Ends
) -> None:
    """A proxy's way: nobody has waited yet for room in the socket, and the client speaks first."""

    async def through(address: Address, *, timeout: float) -> socket.socket:
        opened = socket.create_connection((address.host, address.port), timeout)
        opened.setblocking(False)
        return opened

    net._proxy = type("Through", (), {"connect": staticmethod(through)})()
    async with listening(net, ends.accept, parties.hub) as address:
        for _ in range(50):
            (await net.dial(address, parties.alice, timeout=5)).abort()
