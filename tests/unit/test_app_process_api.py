"""An app by others in a process of its own: what its user, its peers, other apps and its commands get from it."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from app_console import MemoryConsole
from app_mesh import OWN_IDS, SmallMesh, ask, read_all, read_exactly
from process_mesh import package, process_mesh, until

from ztm.agent.apps.process.app import ProcessApp
from ztm.apps.base import Measured, Neighbourly, Supervised
from ztm.apps.command import Call, EndpointRef
from ztm.apps.streams.limits import LIMITS
from ztm.apps.streams.reach import Early, Reach
from ztm.errors import ForbiddenError, UnreachableError, ZtmError
from ztm.model import Address, Peer
from ztm.net.asgi import PEER, ASGIApp, HttpLimits, serve_stream
from ztm.net.base import SessionLimits, Stream
from ztm.net.http1 import connect_answer, connect_head
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire.processes import PREFIX

CODE = """
import asyncio, logging, os, sys
from ztm_app import App, Option

app = App()

@app.user.get("/api/hello/{ep}")
async def hello(req, ep):
    reply = await app.mesh.request(ep, "GET", "/whoami")
    return {"from": ep, "reply": reply.json()}

@app.user.post("/echo")
async def echo(req):
    async def pieces():
        async for piece in req.stream():
            yield piece
    from ztm_app import Response
    return Response(200, pieces())

@app.user.get("/headers")
async def headers(req):
    return dict(req.headers)

@app.user.get("/place")
async def place(req):
    return [app.name, app.provider, app.owner, app.mesh.name, app.endpoint.name, os.getpid(),
            sorted(os.environ), os.getcwd() == str(app.directory), req.scope["root_path"]]

@app.user.get("/wait")
async def wait(req):
    await asyncio.Event().wait()

@app.user.get("/endpoints")
async def endpoints(req):
    return [[one.name for one in await app.mesh.endpoints()], [one.name for one in await app.mesh.users()]]

@app.user.get("/ask")
async def ask(req):
    return (await app.ask("ztm/users", "GET", "/api/users?x=1")).json()

@app.user.get("/ask/other")
async def ask_other(req):
    return (await app.ask("ztm/terminal", "GET", "/")).json()

@app.user.connect("/through/{ep}/{mark}")
async def through(req, stream, ep, mark):
    there = await app.mesh.connect(ep, f"/echo/{mark}")
    await (await stream.accept()).join(there)

@app.user.put("/files/*")
async def put(req, rest):
    await app.files.write("/" + rest, await req.body())

@app.user.get("/files/*")
async def got(req, rest):
    return {"data": ((await app.files.read("/" + rest)) or b"").decode()}

@app.user.delete("/files/*")
async def gone(req, rest):
    return {"was": await app.files.erase("/" + rest)}

@app.user.get("/list")
async def listed(req):
    return [file.path for file in await app.files.list()]

@app.user.get("/port")
async def port(req):
    opened.append(await app.listen(0, greet))
    return str(opened[-1].address)

@app.user.delete("/port")
async def close(req):
    await opened.pop().close()

opened = []

async def greet(stream):
    await stream.write(f"hello {stream.remote is not None} ".encode() + await stream.read())

@app.user.get("/say")
async def say(req):
    print("printed")
    app.log.warning("warned of %s", "it")
    return "said"

@app.self.get("/for-others")
async def for_others(req):
    return {"peer": req.peer}

@app.peer.get("/whoami")
async def whoami(req):
    await app.files.write(f"/shared/{app.owner}/last.json", {"caller": req.peer.user})
    return {"name": app.endpoint.name, "you": req.peer.user, "from": req.peer.endpoint}

@app.peer.get("/all", allow="any")
async def for_all(req):
    return {"user": req.peer.user}

@app.peer.connect("/echo/{mark}")
async def echoed(req, stream, mark):
    if mark == "no":
        stream.refuse(409, "not today")
    await stream.accept()
    async for data in stream:
        await stream.write(mark.encode() + data)
    await stream.write(b"<end>")

@app.cli("say <endpoint>", help="Greet an endpoint", options=[Option("--loud", "", "Shout")])
async def say_to(ctx, endpoint):
    reply = await app.mesh.request(await ctx.resolve(endpoint), "GET", "/whoami")
    ctx.print(reply.json()["name"])
    return 5

@app.cli("cat")
async def cat(ctx):
    while data := await ctx.read():
        await ctx.write(data)
    ctx.error("done")

@app.cli("wait")
async def wait_for(ctx):
    ctx.print("waiting")
    await asyncio.Event().wait()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    permissions = ("mesh.connect", "files.local", "files.user", "files.shared", "listen", "app:ztm/users")
    return package(tmp_path_factory.mktemp("package"), CODE, permissions=permissions)


@pytest.fixture
async def mesh(tmp_path: Path, installed: Any) -> AsyncIterator[SmallMesh[ProcessApp]]:
    mesh = process_mesh(tmp_path, installed)
    await asyncio.gather(mesh.join("a"), mesh.join("b"))
    yield mesh
    await mesh.close()


def named(mesh: SmallMesh[ProcessApp], name: str) -> ProcessApp:
    return mesh.apps[mesh.context(name).place.id]


async def test_it_serves_its_user_and_reaches_its_peer_only_through_the_agent(mesh: SmallMesh[ProcessApp]) -> None:
    app = named(mesh, "a")
    status, _, body = await ask(app.user_api, "GET", f"/api/hello/{mesh.context('b').place.id}")
    assert status == 200
    assert b'"name":"b","you":"alice"' in body
    assert mesh.context("a").place.id.encode() in body
    assert mesh.shared == {"/shared/alice/last.json": b'{"caller":"alice"}'}
    assert await ask(app.user_api, "GET", "/nothing") == (404, {}, b"")


async def test_both_ends_of_a_request_between_endpoints_leave_one_record(mesh: SmallMesh[ProcessApp]) -> None:
    await ask(named(mesh, "a").user_api, "GET", f"/api/hello/{mesh.context('b').place.id}")
    (entry,), (exit_,) = mesh.context("a").trail.trails, mesh.context("b").trail.trails
    assert (entry.side, entry.peer.user, entry.action, entry.subject) == ("entry", "alice", "request", "GET /whoami")
    assert (entry.target, entry.rule) == (mesh.context("b").place.id, "permission mesh.connect")
    assert (exit_.side, exit_.peer.user, exit_.action, exit_.subject) == ("exit", "alice", "request", "GET /whoami")
    assert (exit_.is_allowed, exit_.rule, exit_.reason) == (True, "owner", "ended")
    assert entry.meter.received == exit_.meter.received > 0


async def test_a_body_of_any_size_goes_there_and_back(mesh: SmallMesh[ProcessApp]) -> None:
    body = os.urandom(5 << 20)
    status, _, echoed = await ask(named(mesh, "a").user_api, "POST", "/echo", body)
    assert (status, echoed == body) == (200, True)


async def test_a_peer_of_another_user_gets_what_is_allowed_to_all_and_the_refusal_is_audited(
    mesh: SmallMesh[ProcessApp],
) -> None:
    app, bob = named(mesh, "a"), Peer("bob", OWN_IDS[5], "192.0.2.1", 9)
    assert (await ask(app.peer_api, "GET", "/all", peer=bob))[2] == b'{"user":"bob"}'
    status, _, body = await ask(app.peer_api, "GET", "/whoami", peer=bob)
    assert (status, b"bob" in body) == (403, True)
    allowed, refused = mesh.context("a").trail.trails
    assert (allowed.is_allowed, allowed.rule) == (True, "everyone")
    assert (refused.is_allowed, refused.peer, refused.reason) == (False, bob, "answered 403")
    with pytest.raises(ForbiddenError):
        await ask(app.peer_api, "GET", "/all")


async def through(mesh: SmallMesh[ProcessApp], app: ASGIApp, path: str) -> Stream:
    """A stream opened to a CONNECT path of `app`, over a real connection, as the local port would serve it."""
    context = mesh.context("a")

    async def accept(stream: Stream) -> None:
        limits, sessions = HttpLimits(), SessionLimits()
        await serve_stream(context.network, stream, app, {PEER: None}, http_limits=limits, session_limits=sessions)

    listener = await context.network.listen(Address("127.0.0.1", 0), accept)
    stream = await context.network.dial(listener.address)
    await listener.close()
    await stream.write(connect_head(path) + b"early ")
    status, headers = await connect_answer(stream)
    if status != 200:
        stream.abort()
        raise ZtmError(f"{status} {dict(headers).get('ztm-error', '')}")
    return stream


async def test_streams_go_through_two_processes_with_early_bytes_half_close_and_refusals(
    mesh: SmallMesh[ProcessApp],
) -> None:
    app, there = named(mesh, "a"), mesh.context("b").place.id
    stream = await through(mesh, app.user_api, f"/through/{there}/x")
    assert await read_exactly(stream, 7) == b"xearly "
    await stream.write(b"late")
    stream.end()
    assert await read_all(stream) == b"xlate<end>"
    await stream.ended()
    with pytest.raises(ZtmError, match="409 not"):
        await through(mesh, app.user_api, f"/through/{there}/no")
    await until(lambda: len(mesh.context("b").trail.trails) == 2)
    first, second = mesh.context("b").trail.trails
    assert (first.action, first.is_allowed, first.meter.sent) == ("connect", True, len(b"early late"))
    assert second.reason == "answered 409"
    assert named(mesh, "b").figures()["streams"] == 0


async def test_a_reader_that_does_not_read_holds_the_app_back_and_nothing_grows(mesh: SmallMesh[ProcessApp]) -> None:
    stream = await through(mesh, named(mesh, "a").user_api, f"/through/{mesh.context('b').place.id}/x")
    written, piece = 0, bytes(64 << 10)

    async def write() -> None:
        nonlocal written
        while True:
            await stream.write(piece)
            written += len(piece)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(write(), 1.0)
    assert written < 24 << 20
    stream.abort()


async def test_a_peers_stream_is_asked_for_as_the_network_apps_do(mesh: SmallMesh[ProcessApp]) -> None:
    context = mesh.context("a")

    class Quiet:
        is_over = False

        async def read(self) -> bytes:
            await asyncio.Event().wait()
            return b""

    exchange = await Reach("/echo/y", context, LIMITS).ask(mesh.context("b").place.id, Early(Quiet(), 1024))
    await exchange.write(b"1")
    assert await exchange.read() == b"y1"
    exchange.abort()


async def test_what_opened_the_agents_door_and_what_pretends_to_be_the_agent_does_not_reach_the_app(
    mesh: SmallMesh[ProcessApp],
) -> None:
    app, sent = named(mesh, "a"), []
    fields = [
        (b"authorization", b"Bearer secret"), (b"cookie", b"ztm=secret"), (b"x-own", b"kept"),
        (PREFIX.encode() + b"peer-user", b"root"), (b"connection", b"close"),
    ]  # fmt: skip
    scope = {
        "type": "http", "method": "GET", "path": "/headers", "raw_path": b"/headers", "query_string": b"",
        "root_path": "", "headers": fields, "extensions": {PEER: None}, "http_version": "1.1",
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app.user_api(scope, receive, send)
    told = b"".join([message.get("body", b"") for message in sent])
    assert told == b'{"x-own":"kept"}'


async def test_it_knows_where_it_is_and_nothing_of_the_agents_environment(
    mesh: SmallMesh[ProcessApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    await mesh.restart("a")
    _, _, body = await ask(named(mesh, "a").user_api, "GET", "/place")
    name, provider, owner, where, endpoint, pid, environment, is_home, root = json.loads(body)
    assert (name, provider, owner, where, endpoint, is_home, root) == ("probe", "alice", "alice", "test", "a", True, "")
    assert pid == named(mesh, "a").pid != os.getpid()
    assert set(environment) <= {"PATH", "LANG", "HOME", "TMPDIR", "MALLOC_ARENA_MAX", "LC_CTYPE"}


async def test_it_sees_endpoints_and_users_and_asks_the_app_it_may_ask(mesh: SmallMesh[ProcessApp]) -> None:
    app, router = named(mesh, "a"), Router()

    async def users(request: Request) -> Response:
        return Response(200, {"asked": request.query})

    router.add("GET", "/api/users", users)
    mesh.neighbours |= {"ztm/users": router, "ztm/terminal": router}
    assert (await ask(app.user_api, "GET", "/endpoints"))[2] == b'[["a","b"],["alice"]]'
    assert (await ask(app.user_api, "GET", "/ask"))[2] == b'{"asked":{"x":"1"}}'
    status, _, body = await ask(app.user_api, "GET", "/ask/other")
    assert (status, b"app:ztm/terminal" in body) == (403, True)


async def test_other_apps_are_answered_at_a_door_of_their_own(mesh: SmallMesh[ProcessApp]) -> None:
    app = named(mesh, "a")
    assert isinstance(app, Neighbourly)
    assert await ask(app.self_api, "GET", "/for-others") == (
        200,
        {"content-type": "application/json"},
        b'{"peer":null}',
    )
    assert (await ask(app.self_api, "GET", "/place"))[0] == 404


async def test_files_are_kept_where_their_path_says(mesh: SmallMesh[ProcessApp]) -> None:
    app, context = named(mesh, "a"), mesh.context("a")
    for path in ("local/a b", "users/alice/x", "shared/alice/x"):
        target = f"/files/{path.replace(' ', '%20')}"
        assert (await ask(app.user_api, "PUT", target, b"1"))[0] == 204
        assert (await ask(app.user_api, "GET", target))[2] == b'{"data":"1"}'
    assert (await ask(app.user_api, "GET", "/files/local/none"))[2] == b'{"data":""}'
    assert context.disk.local == {"a b": b"1"}
    assert (await ask(app.user_api, "GET", "/list"))[2] == b'["/local/a b","/shared/alice/x","/users/alice/x"]'
    assert (await ask(app.user_api, "DELETE", "/files/shared/alice/x"))[2] == b'{"was":true}'
    assert (await ask(app.user_api, "DELETE", "/files/shared/alice/x"))[2] == b'{"was":false}'
    for path in ("shared/bob/x", "users/bob/x", "etc/passwd", "local/../x"):
        assert (await ask(app.user_api, "PUT", f"/files/{path}", b"1"))[0] in (400, 403), path
    context.disk.is_full = True
    assert (await ask(app.user_api, "PUT", "/files/local/full", b"1"))[0] == 507


async def test_the_agent_listens_for_it_and_hands_over_what_it_accepts(mesh: SmallMesh[ProcessApp]) -> None:
    app = named(mesh, "a")
    _, _, body = await ask(app.user_api, "GET", "/port")
    host, _, port = body.decode().partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"you")
    assert await reader.read() == b"hello False you"
    writer.close()
    await writer.wait_closed()
    await until(lambda: bool(mesh.context("a").trail.trails))
    (trail,) = mesh.context("a").trail.trails
    assert (trail.action, trail.rule, trail.meter.sent) == ("accept", "permission listen", 3)
    assert (await ask(app.user_api, "DELETE", "/port"))[0] == 204
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_a_port_closes_with_the_app(mesh: SmallMesh[ProcessApp]) -> None:
    app = named(mesh, "a")
    _, _, body = await ask(app.user_api, "GET", "/port")
    host, _, port = body.decode().partition(":")
    await app.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_what_it_prints_and_logs_is_in_its_log(
    mesh: SmallMesh[ProcessApp], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "test.app"):
        await ask(named(mesh, "a").user_api, "GET", "/say")
        await until(lambda: "warned" in caplog.text and "printed" in caplog.text)
    levels = {record.getMessage(): record.levelname for record in caplog.records}
    assert (levels["printed"], levels["warned of it"]) == ("INFO", "WARNING")


def call(*words: str) -> Call:
    here = EndpointRef(OWN_IDS[0], "a")
    return Call(program="ztm probe", words=words, directory="/tmp", endpoint=here, environment={"TERM": "x"})


async def test_its_commands_run_in_its_process_with_input_both_outputs_and_a_status(
    mesh: SmallMesh[ProcessApp],
) -> None:
    app = named(mesh, "a")
    console = MemoryConsole(call("say", "b"))
    assert (await app.command(console), console.out, console.err) == (5, b"b\n", b"")
    typed = os.urandom(200_000)
    console = MemoryConsole(call("cat"), typed)
    assert (await app.command(console), console.out == typed, console.err) == (0, True, b"done\n")
    console = MemoryConsole(call("sag"))
    assert (await app.command(console), console.err.startswith(b"ztm: unknown command: sag")) == (2, True)


class Interrupting(MemoryConsole):
    """A caller who presses Ctrl-C."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.interrupted: Callable[[], None] = lambda: None
        self.begun = asyncio.Event()

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        self.interrupted = interrupted

    async def write(self, data: bytes) -> None:
        await super().write(data)
        self.begun.set()


async def test_a_command_ends_at_an_interrupt_with_its_caller_and_with_its_app(mesh: SmallMesh[ProcessApp]) -> None:
    app = named(mesh, "a")
    for end in ("interrupt", "leave", "stop"):
        console = Interrupting(call("wait"))
        running = asyncio.ensure_future(app.command(console))
        await console.begun.wait()
        if end == "interrupt":
            console.interrupted()
            assert await running == 130
        elif end == "leave":
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await until(lambda: app.figures()["streams"] == 0)
        else:
            await app.stop()
            with pytest.raises(UnreachableError):
                await running


async def test_a_stop_ends_what_is_under_way_and_the_process(mesh: SmallMesh[ProcessApp]) -> None:
    app = named(mesh, "a")
    pid = app.pid
    assert pid is not None
    waiting = asyncio.ensure_future(ask(app.user_api, "GET", "/wait"))
    stream = await through(mesh, app.user_api, f"/through/{mesh.context('b').place.id}/x")
    await app.stop()
    with pytest.raises(ZtmError):
        await waiting
    with pytest.raises(ZtmError):
        await read_all(stream)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(UnreachableError, match="stopped"):
        await ask(app.user_api, "GET", "/place")
    assert app.condition.state == "stopped"


async def test_a_caller_that_leaves_ends_its_request_in_the_app(mesh: SmallMesh[ProcessApp]) -> None:
    app = named(mesh, "a")
    waiting = asyncio.ensure_future(ask(app.user_api, "GET", "/wait"))
    await until(lambda: app.figures()["streams"] > 0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await until(lambda: app.figures()["streams"] == 0)


async def test_it_says_how_it_is_doing_and_what_it_counts(mesh: SmallMesh[ProcessApp]) -> None:
    app = named(mesh, "a")
    assert isinstance(app, Supervised)
    assert isinstance(app, Measured)
    await ask(app.user_api, "GET", "/place")
    assert (app.condition.state, app.condition.restarts) == ("running", 0)
    assert app.condition.confinement.startswith("confined")
    assert app.figures() == {"streams": 0, "requests_total": 1, "refused_total": 0, "restarts_total": 0}
    assert app.ready is not None
    assert "peer GET /whoami (owner)" in app.ready.routes
    assert "say <endpoint>" in app.ready.commands
