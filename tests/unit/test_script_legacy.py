"""Scripts and v1 endpoints: PipyJS files go there by its own form, Python ones never (spec apps-network 4)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from app_mesh import OWN_IDS, MeshContext, SmallMesh

from ztm.apps.script.api import ScriptApp
from ztm.apps.script.client import Kept
from ztm.apps.script.model import Order
from ztm.errors import ForbiddenError, RefusedError, UnreachableError
from ztm.net.scope import Receive, Scope, Send

B = OWN_IDS[1]
JS = b"println(pipy.argv)"


class V1:
    """The script app of a v1 endpoint as its peers see it; `text` says how it answers."""

    def __init__(self, _context: MeshContext) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.user_api = self.peer_api = self
        self.status, self.pieces = 200, [b"one\n", b"two\n"]
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["method"] == "POST":
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
        self.seen.append((scope["method"], scope["raw_path"].decode() + "?" + scope["query_string"].decode(), body))
        status = self.status if scope["method"] == "POST" else 404
        await send({"type": "http.response.start", "status": status, "headers": []})
        for piece in self.pieces if scope["method"] == "POST" else []:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await self.go_on.wait()
        await send({"type": "http.response.body", "body": b""})

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@pytest.fixture
async def mesh() -> AsyncIterator[SmallMesh[Any]]:
    made: SmallMesh[Any] = SmallMesh(ScriptApp)
    yield made
    await made.close()


async def ends(mesh: SmallMesh[Any]) -> tuple[ScriptApp, V1]:
    return await mesh.join("a"), await mesh.join("b", factory=V1)


async def test_a_js_file_is_sent_unchanged_by_v1s_form_and_its_output_comes_back(mesh: SmallMesh[Any]) -> None:
    app, v1 = await ends(mesh)
    output = Kept(1000)
    assert await app.entry.run(B, Order.of_file("x.js", ["a b"]), JS, output) == 0
    assert output.stdout == b"one\ntwo\n"
    assert v1.seen == [("POST", "/api/script?argv=%5B%22a%20b%22%5D", JS)]


async def test_its_output_comes_before_the_end(mesh: SmallMesh[Any]) -> None:
    app, v1 = await ends(mesh)
    v1.go_on.clear()
    came = asyncio.Event()

    class Seen(Kept):
        async def out(self, data: bytes) -> None:
            await super().out(data)
            came.set()

    output = Seen(1000)
    running = asyncio.create_task(app.entry.run(B, Order.of_file("x.js"), JS, output))
    await came.wait()
    assert output.stdout == b"one\n"
    v1.go_on.set()
    await running
    assert output.stdout == b"one\ntwo\n"


async def test_every_run_has_a_stream_of_its_own(mesh: SmallMesh[Any]) -> None:
    app, _ = await ends(mesh)
    for _ in range(3):
        await app.entry.run(B, Order.of_file("x.js"), JS, Kept(1000))
    assert mesh.asked == [B, B, B]


async def test_a_refusal_is_told_with_its_own_words(mesh: SmallMesh[Any]) -> None:
    app, v1 = await ends(mesh)
    v1.status, v1.pieces = 403, [b"Forbidden"]
    with pytest.raises(ForbiddenError, match="Forbidden"):
        await app.entry.run(B, Order.of_file("x.js"), JS, Kept(1000))
    assert mesh.context("a").trail.trails[-1].is_allowed is False


async def test_a_python_script_is_not_sent_to_v1_and_the_reason_is_told(mesh: SmallMesh[Any]) -> None:
    app, v1 = await ends(mesh)
    with pytest.raises(RefusedError, match=r"x\.py: it is of ztm v1, which runs PipyJS files only"):
        await app.entry.run(B, Order.of_file("x.py"), b"print('secret')", Kept(1000))
    assert [(method, body) for method, _, body in v1.seen] == [("CONNECT", b"")]


async def test_an_endpoint_that_is_lost_is_an_error_and_no_success(mesh: SmallMesh[Any]) -> None:
    app, v1 = await ends(mesh)
    v1.go_on.clear()
    running = asyncio.create_task(app.entry.run(B, Order.of_file("x.js"), JS, Kept(1000)))
    while not v1.seen:
        await asyncio.sleep(0)
    for session in mesh._sessions.values():
        session.close("lost")
    with pytest.raises(UnreachableError, match="was lost"):
        await running
