"""The web page's form of a session: a WebSocket with keys up, the screen down, and JSON beside it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from app_mesh import LOOPBACK, free_port
from terminal_mesh import TerminalMesh

from websocket_client import WebSocketClient
from ztm.model import Address
from ztm.net.asgi import PEER, HttpLimits
from ztm.net.base import Stream
from ztm.net.http1 import serve_http1


class Pages:
    """A mesh, and the local port of its first endpoint."""

    def __init__(self, mesh: TerminalMesh) -> None:
        self.mesh = mesh
        self.address = Address(LOOPBACK, free_port())
        self.streams: list[Stream] = []

    async def accept(self, stream: Stream) -> None:
        app = self.mesh.apps[self.mesh.context("home").place.id]
        await serve_http1(stream, app.user_api, {PEER: None}, HttpLimits())

    async def page(self, endpoint: str, query: str = "cols=90&rows=30&term=xterm-256color") -> "Page":
        client = WebSocketClient(await self.mesh.network.dial(self.address))
        self.streams.append(client.stream)
        id_ = self.mesh.context(endpoint).place.id if endpoint in ("home", "work", "bobs") else endpoint
        assert await client.open(f"/api/endpoints/{id_}/shell?{query}") == 101
        return Page(client)


class Page:
    """One WebSocket, as a page uses it."""

    def __init__(self, client: WebSocketClient) -> None:
        self.client = client
        self.screen = b""

    async def sees(self, text: bytes) -> None:
        while text not in self.screen:
            message = await self.client.receive()
            assert isinstance(message, bytes), message
            self.screen += message

    async def told(self) -> Any:
        """The next text; what is shown before it is kept."""
        while isinstance(message := await self.client.receive(), bytes):
            self.screen += message
        assert isinstance(message, str), message
        return json.loads(message)


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Pages]:
    """Two endpoints of alice and one of bob."""
    mesh = TerminalMesh(tmp_path)
    await mesh.desk("home")
    await mesh.desk("work")
    await mesh.desk("bobs", "bob")
    made = Pages(mesh)
    listener = await mesh.network.listen(made.address, made.accept)
    yield made
    for stream in made.streams:
        stream.abort("the test is over")
    await listener.close()
    await mesh.close()


@pytest.mark.parametrize("place", ["work", "home"])
async def test_a_page_types_resizes_and_is_told_the_exit_status(pages: Pages, place: str) -> None:
    page = await pages.page(place)
    await page.client.send(b"stty size\n")
    await page.sees(b"30 90\r\n")
    await page.client.send('{"resize": [120, 40]}')
    await page.client.send(b"stty size\n")
    await page.sees(b"40 120\r\n")
    await page.client.send(b"exit 3\n")
    assert await page.told() == {"exit": 3}
    assert await page.client.receive() == (1000, "")


async def test_a_page_can_end_its_input_and_send_a_signal(pages: Pages) -> None:
    page = await pages.page("work", "line=cat%3B%20echo%20over%3B%20exec%20sleep%201000")
    await page.client.send(b"typed|")
    await page.client.send('{"end": true}')
    await page.sees(b"typed|over\n")
    await page.client.send('{"signal": 15}')
    assert await page.told() == {"exit": 128 + 15}


async def test_a_page_is_told_why_it_is_refused(pages: Pages) -> None:
    page = await pages.page("bobs")
    told = await page.told()
    assert told["status"] == 403
    assert "user alice may not use the terminals of endpoint bobs" in told["error"]
    assert await page.client.receive() == (4000, "")


@pytest.mark.parametrize(
    ("place", "query"), [("no-id", ""), ("00000000-0000-4000-8000-000000000077", ""), ("home", "cols=wide")]
)
async def test_a_page_that_asks_for_what_cannot_be_is_told_so(pages: Pages, place: str, query: str) -> None:
    page = await pages.page(place, query)
    told = await page.told()
    assert told["status"] in (400, 503)
    assert told["error"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"resize": [1]}', '{"resize": [-1, 2]}', '{"signal": 0}', '{"x": 1}'])
async def test_a_text_that_means_nothing_ends_the_session_with_a_reason(pages: Pages, text: str) -> None:
    page = await pages.page("work")
    await page.client.send(text)
    assert (await page.told())["status"] == 400


async def test_a_page_that_is_closed_ends_its_shell(pages: Pages) -> None:
    page = await pages.page("work")
    await page.client.send(b"echo rea''dy\n")
    await page.sees(b"ready")
    await page.client.close(1001)
    assert (await pages.mesh.trail("work")).reason == "the caller left"


async def test_a_page_that_is_closed_while_its_input_waits_ends_its_program(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ztm.apps.terminal.webpage.LOOK_EVERY", 0.05)
    page = await pages.page("work", "line=sleep%201000")

    async def flood() -> None:
        while True:
            await page.client.send(b"x" * 60_000)

    flooding = asyncio.ensure_future(flood())
    assert await page.told() == {"waiting": True}
    flooding.cancel()
    page.client.stream.abort("gone")
    assert (await pages.mesh.trail("work")).reason == "the caller left"


async def test_a_plain_request_is_told_to_ask_for_a_websocket(pages: Pages) -> None:
    status, said = await pages.mesh.ask("home", "GET", f"/api/endpoints/{pages.mesh.context('home').place.id}/shell")
    assert status == 400
    assert "WebSocket" in said["message"]
