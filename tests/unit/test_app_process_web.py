"""Web applications by others in a process: FastAPI below its mount, WebSockets, and what a browser may not be told."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from app_mesh import SmallMesh, ask
from process_mesh import package, process_mesh, until

from websocket_client import WebSocketClient
from ztm.agent.apps.process.app import ProcessApp
from ztm.model import Address, Peer
from ztm.net.asgi import PEER, HttpLimits
from ztm.net.base import Listener, Stream
from ztm.net.http1 import Answer, request_http1, serve_http1
from ztm.rest.router import Router

MOUNT = "/api/meshes/test/apps/alice/probe"
CODE = """
from contextlib import asynccontextmanager
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import RedirectResponse, Response

@asynccontextmanager
async def lifespan(app):
    app.state.began = True
    yield
    print("the lifespan has ended", flush=True)

app = FastAPI(lifespan=lifespan)

@app.get("/items/{item}")
async def item(item: str, request: Request, q: str = ""):
    return {"item": item, "q": q, "url": request.url.path, "root": request.scope["root_path"],
            "own": str(request.url_for("item", item="x").path), "began": app.state.began}

@app.get("/slash/")
async def slash():
    return "slash"

@app.get("/cookie")
async def cookie():
    return Response("x", headers={"set-cookie": "ztm=1; Path=/", "clear-site-data": "*", "x-own": "kept"})

@app.post("/sum")
async def sum_up(numbers: list[int]):
    return sum(numbers)

@app.websocket("/chat/{room}")
async def chat(socket: WebSocket, room: str):
    if room == "closed":
        await socket.close()
        return
    await socket.accept(subprotocol="b" if "b" in socket.scope["subprotocols"] else None)
    while True:
        text = await socket.receive_text()
        if text == "bye":
            await socket.close(4001, "as asked")
            return
        if text == "die":
            import os
            os._exit(1)
        await socket.send_text(f"{room}: {text}")
"""


class Web:
    """The app behind a port, mounted as an agent mounts it."""

    def __init__(self, mesh: SmallMesh[ProcessApp], app: ProcessApp, listener: Listener) -> None:
        self.mesh, self.app, self.listener = mesh, app, listener
        self.streams: list[Stream] = []

    async def dial(self) -> Stream:
        self.streams.append(await self.mesh.network.dial(self.listener.address))
        return self.streams[-1]

    async def request(self, method: str, path: str, body: bytes = b"") -> Answer:
        headers = [("host", "localhost:1"), ("content-type", "application/json")]
        return await request_http1(await self.dial(), method, MOUNT + path, headers=headers, body=body)

    async def socket(self, path: str, *more: tuple[str, str]) -> WebSocketClient:
        client = WebSocketClient(await self.dial())
        await client.open(MOUNT + path, *more)
        return client


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    mesh = process_mesh(tmp_path, package(tmp_path / "package", CODE, memory_mb=256))
    app = await mesh.join("a")
    router = Router()
    router.mount("/api/meshes/{mesh}/apps/{provider}/{app}", app.user_api)

    async def accept(stream: Stream) -> None:
        await serve_http1(stream, router, {PEER: None}, HttpLimits())

    made = Web(mesh, app, await mesh.network.listen(Address("127.0.0.1", 0), accept))
    yield made
    for stream in made.streams:
        stream.abort()
    await made.listener.close()
    await mesh.close()


async def test_fastapi_runs_below_its_mount_with_its_lifespan(web: Web) -> None:
    answer = await web.request("GET", "/items/a%20b?q=%C3%BC")
    assert json.loads(answer.body) == {
        "item": "a b", "q": "ü", "url": f"{MOUNT}/items/a b", "root": MOUNT, "own": f"{MOUNT}/items/x", "began": True,
    }  # fmt: skip
    assert (await web.request("POST", "/sum", b"[1,2]")).body == b"3"
    assert (await web.request("POST", "/sum", b"[x]")).status == 422
    assert b"/openapi.json" in (await web.request("GET", "/docs")).body
    redirected = await web.request("GET", "/slash")
    assert (redirected.status, dict(redirected.headers)["location"].endswith(f"{MOUNT}/slash/")) == (307, True)


async def test_it_cannot_speak_for_the_agents_address_to_a_browser(web: Web) -> None:
    names = {name for name, _ in (await web.request("GET", "/cookie")).headers}
    assert "x-own" in names
    assert not names & {"set-cookie", "clear-site-data"}


HOSTILE = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    name, value = {
        "/value": (b"x", b"1\\r\\nset-cookie: ztm=1"), "/name": (b"x: 1\\r\\nset-cookie", b"ztm=1"),
        "/case": (b"Set-Cookie", b"ztm=1"), "/length": (b"content-length", b"3"),
    }[scope["path"]]
    await send({"type": "http.response.start", "status": 200, "headers": [(name, value)]})
    await send({"type": "http.response.body", "body": b"body"})
"""


async def test_no_header_of_its_answers_breaks_out_of_its_field(tmp_path: Path) -> None:
    mesh = process_mesh(tmp_path, package(tmp_path / "package", HOSTILE))
    app = await mesh.join("a")

    async def accept(stream: Stream) -> None:
        await serve_http1(stream, app.user_api, {PEER: None}, HttpLimits())

    listener = await mesh.network.listen(Address("127.0.0.1", 0), accept)
    try:
        for path in ("/value", "/name", "/case", "/length"):
            stream = await mesh.network.dial(listener.address)
            answer = await request_http1(stream, "GET", path)
            stream.abort()
            assert "set-cookie" not in dict(answer.headers), path
            assert answer.status in (200, 500, 502, 503)
            assert answer.body == b"body" or answer.status != 200
    finally:
        await listener.close()
        await mesh.close()


async def test_a_bare_web_application_is_for_its_user_alone(web: Web) -> None:
    status, _, body = await ask(web.app.peer_api, "GET", "/items/1", peer=Peer("alice", "x"))
    assert (status, b"answers no other endpoint" in body) == (403, True)


async def test_websockets_go_both_ways_and_end_with_their_code(web: Web) -> None:
    client = await web.socket("/chat/blue", ("sec-websocket-protocol", "a, b"))
    assert (client.status, client.headers["sec-websocket-protocol"]) == (101, "b")
    for text in ("x", "ü" * 70_000):
        await client.send(text)
        assert await client.receive() == f"blue: {text}"
    await client.send("bye")
    assert await client.receive() == (4001, "as asked")
    refused = await web.socket("/chat/closed")
    assert refused.status == 403
    left = await web.socket("/chat/red")
    await left.send("x")
    assert await left.receive() == "red: x"
    assert (await left.close())[0] == 1000
    await until(lambda: web.app.figures()["streams"] == 0)


async def test_a_websocket_whose_app_dies_is_told_that_it_restarts(web: Web) -> None:
    client = await web.socket("/chat/blue")
    await client.send("die")
    told: Any = await client.receive()
    assert told[0] == 1012


async def test_many_requests_at_once_are_all_answered(web: Web) -> None:
    answers = await asyncio.gather(*(web.request("GET", f"/items/{number}") for number in range(50)))
    assert [json.loads(answer.body)["item"] for answer in answers] == [str(number) for number in range(50)]


async def test_the_lifespan_ends_in_order(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "test.app"):
        await web.app.stop()
    assert "the lifespan has ended" in caplog.text


PEERS = """
from fastapi import FastAPI, Request
from ztm_app import App

there = FastAPI()
app = App(peer=there)

@there.post("/sum")
async def sum_up(numbers: list[int], request: Request):
    return {"sum": sum(numbers), "x": request.headers.get("x-own"), "ours": request.headers.get("ztm-app-peer-user")}

@app.user.post("/split/{endpoint}")
async def split(req, endpoint):
    await app.mesh.request(endpoint, "POST", "/sum", [1], headers=await req.json())

@app.user.post("/ask/{endpoint}")
async def ask(req, endpoint):
    sent = {"X-Own": "kept", "ztm-app-peer-user": "mallory", "host": "h", "te": "trailers"}
    reply = await app.mesh.request(endpoint, "POST", "/sum", [1, 2, 3], headers=sent)
    return reply.json()
"""


async def test_json_asked_of_a_fastapi_app_elsewhere_is_understood_and_no_field_forges_the_caller(
    tmp_path: Path,
) -> None:
    mesh = process_mesh(tmp_path, package(tmp_path / "package", PEERS))
    try:
        here = await mesh.join("a")
        await mesh.join("b")
        status, _, body = await ask(here.user_api, "POST", f"/ask/{mesh.context('b').place.id}")
        assert (status, json.loads(body)) == (200, {"sum": 6, "x": "kept", "ours": None})
        for bad in ({"x": "a\r\nevil: 1"}, {"x: 1\r\nevil": "1"}, {"x y": "1"}, {"x": "a\nb"}, {"": "1"}):
            sent = json.dumps(bad).encode()
            status, _, _ = await ask(here.user_api, "POST", f"/split/{mesh.context('b').place.id}", sent)
            assert status == 400, bad
    finally:
        await mesh.close()
