"""HTTP/2 sessions: what every implementation promises about requests, answers, limits and aborted streams."""

import asyncio
import gc
import weakref

import pytest

from ztm.errors import BrokenStreamError, UsageError
from ztm.net.base import Exchange, Headers, Network, Session, SessionLimits, Stream

from .parties import CONNECT, Parties, echo, echo_exchange, listening, read_all, read_exactly, session_pair, until

GET = ((":method", "GET"), (":scheme", "http"), (":path", "/api/ping"))


async def serve(exchange: Exchange) -> None:
    """Answers with the request's path and body."""
    body = await read_all(exchange)
    exchange.respond(200, [("content-type", "text/plain")])
    await exchange.write(dict(exchange.request)[":path"].encode() + b" " + body)


@pytest.fixture(params=["tls", "plain"])
def secured(request: pytest.FixtureRequest, parties: Parties) -> Parties | None:
    return parties if request.param == "tls" else None


async def test_a_request_is_answered_with_head_and_body(net: Network, secured: Parties | None) -> None:
    async with session_pair(net, serve, secured) as (client, _):
        exchange = client.open(GET, end=True)
        status, headers = await exchange.response()
        assert status == 200
        assert dict(headers)["content-type"] == "text/plain"
        assert await read_all(exchange) == b"/api/ping "
        await exchange.ended()
        assert client.streams == 0


async def test_a_request_body_ends_before_the_answer_begins(net: Network) -> None:
    async with session_pair(net, serve) as (client, _):
        exchange = client.open((*GET[:2], (":path", "/up")))
        await exchange.write(b"one, ")
        await exchange.write(b"two")
        exchange.end()
        assert (await exchange.response())[0] == 200
        assert await read_all(exchange) == b"/up one, two"


async def test_bytes_may_be_sent_before_the_answer_has_come(net: Network) -> None:
    async with session_pair(net, echo_exchange) as (client, _):
        exchange = client.open(CONNECT)
        await exchange.write(b"early")
        assert (await exchange.response())[0] == 200
        assert await read_exactly(exchange, 5) == b"early"
        exchange.end()
        assert await read_all(exchange) == b""


async def test_a_refusal_travels_with_its_status_and_text(net: Network) -> None:
    async def refuse(exchange: Exchange) -> None:
        exchange.respond(404)
        await exchange.write(b"Endpoint not found")

    async with session_pair(net, refuse) as (client, _):
        exchange = client.open(CONNECT)
        await exchange.write(b"early data that nobody reads")
        assert (await exchange.response())[0] == 404
        assert await read_all(exchange) == b"Endpoint not found"


async def test_a_request_is_answered_once(net: Network) -> None:
    failed: list[type[BaseException]] = []

    async def answer(exchange: Exchange) -> None:
        exchange.respond(204, end=True)
        try:
            exchange.respond(200)
        except UsageError as error:
            failed.append(type(error))

    async with session_pair(net, answer) as (client, _):
        assert (await client.open(GET, end=True).response())[0] == 204
        assert failed == [UsageError]


async def test_both_sides_of_a_stream_know_the_peer_of_its_session(net: Network, parties: Parties) -> None:
    seen: list[Exchange] = []

    async def answer(exchange: Exchange) -> None:
        seen.append(exchange)
        exchange.respond(200, end=True)

    async with session_pair(net, answer, parties) as (client, server):
        exchange = client.open(GET, end=True)
        await exchange.response()
        assert server.identity is not None
        assert client.identity is not None
        assert seen[0].identity == server.identity
        assert server.identity.user == "alice"
        assert exchange.identity == client.identity
        assert client.identity.is_hub
        assert exchange.remote == client.remote == seen[0].local
        assert seen[0].is_own


@pytest.mark.parametrize("side", ["client", "server"])
async def test_either_side_can_end_first_and_the_other_goes_on(net: Network, side: str) -> None:
    arrived: asyncio.Queue[Exchange] = asyncio.Queue()

    async def answer(exchange: Exchange) -> None:
        exchange.respond(200)
        arrived.put_nowait(exchange)
        await exchange.ended()

    async with session_pair(net, answer) as (client, _):
        opened = client.open(CONNECT)
        accepted = await arrived.get()
        first, second = (opened, accepted) if side == "client" else (accepted, opened)
        await first.write(b"last words")
        first.end()
        assert await read_all(second) == b"last words"
        await second.write(b"and the answer to them")
        assert await read_exactly(first, 22) == b"and the answer to them"
        assert not first.is_over
        second.end()
        assert await read_all(first) == b""
        await first.ended()


async def test_an_abort_is_seen_by_the_other_side_and_stops_its_handler(net: Network) -> None:
    stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer(exchange: Exchange) -> None:
        exchange.respond(200)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set_result("stopped")
            raise

    async with session_pair(net, answer) as (client, server):
        exchange = client.open(CONNECT)
        await exchange.response()
        exchange.abort("enough")
        assert await stopped == "stopped"
        assert server.streams == 0
        assert client.is_open


async def test_a_handler_that_fails_harms_only_its_stream(net: Network, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(exchange: Exchange) -> None:
        if dict(exchange.request)[":method"] == "CONNECT":
            raise ValueError("told to")
        await serve(exchange)

    async with session_pair(net, answer) as (client, _):
        with pytest.raises(BrokenStreamError):
            await client.open(CONNECT).response()
        assert (await client.open(GET, end=True).response())[0] == 200
        assert "told to" in caplog.text


async def test_the_end_of_a_session_comes_with_its_reason_and_cuts_its_streams(net: Network) -> None:
    async with session_pair(net, echo_exchange) as (client, server):
        exchange = client.open(CONNECT)
        await exchange.response()
        server.close("the hub is shutting down")
        assert await client.closed() == "the hub is shutting down"
        assert await server.closed() == "the hub is shutting down"
        with pytest.raises(BrokenStreamError, match="shutting down"):
            await exchange.read()
        assert not client.is_open
        with pytest.raises(BrokenStreamError):
            client.open(GET)


async def test_a_session_runs_within_a_stream_of_another(net: Network, parties: Parties) -> None:
    """The hub's requests to an agent: the CONNECT's stream carries a session with the roles reversed."""
    inner: asyncio.Future[Session] = asyncio.get_running_loop().create_future()

    async def answer(exchange: Exchange) -> None:
        exchange.respond(200)
        session = net.session(exchange, "client")
        inner.set_result(session)
        await session.closed()

    async with session_pair(net, answer, parties) as (agent, _):
        control = agent.open(CONNECT)
        assert (await control.response())[0] == 200
        served = net.session(control, "server", answer=serve)
        hub = await inner
        exchanges = [hub.open((*GET[:2], (":path", f"/{number}"))) for number in range(50)]
        sent = bytes(100_000)
        for exchange in exchanges:
            exchange.write_now(sent)
            exchange.end()
        for number, exchange in enumerate(exchanges):
            assert (await exchange.response())[0] == 200
            assert await read_all(exchange) == f"/{number} ".encode() + sent
        assert hub.identity is not None
        assert hub.identity.user == "alice"
        control.end()
        served.close("done")
        assert await hub.closed()


async def test_many_streams_at_once_each_get_their_own_answer(net: Network) -> None:
    async def ask(client: Session, number: int) -> None:
        exchange = client.open((*GET[:2], (":path", f"/{number}")))
        await exchange.write(b"%d" % number * 1000)
        exchange.end()
        assert (await exchange.response())[0] == 200
        assert await read_all(exchange) == f"/{number} ".encode() + b"%d" % number * 1000

    async with session_pair(net, serve) as (client, _):
        async with asyncio.TaskGroup() as tasks:
            for number in range(500):
                tasks.create_task(ask(client, number))
        assert client.streams == 0


async def test_an_excess_stream_is_refused_and_the_session_lives(net: Network) -> None:
    async with session_pair(net, echo_exchange, limits=SessionLimits(streams=2)) as (client, server):
        kept = [client.open(CONNECT) for _ in range(2)]
        for exchange in kept:
            assert (await exchange.response())[0] == 200
        excess = client.open(CONNECT)
        excess.write_now(b"in flight")
        with pytest.raises(BrokenStreamError, match="refused"):
            await excess.response()
        await kept[0].write(b"alive")
        assert await read_exactly(kept[0], 5) == b"alive"
        kept[0].end()
        assert await read_all(kept[0]) == b""
        assert (await client.open(CONNECT).response())[0] == 200
        assert server.is_open


async def test_ten_thousand_aborted_streams_leave_no_window_lost(net: Network, parties: Parties) -> None:
    """From either side, with data on its way in both directions; then ten times the session's window passes."""

    async def answer(exchange: Exchange) -> None:
        path = dict(exchange.request)[":path"]
        exchange.respond(200)
        if path == "/echo":
            await echo(exchange)
            return
        exchange.write_now(bytes(1000))
        if path == "/drop":
            exchange.abort()
        elif path == "/keep":
            await exchange.ended()

    def request(path: str) -> Headers:
        return ((":method", "CONNECT"), (":scheme", "http"), (":path", path))

    async with session_pair(net, answer, parties) as (client, server):
        for _ in range(100):
            exchanges = [client.open(request("/drop" if number % 3 else "/keep")) for number in range(100)]
            for exchange in exchanges:
                exchange.write_now(bytes(2000))
            await exchanges[-1].response()
            for exchange in exchanges:
                exchange.abort()
        exchange = client.open(request("/echo"))
        sent = bytes(80 << 20)
        writing = asyncio.ensure_future(_write_all(exchange, sent))
        count = 0
        async with asyncio.timeout(60):
            while data := await exchange.read():
                count += len(data)
            await writing
        assert count == len(sent)
        await until(lambda: not server.streams and not client.streams)
        assert server.held == client.held == 0  # type: ignore[attr-defined]


async def _write_all(exchange: Exchange, data: bytes) -> None:
    for at in range(0, len(data), 65536):
        await exchange.write(data[at : at + 65536])
    exchange.end()


class Holder:
    """Answers a session that it holds, as a hub's link does."""

    session: Session

    async def answer(self, exchange: Exchange) -> None:
        await echo_exchange(exchange)


async def test_a_session_that_is_over_is_freed_without_the_cycle_collector(net: Network) -> None:
    """Thousands that leave at once are not to wait for it: it looks at what is old only now and then."""
    holders = [Holder()]

    async def accept(stream: Stream) -> None:
        session = holders[0].session = net.session(stream, "server", answer=holders[0].answer, own=True)
        await session.closed()

    async with listening(net, accept) as address:
        client = net.session(await net.dial(address), "client", own=True)
        exchange = client.open(CONNECT)
        assert (await exchange.response())[0] == 200
        client.close("gone")
        await holders[0].session.closed()
    gone = weakref.ref(holders[0])
    gc.disable()
    try:
        holders.clear()  # it and its session still hold each other
        await until(lambda: gone() is None)
    finally:
        gc.enable()
