"""Applications behind WebSockets in memory, and clients of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from memory_stream import stream_pair
from websocket_client import WebSocketClient
from ztm.errors import BrokenStreamError
from ztm.net.asgi import ASGIApp, HttpLimits, Receive, Scope, Send
from ztm.net.http1_server import serve_http1

LIMIT = 1000
LIMITS = HttpLimits(header_bytes=2000, message_bytes=LIMIT, idle_seconds=0, linger_seconds=5)

MASK = b"\x00\x00\x00\x00"
"""Of frames that are written by hand: it changes nothing."""
Talk = Callable[[Receive, Send], Awaitable[None]]


def accepting(talk: Talk) -> ASGIApp:
    """An application that accepts, and then does `talk`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept"})
        await talk(receive, send)

    return app


async def echoing(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


echo = accepting(echoing)


class Told:
    """An echo that keeps how its WebSocket ended."""

    def __init__(self) -> None:
        self.end: tuple[int, str] | None = None

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with contextlib.suppress(BrokenStreamError):
            while (message := await receive())["type"] == "websocket.receive":
                await send({**message, "type": "websocket.send"})
        message = await receive()
        while message["type"] != "websocket.disconnect":
            message = await receive()
        self.end = message["code"], message["reason"]


@asynccontextmanager
async def served(
    app: ASGIApp = echo, limits: HttpLimits = LIMITS, window: int = 64 << 10, **extensions: object
) -> AsyncIterator[WebSocketClient]:
    """A client of `app`, not yet open; afterwards it ends, and so must the serving."""
    client, server = stream_pair(window)
    async with asyncio.timeout(10):
        task = asyncio.create_task(serve_http1(server, app, extensions, limits))
        try:
            yield WebSocketClient(client)
            client.end()
            await task
        finally:
            task.cancel()


@asynccontextmanager
async def opened(
    app: ASGIApp = echo, limits: HttpLimits = LIMITS, window: int = 64 << 10
) -> AsyncIterator[WebSocketClient]:
    async with served(app, limits, window) as client:
        assert await client.open() == 101
        yield client


async def settled() -> None:
    """All that can go on without the test has gone on."""
    for _ in range(500):
        await asyncio.sleep(0)
