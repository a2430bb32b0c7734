"""An app's own routes on the local port and between endpoints: any method, bodies both ways, and WebSockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from local_api import BASE, Api, home_of

from websocket_client import WebSocketClient
from ztm.agent.local.guard import CALLER, SESSION
from ztm.apps.base import AppContext
from ztm.apps.builtin import BUILTIN
from ztm.apps.command import Console
from ztm.errors import BrokenStreamError
from ztm.model import Peer
from ztm.net.asgi import PEER, Receive, Scope, Send
from ztm.net.base import Stream
from ztm.testing.mesh import SimMesh

ECHO = f"{BASE}/apps/ztm/echo"


class EchoApp:
    """Sends back what it gets, piece by piece, and says by whom and how it was asked."""

    def __init__(self, context: AppContext) -> None:
        self.context = context

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def command(self, console: Console) -> int:
        raise NotImplementedError

    async def user_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        extensions = scope["extensions"]
        said = f"{extensions[CALLER]} {extensions[PEER]} {extensions[SESSION]} {scope['path']} {scope['root_path']}"
        assert not {b"authorization", b"cookie"} & {name for name, _ in scope["headers"]}
        await self._echo(scope, receive, send, said)

    async def peer_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer: Peer = scope["extensions"][PEER]
        await self._echo(scope, receive, send, f"{peer.user} {scope['path']}")

    async def _echo(self, scope: Scope, receive: Receive, send: Send, said: str) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": said})
            while (message := await receive())["type"] == "websocket.receive":
                await send({**message, "type": "websocket.send"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begin = f"{scope['method']} {said}|".encode()
        await send({"type": "http.response.body", "body": begin, "more_body": True})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": True})
        await send({"type": "http.response.body"})


@pytest.fixture
async def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimMesh]:
    """A mesh whose agents have an echo app."""
    monkeypatch.setattr("ztm.testing.mesh.BUILTIN", {**BUILTIN, "echo": EchoApp})
    made = SimMesh(tmp_path)
    yield made
    await made.close()


async def dial(api: Api) -> Stream:
    agent = api.endpoint.agent
    assert agent is not None
    return await api.endpoint.network.dial(agent.address)


def bearer(api: Api) -> dict[str, str | None]:
    agent = api.endpoint.agent
    assert agent is not None
    return {"authorization": f"Bearer {agent.token}"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "X-ODD"])
async def test_any_method_reaches_an_app_with_its_body(mesh: SimMesh, method: str) -> None:
    home = await home_of(mesh)
    answer = await home.ask(method, f"{ECHO}/a/b?c", "body")
    assert (answer.status, answer.body) == (200, f"{method} token None None /a/b {ECHO}|body".encode())


async def test_head_and_the_bare_prefix_reach_an_app(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    assert (await home.ask("HEAD", f"{ECHO}/a")).status == 200
    assert (await home.ask("PUT", ECHO)).body.startswith(b"PUT token None None / ")


async def test_a_body_is_answered_while_it_still_comes(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    stream = await dial(home)
    head = f"PATCH {ECHO}/x HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer(home)['authorization']}\r\n"
    await stream.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
    seen = b""
    async with asyncio.timeout(10):
        for number in range(5):
            piece = b"piece %d" % number
            await stream.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            while piece not in seen:
                seen += await stream.read()
        await stream.write(b"0\r\n\r\n")
        while not seen.endswith(b"0\r\n\r\n"):
            seen += await stream.read()
    stream.abort("answered")


async def test_a_websocket_reaches_an_app_with_who_is_asking(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    client = WebSocketClient(await dial(home))
    assert await client.open(f"{ECHO}/live?x", **bearer(home)) == 101
    assert await client.receive() == f"token None None /live {ECHO}"
    for message in ("text", b"bytes", "x" * 300_000):
        await client.send(message)
        assert await client.receive() == message
    assert await client.close(1000, "done") == (1000, "done")


async def test_a_signed_in_browsers_websocket_is_known_by_its_session(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    agent = home.endpoint.agent
    assert agent is not None
    cookie = f"{agent.login.cookie}={agent.login.enter_by_token(agent.token)}"
    client = WebSocketClient(await dial(home))
    assert await client.open(f"{ECHO}/live", cookie=cookie, origin="http://127.0.0.1:7777") == 101
    told = await client.receive()
    assert isinstance(told, str)
    assert told.startswith("cookie None BrowserSession(")
    await client.close()


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (f"{ECHO}/live", {"authorization": None}, 401),
        (f"{ECHO}/live", {"origin": "http://evil.example"}, 403),
        (f"{ECHO}/live", {"host": "evil.example"}, 403),
        (f"{ECHO}/live", {"sec_websocket_version": "7"}, 400),
        ("/api/meshes", {}, 400),
        ("/api/login", {"authorization": None}, 401),
        ("/", {}, 404),
        ("/api/nothing", {}, 404),
        (f"{BASE}/apps/ztm/nothing/live", {}, 404),
        ("/api/meshes/other/apps/ztm/echo/live", {}, 404),
        (f"{BASE}/apps/ztm/tunnel/api/inbound", {}, 404),
    ],
)
async def test_a_websocket_that_cannot_be_is_refused_in_json(
    mesh: SimMesh, path: str, fields: dict[str, str | None], status: int
) -> None:
    home = await home_of(mesh)
    client = WebSocketClient(await dial(home))
    assert await client.open(path, **bearer(home) | fields) == status
    body = await client.body()
    if "tunnel" not in path:  # its own router says no more than v1's does
        assert f'"status":{status}' in body.decode().replace(": ", ":")
        assert b'"message":' in body


async def test_a_disabled_app_takes_no_websocket(mesh: SimMesh) -> None:
    home = await home_of(mesh)
    await home.ok("POST", f"/endpoints/{home.endpoint.id}/apps/ztm/echo", {"isDisabled": True})
    client = WebSocketClient(await dial(home))
    assert await client.open(f"{ECHO}/live", **bearer(home)) == 503


async def test_a_websocket_crosses_the_mesh_inside_an_app_stream(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    await work.ok("POST", f"/endpoints/{work.endpoint.id}/apps/ztm/echo", {"isRunning": True})
    app = await home.endpoint.mesh.host.running("ztm", "echo")
    assert isinstance(app, EchoApp)
    exchange = await app.context.connect(work.endpoint.id)
    client = WebSocketClient(exchange)
    async with asyncio.timeout(600):
        assert await client.open("/live") == 101
        assert (await exchange.response())[0] == 200
        assert await client.receive() == "root /live"
        for message in ("text", b"x" * 300_000):
            await client.send(message)
            assert await client.receive() == message
        assert await client.close(3000) == (3000, "")
    exchange.end()


async def test_a_lost_mesh_ends_a_websocket_that_crosses_it(mesh: SimMesh) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    app = await home.endpoint.mesh.host.running("ztm", "echo")
    assert isinstance(app, EchoApp)
    client = WebSocketClient(await app.context.connect(work.endpoint.id))
    assert await client.open("/live") == 101
    assert await client.receive() == "root /live"
    await work.endpoint.kill()
    with contextlib.suppress(BrokenStreamError):
        async with asyncio.timeout(600):
            assert await client.receive() is None
