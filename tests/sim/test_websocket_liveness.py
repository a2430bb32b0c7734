"""A WebSocket whose peer falls silent, on virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wsproto.events import CloseConnection

from memory_stream import MemoryStream, stream_pair
from websocket_client import WebSocketClient
from ztm.errors import BrokenStreamError
from ztm.net.asgi import ASGIApp, HttpLimits, Receive, Scope, Send
from ztm.net.http1_server import serve_http1
from ztm.net.websocket_frames import CLOSE_WITHIN, PING_EVERY, PONG_WITHIN

LIMITS = HttpLimits(idle_seconds=0, linger_seconds=1)


class App:
    """Accepts, keeps how its WebSocket ended and when, and can be told to close, or to send without end."""

    def __init__(self, *, accepts_after: float = 0.0, closes: bool = False, sends: bool = False) -> None:
        self.accepts_after = accepts_after
        self.closes = closes
        self.sends = sends
        self.end = 0
        self.ended_at = 0.0

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(self.accepts_after)
        await send({"type": "websocket.accept"})
        if self.closes:
            await send({"type": "websocket.close", "code": 4000})
        with contextlib.suppress(OSError):
            while self.sends:
                await send({"type": "websocket.send", "bytes": bytes(1000)})
        self.end = (await receive())["code"]
        self.ended_at = asyncio.get_running_loop().time()


@asynccontextmanager
async def opened(app: ASGIApp) -> AsyncIterator[tuple[WebSocketClient, asyncio.Task[None]]]:
    end, server = stream_pair()
    task = asyncio.create_task(serve_http1(server, app, {}, LIMITS))
    client = WebSocketClient(end)
    assert await client.open() == 101
    yield client, task
    end.abort("the test is over")
    await task


async def test_a_quiet_peer_is_asked_now_and_then_and_lives_on_by_its_answers() -> None:
    app = App()
    async with opened(app) as (client, _):
        hour = asyncio.get_running_loop().time() + 3600
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(hour):
                await client.receive()
        assert 3600 / PING_EVERY - 2 <= client.pings <= 3600 / PING_EVERY
        assert not app.end


async def test_a_peer_that_answers_nothing_is_cut_in_time() -> None:
    app = App()
    async with opened(app) as (client, task):
        begin = asyncio.get_running_loop().time()
        await task
        assert app.ended_at - begin == PING_EVERY + PONG_WITHIN
        assert app.end == 1006
        assert isinstance(client.stream, MemoryStream)
        assert client.stream.aborted is not None


async def test_a_peer_that_reads_nothing_does_not_hold_an_application_for_ever() -> None:
    app = App(sends=True)
    async with opened(app) as (_, task):
        begin = asyncio.get_running_loop().time()
        await task
        assert app.ended_at - begin == PING_EVERY + PONG_WITHIN
        assert app.end == 1006


async def test_a_peer_whose_pings_come_but_who_takes_no_pong_is_cut() -> None:
    app = App(sends=True)
    async with opened(app) as (client, task):
        begin = asyncio.get_running_loop().time()
        with contextlib.suppress(BrokenStreamError):
            while True:
                await client.stream.write(b"\x89\x80\x00\x00\x00\x00")
                await asyncio.sleep(1)
        await task
        assert app.ended_at - begin <= PONG_WITHIN + 1


async def test_a_peer_that_does_not_answer_a_close_is_cut_in_time() -> None:
    app = App(closes=True)
    async with opened(app) as (client, task):
        begin = asyncio.get_running_loop().time()
        assert await client.receive() == (4000, "")
        await task
        assert app.ended_at - begin == CLOSE_WITHIN
        assert app.end == 1006


async def test_a_slow_answer_to_a_close_is_waited_for_longer_than_an_end_of_file() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    async with opened(app) as (client, task):
        assert await client.receive() == (1000, "")
        await asyncio.sleep(CLOSE_WITHIN - 1)
        client.put(CloseConnection(1000))
        assert await client.stream.read() == b""
        client.stream.end()
        await task
        assert isinstance(client.stream, MemoryStream)
        assert client.stream.aborted is None


async def test_a_slow_decision_is_waited_for_without_a_frame() -> None:
    app = App(accepts_after=500)
    async with opened(app) as (client, _):
        assert client.pings == 0
        assert await client.close() == (1000, "")
