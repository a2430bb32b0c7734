"""Apps that abuse what they are given: answers, messages and bodies that no honest app sends, and what they cost."""

import asyncio
import json
import logging
import os
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from app_mesh import SmallMesh, ask
from process_mesh import package, process_mesh, until

from websocket_client import WebSocketClient
from ztm.agent.apps.process.app import ProcessApp
from ztm.agent.apps.process.limits import LIMITS
from ztm.agent.apps.process.load import Load, loaded
from ztm.apps.manifest import read_manifest
from ztm.errors import LimitError, UnreachableError, UsageError
from ztm.model import Address
from ztm.net.asgi import PEER, HttpLimits, Message, Receive, Scope, Send
from ztm.net.base import Listener, Stream
from ztm.net.http1 import Answer, request_http1, serve_http1

CODE = """
import asyncio, msgspec, struct, sys
from ztm.rest.client import call
from ztm.wire import processes, websockets
from ztm_app import App, Response

def encode(message):
    if "raw" in message:
        return message["raw"]
    data = msgspec.msgpack.encode(message)
    return struct.pack(">I", len(data)) + data

websockets.encode = encode
GIANT = 3 << 30
ACCEPT = {"type": "websocket.accept"}
MESSAGES = {
    "number": [{**ACCEPT, "headers": [[GIANT, b"x"]]}],
    "value": [{**ACCEPT, "headers": [[b"x", GIANT]]}],
    "shape": [{**ACCEPT, "headers": 7}], "pair": [{**ACCEPT, "headers": [[b"x"]]}],
    "split": [{**ACCEPT, "headers": [[b"x", b"1\\r\\nset-cookie: ztm=1"]]}],
    "subprotocol": [{**ACCEPT, "subprotocol": ["b"]}],
    "bytes": [ACCEPT, {"type": "websocket.send", "bytes": GIANT}],
    "text": [ACCEPT, {"type": "websocket.send", "text": 7}],
    "code": [ACCEPT, {"type": "websocket.close", "code": "x", "reason": GIANT}],
    "kind": [ACCEPT, {"type": "http.response.start", "status": 200}],
    "status": [{"type": "websocket.http.response.start", "status": "x"}],
    "quiet": [ACCEPT],
    "half": [ACCEPT, {"raw": struct.pack(">I", 16 << 20) + bytes(15 << 20)}],
}

async def asgi(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        for message in MESSAGES[scope["path"][1:]]:
            await send(message)
        await asyncio.Event().wait()
    if scope["type"] == "http":
        status = int(scope["path"][1:])
        headers = [(b"x", b"a\\r\\nb")] if status == 200 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

app = App(user=asgi)

@app.user.post("/hold/{number}")
async def hold(req, number):
    session, answered = app._host()._session, []
    async def one(at):
        stream = session.open([(":method", "PUT"), (":scheme", "http"), (":path", f"{processes.FILES}/local/{at}")])
        async def push():
            for _ in range(63):
                await stream.write(bytes(128 << 10))
        kept = asyncio.ensure_future(push())
        kept.add_done_callback(lambda done: done.exception())
        answered.append((await stream.response())[0])
    tasks = [asyncio.ensure_future(one(at)) for at in range(int(number))]
    await asyncio.wait(tasks, timeout=2)
    return len(answered), sorted(set(answered))

@app.user.post("/write")
async def write(req):
    await app.files.write("/local/big", bytes(8 << 20))

@app.user.post("/stall/{number}")
async def stall(req, number):
    session = app._host()._session
    for _ in range(int(number)):
        session.open([(":method", "GET"), (":scheme", "http"), (":path", f"{processes.FILES}/local/big")], end=True)
    await asyncio.sleep(1)

@app.user.get("/split/{endpoint}")
async def split(req, endpoint):
    forged = [("x", "a\\r\\ncontent-length: 9")]
    answer = await call(app._host()._session, "GET", f"{processes.MESH}/{endpoint}/x", timeout=5, headers=forged)
    return answer.status, answer.body.decode()

@app.user.get("/alive")
async def alive(req):
    return "alive"
"""
BAD_STATUS = """
import ztm.net.reply
from ztm.net.http2.exchange import Http2Exchange

respond = Http2Exchange.respond

def forged(self, status, headers=(), *, end=False):
    if status == 204:
        self._responded = True
        self._session.out.send_head(self, [(":status", WORD)], is_urgent=True)
        self.end()
    else:
        respond(self, status, headers, end=end)

Http2Exchange.respond = forged
from ztm_app import App
app = App()

@app.user.get("/none")
async def none(req):
    return None
"""


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Hostile:
    """The app behind a port, and the streams of whoever asks there."""

    def __init__(self, mesh: SmallMesh[ProcessApp], app: ProcessApp, listener: Listener) -> None:
        self.mesh, self.app, self.listener = mesh, app, listener
        self.streams: list[Stream] = []

    async def dial(self) -> Stream:
        self.streams.append(await self.mesh.network.dial(self.listener.address))
        return self.streams[-1]

    async def request(self, path: str) -> Answer:
        return await request_http1(await self.dial(), "GET", path, headers=[("host", "x")])

    async def socket(self, path: str) -> WebSocketClient:
        client = WebSocketClient(await self.dial())
        await client.open(path)
        return client

    async def close(self) -> None:
        for stream in self.streams:
            stream.abort()
        await self.listener.close()
        await self.mesh.close()


async def started(directory: Path, code: str) -> Hostile:
    mesh = process_mesh(
        directory, package(directory / "package", code, memory_mb=4096, permissions=["files.local", "mesh.connect"])
    )
    app = await mesh.join("a")

    async def accept(stream: Stream) -> None:
        await serve_http1(stream, app.user_api, {PEER: None}, HttpLimits())

    return Hostile(mesh, app, await mesh.network.listen(Address("127.0.0.1", 0), accept))


@pytest.fixture
async def hostile(tmp_path: Path) -> AsyncIterator[Hostile]:
    made = await started(tmp_path, CODE)
    yield made
    await made.close()


async def test_a_websocket_message_that_is_none_costs_the_agent_no_memory_and_only_that_websocket(
    hostile: Hostile, caplog: pytest.LogCaptureFixture
) -> None:
    before = resident()
    for name in ("number", "value", "shape", "pair", "split", "subprotocol", "status"):
        client = await hostile.socket(f"/{name}")
        assert client.status in (500, 502, 503), name
        assert "set-cookie" not in client.headers
    for name in ("bytes", "text", "code", "kind"):
        client = await hostile.socket(f"/{name}")
        assert client.status == 101, name
        async with asyncio.timeout(5):
            told = await client.receive()
        assert isinstance(told, tuple), name
        assert told[0] in (1011, 1012), name
    assert resident() - before < 64 << 20
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (await hostile.request("/alive")).body == b"alive"
    assert hostile.app.condition.restarts == 0


async def test_unfinished_messages_of_many_websockets_share_one_bound(hostile: Hostile) -> None:
    before = resident()
    clients = [await hostile.socket("/half") for _ in range(16)]
    ends = await asyncio.gather(*(_end_of(client) for client in clients))
    assert sum(end is not None for end in ends) >= 12
    assert resident() - before < 128 << 20
    assert (await hostile.request("/alive")).body == b"alive"


async def _end_of(client: WebSocketClient) -> object:
    try:
        async with asyncio.timeout(3):
            return await client.receive()
    except TimeoutError:
        return None


async def test_an_app_has_no_more_than_so_many_websockets(hostile: Hostile) -> None:
    clients = [await hostile.socket("/quiet") for _ in range(40)]
    assert {client.status for client in clients} == {101, LimitError.status}
    assert sum(client.status == 101 for client in clients) <= 32


async def test_bodies_that_do_not_end_cost_the_agent_a_bounded_amount(hostile: Hostile) -> None:
    before = resident()
    holding = asyncio.ensure_future(ask(hostile.app.user_api, "POST", "/hold/64"))
    status, _, body = await holding
    count, statuses = json.loads(body)
    assert (status, statuses) == (200, [LimitError.status])
    assert count > 0
    assert resident() - before < 160 << 20
    assert (await hostile.request("/alive")).body == b"alive"


async def test_answers_that_are_not_read_cost_the_agent_a_bounded_amount(hostile: Hostile) -> None:
    assert (await ask(hostile.app.user_api, "POST", "/write"))[0] == 204
    kept = hostile.mesh.context("a").files
    read = kept.read_local
    kept.read_local = lambda path: bytes(bytearray(read(path) or b""))  # type: ignore[method-assign]  # as from a disk
    before = resident()
    await ask(hostile.app.user_api, "POST", "/stall/128")
    assert resident() - before < 160 << 20
    assert (await hostile.request("/alive")).body == b"alive"


async def test_an_answer_that_is_none_is_a_502_that_says_so_and_leaves_no_stack(
    hostile: Hostile, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/200", "/600", "/999"):
        answer = await hostile.request(path)
        assert answer.status == 502, path
        assert b"answered with what is no HTTP" in answer.body
    assert not [record for record in caplog.records if record.exc_info]


async def test_no_header_of_its_questions_breaks_out_of_its_field(
    hostile: Hostile, caplog: pytest.LogCaptureFixture
) -> None:
    own = hostile.mesh.context("a").place.id
    status, body = json.loads((await hostile.request(f"/split/{own}")).body)
    assert (status, "not a header field" in body) == (400, True)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("word", ["9" * 5000, "x", "", "0200", "+200"])
async def test_a_status_that_is_no_number_harms_that_answer_only(tmp_path: Path, word: str) -> None:
    hostile = await started(tmp_path, BAD_STATUS.replace("WORD", repr(word)))
    try:
        async with asyncio.timeout(5):
            assert (await hostile.request("/none")).status in (502, 503)
            assert (await hostile.request("/none")).status in (502, 503)
        assert hostile.app.condition.restarts == 0
    finally:
        await hostile.close()


async def test_what_was_refused_for_its_size_frees_its_room(hostile: Hostile) -> None:
    await ask(hostile.app.user_api, "POST", "/hold/64")
    await hostile.app.stop()
    await until(lambda: hostile.app.figures()["streams"] == 0)
    await hostile.app.start()
    assert (await ask(hostile.app.user_api, "POST", "/write"))[0] == 204


NESTED = """
from ztm_app import App, Response, doors

async def nested(*_):
    return Response(STATUS, BEGIN + b"[" * 100_000)

doors.WHERE = nested
app = App()
"""


@pytest.mark.long
async def test_an_answer_nested_without_end_is_no_sign_of_life_and_its_process_is_still_watched(tmp_path: Path) -> None:
    code = NESTED.replace("WHERE", "_alive").replace("STATUS", "500").replace("BEGIN", "b''")
    mesh = process_mesh(tmp_path, package(tmp_path / "package", code), replace(LIMITS, first_retry=0.05, crashes=3))
    try:
        app = await mesh.join("a")
        await until(lambda: app.condition.state == "failed")
        assert "crashed 3 times" in app.condition.reason
    finally:
        await mesh.close()


async def test_an_app_that_says_without_end_that_it_is_ready_does_not_start(tmp_path: Path) -> None:
    code = NESTED.replace("WHERE", "Doors._ready").replace("STATUS", "200").replace("BEGIN", "b'{\"x\":'")
    mesh = process_mesh(tmp_path, package(tmp_path / "package", code))
    try:
        with pytest.raises(UnreachableError, match="did not say that it is ready"):
            await mesh.join("a")
    finally:
        await mesh.close()


@pytest.mark.parametrize("text", [b"name = " + b"[" * 9000, b"x = " + b"{a=" * 3000])
def test_a_manifest_nested_without_end_is_malformed(text: bytes) -> None:
    with pytest.raises(UsageError, match=r"ztm-app\.toml"):
        read_manifest(text)


async def test_a_refusal_keeps_nothing_of_what_was_refused_while_it_is_told() -> None:
    class Held:
        """What an application has in its hands when it sends."""

    kept: list[weakref.ref[Held]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        held = Held()
        kept.append(weakref.ref(held))
        await send({"type": "http.response.body", "body": bytes(101)})

    load = Load(100)
    try:
        await loaded(app, load)({}, _nothing, _nowhere)
    except LimitError:
        assert kept[0]() is None
    assert (len(kept), load.held) == (1, 0)


async def _nothing() -> Message:
    raise AssertionError("it does not receive")


async def _nowhere(message: Message) -> None:
    raise AssertionError("it was not refused")
