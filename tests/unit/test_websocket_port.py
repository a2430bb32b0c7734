"""WebSockets on the local port as it is: real sockets, its guard, and its count of connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from websocket_client import WebSocketClient
from ztm.agent.config import AgentConfig
from ztm.agent.local import port as localport
from ztm.agent.local.port import LocalPort
from ztm.model import Address
from ztm.net.aio import AioNetwork
from ztm.net.asgi import Receive, Scope, Send
from ztm.net.choice import network as chosen_network

PATH = "/api/x"
PIECE = 64 << 10


class Flood:
    """Echoes; after ``flood`` sends without end and counts how often it could."""

    def __init__(self) -> None:
        self.sent = 0
        self.open = 0

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.open += 1
        try:
            while (message := await receive())["type"] == "websocket.receive":
                while message.get("text") == "flood":
                    await send({"type": "websocket.send", "bytes": bytes(PIECE)})
                    self.sent += 1
                await send({**message, "type": "websocket.send"})
        finally:
            self.open -= 1


class Port:
    """A local port, and clients of it."""

    def __init__(self, port: LocalPort, network: AioNetwork) -> None:
        self.port = port
        self.network = network
        self.clients: list[WebSocketClient] = []

    async def client(self) -> WebSocketClient:
        self.clients.append(WebSocketClient(await self.network.dial(self.port.address)))
        return self.clients[-1]

    async def opened(self) -> WebSocketClient:
        client = await self.client()
        assert await client.open(PATH, authorization=f"Bearer {self.port.token}") == 101
        return client


@asynccontextmanager
async def opened(directory: Path, app: Flood) -> AsyncIterator[Port]:
    network = chosen_network()
    config = AgentConfig(data=directory, listen=Address("127.0.0.1", 0), pointers=directory / "pointers")
    port = LocalPort(config, network, app)
    async with asyncio.timeout(30):
        await port.open()
        made = Port(port, network)
        try:
            yield made
        finally:
            for client in made.clients:
                client.stream.abort()
            await port.close()
            while app.open:
                await asyncio.sleep(0)


async def test_large_messages_cross_a_socket_whole(tmp_path: Path) -> None:
    async with opened(tmp_path, Flood()) as port:
        client = await port.opened()
        for message in (bytes(range(256)) * (5 << 12), "ż" * (1 << 20)):
            await client.send(message)
            assert await client.receive() == message
        assert await client.close(1001, "leaving") == (1001, "leaving")
        assert await client.stream.read() == b""


async def test_a_stalled_reader_holds_up_nobody_else_and_no_memory(tmp_path: Path) -> None:
    app = Flood()
    async with opened(tmp_path, app) as port:
        stalled, lively = await port.opened(), await port.opened()
        await stalled.send("flood")
        before = 0
        while before != app.sent or not app.sent:  # until what lies between is full
            before = app.sent
            for _ in range(20):
                await lively.send("still here")
                assert await lively.receive() == "still here"
        assert app.sent * PIECE <= 16 << 20  # the sockets' own buffers
        stalled.stream.abort()
        await lively.close()


async def test_an_open_websocket_counts_as_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localport, "CONNECTIONS", 2)
    async with opened(tmp_path, Flood()) as port:
        first, _second = await port.opened(), await port.opened()
        late = await port.client()
        assert await late.open(PATH) == 503
        await first.close()
        first.stream.end()
        await first.stream.ended()
        while (await (again := await port.client()).open(PATH, authorization=f"Bearer {port.port.token}")) != 101:
            again.stream.abort()


async def test_a_refused_websocket_says_why_and_is_no_websocket(tmp_path: Path) -> None:
    app = Flood()
    async with opened(tmp_path, app) as port:
        for fields, status in (({}, 401), ({"origin": "http://evil.example"}, 403), ({"host": "evil.example"}, 403)):
            client = await port.client()
            assert await client.open(PATH, **fields) == status
            assert b'"message"' in await client.body()
        assert app.open == 0
