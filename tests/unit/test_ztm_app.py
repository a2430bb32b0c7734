"""What authors of apps write against, on two endpoints in memory."""

import asyncio
import logging
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi import Request as FastRequest

from ztm.model import Address
from ztm.net.scope import Receive, Scope, Send
from ztm_app import (
    App,
    CommandContext,
    ForbiddenError,
    Incoming,
    NotFoundError,
    Option,
    Request,
    Response,
    Stream,
    UnreachableError,
    ZtmError,
)
from ztm_app.app import app_of
from ztm_app.testing import two_endpoints


def hello() -> App:
    """The smallest complete app of the specification."""
    app = App()

    @app.user.get("/api/hello/{ep}")
    async def _hello(req: Request, ep: str) -> Any:
        reply = await app.mesh.request(ep, "GET", "/whoami")
        return {"from": ep, "reply": reply.json()}

    @app.peer.get("/whoami")
    async def _whoami(req: Request) -> Any:
        assert req.peer is not None
        await app.files.write(f"/shared/{app.owner}/last.json", {"caller": req.peer.user})
        return {"name": app.endpoint.name, "you": req.peer.user}

    @app.cli("say <endpoint> [greeting]", help="Greet an endpoint", options=[Option("--loud", "", "Shout")])
    async def _say(ctx: CommandContext, endpoint: str, greeting: str) -> int:
        reply = await app.mesh.request(await ctx.resolve(endpoint), "GET", "/whoami")
        text = f"{greeting or 'hello'} {reply.json()['name']}"
        ctx.print(text.upper() if ctx.arguments.flag("--loud") else text)
        return 3

    return app


async def test_the_example_of_the_specification_works_on_two_endpoints() -> None:
    async with two_endpoints(hello()) as (a, b):
        reply = await a.get(f"/api/hello/{b.id}")
        assert reply.json() == {"from": b.id, "reply": {"name": "b", "you": "alice"}}
        assert await b.host.read("/shared/alice/last.json") == b'{"caller":"alice"}'
        ran = await a.run("say", "b")
        assert (ran.status, ran.out, ran.err) == (3, "hello b\n", "")


async def test_words_of_a_command_are_checked_before_it_runs() -> None:
    async with two_endpoints(hello()) as (a, _):
        assert (await a.run("say", "b", "moin", "--loud")).out == "MOIN B\n"
        assert "Greet an endpoint" in (await a.run("help")).out
        assert "--loud" in (await a.run("say", "--help")).out
        for words, told in (
            (("say",), "missing argument <endpoint>"),
            (("sag", "b"), "unknown command: sag (did you mean 'say'?)"),
            (("say", "b", "--lout"), "unknown option: --lout"),
            (("say", "nobody"), "endpoint 'nobody' not found"),
        ):
            ran = await a.run(*words)
            assert told in ran.err
            assert ran.status in (1, 2)


async def test_a_peer_is_the_owner_unless_a_route_says_more() -> None:
    app = App()

    @app.peer.get("/own")
    async def _own(req: Request) -> str:
        return "own"

    @app.peer.get("/team", allow=["bob"])
    async def _team(req: Request) -> str:
        return "team"

    @app.peer.get("/all", allow="any")
    async def _all(req: Request) -> str:
        return "all"

    async with two_endpoints(app) as (a, _):
        for user, statuses in (("alice", (200, 200, 200)), ("bob", (403, 200, 200)), ("carol", (403, 403, 200))):
            assert (
                tuple([(await a.as_peer(user, "GET", path)).status for path in ("/own", "/team", "/all")]) == statuses
            )
        assert (await a.as_peer("", "GET", "/all")).status == 403


def test_a_mistyped_allow_or_path_is_found_where_it_is_written() -> None:
    app = App()
    for allow in ("owners", ["*"], "*"):
        with pytest.raises(ValueError, match="allow is"):
            app.peer.get("/x", allow=allow)
    with pytest.raises(ValueError, match="template"):
        app.user.get("no-slash")


async def test_a_handler_answers_in_whichever_form_it_likes() -> None:
    app, given = App(), {}  # type: ignore[var-annotated]
    given |= {
        "dict": {"a": 1},
        "list": [1],
        "text": "x",
        "bytes": b"\0",
        "none": None,
        "response": Response(201, "made"),
    }

    @app.user.get("/{kind}/*")
    def _answer(req: Request, kind: str, rest: str) -> Any:
        assert rest == "deep/er"
        return given[kind]

    async with two_endpoints(app) as (a, _):
        found = {kind: await a.get(f"/{kind}/deep/er") for kind in given}
        assert found["dict"].json() == {"a": 1}
        assert found["list"].json() == [1]
        assert (found["text"].text(), found["text"].headers["content-type"]) == ("x", "text/plain")
        assert found["bytes"].body == b"\0"
        assert (found["none"].status, found["none"].body) == (204, b"")
        assert found["response"].status == 201


async def test_a_body_that_is_not_as_expected_is_answered_400() -> None:
    app = App()

    @app.user.post("/add")
    async def _add(req: Request) -> int:
        return sum(await req.json(list[int]))

    async with two_endpoints(app) as (a, _):
        assert (await a.post("/add", [1, 2])).status == 200
        refused = await a.post("/add", ["x"])
        assert (refused.status, "Expected `int`" in refused.json()["message"]) == (400, True)


def streams() -> App:
    app = App()

    @app.peer.connect("/echo/{mark}", allow=["bob"])
    async def _echo(req: Request, stream: Incoming, mark: str) -> None:
        if mark == "no":
            stream.refuse(409, "not today")
        async with await stream.accept():
            async for data in stream:
                await stream.write(mark.encode() + data)
            await stream.write(b"<end>")

    @app.user.connect("/through/{ep}")
    async def _through(req: Request, stream: Incoming, ep: str) -> None:
        there = await app.mesh.connect(ep, "/echo/x")
        await (await stream.accept()).join(there)

    @app.user.connect("/forgotten")
    async def _forgotten(req: Request, stream: Incoming) -> None: ...

    return app


async def rest_of(stream: Stream) -> bytes:
    return b"".join([data async for data in stream])


async def test_streams_are_accepted_refused_half_closed_and_joined() -> None:
    async with two_endpoints(streams()) as (a, b):
        async with await a.connect(f"/through/{b.id}") as stream:
            await stream.write(b"hi")
            assert await stream.read() == b"xhi"
            stream.end()
            assert await rest_of(stream) == b"<end>"
        with pytest.raises(ZtmError, match="neither took nor refused"):
            await a.connect("/forgotten")
        with pytest.raises(NotFoundError):
            await a.connect("/unknown")
        with pytest.raises(ZtmError, match="not today"):
            await a.host.connect(b.id, "/echo/no")


async def test_a_stream_of_another_user_is_refused_unless_it_is_let_in() -> None:
    for users, is_allowed in ((("bob", "alice"), True), (("carol", "alice"), False)):
        async with two_endpoints(streams(), users=users) as (a, b):
            if is_allowed:
                (await a.host.connect(b.id, "/echo/x")).end()
            else:
                with pytest.raises(ForbiddenError, match="carol"):
                    await a.host.connect(b.id, "/echo/x")


async def test_nothing_is_granted_that_the_manifest_does_not_ask_for() -> None:
    app = App()
    tried = {
        "mesh.connect": app.mesh.endpoints,
        "files.local": lambda: app.files.read("/local/x"),
        "files.user": lambda: app.files.write("/users/alice/x", b""),
        "files.shared": lambda: app.files.read("/shared/bob/x"),
        "listen": lambda: app.listen(0, _unused),
        "app:ztm/users": lambda: app.ask("ztm/users", "GET", "/"),
    }

    @app.user.get("/{permission}/{rest}")
    @app.user.get("/{permission}")
    async def _try(req: Request, permission: str, rest: str = "") -> str:
        await tried[f"{permission}/{rest}" if rest else permission]()  # type: ignore[no-untyped-call]
        return "done"

    async with two_endpoints(app, permissions=()) as (a, _):
        for permission in tried:
            refused = await a.get(f"/{permission}")
            assert refused.status == 403, permission
            assert repr(permission) in refused.json()["message"]


async def _unused(stream: Stream) -> None: ...


async def test_files_of_others_are_read_and_never_written() -> None:
    app = App()

    @app.user.put("/put")
    async def _put(req: Request) -> None:
        await app.files.write(req.query["path"], await req.body())

    @app.user.get("/get")
    async def _get(req: Request) -> bytes | Response:
        data = await app.files.read(req.query["path"])
        return Response(404) if data is None else data

    @app.user.get("/list")
    async def _list(req: Request) -> list[str]:
        return [file.path for file in await app.files.list("/shared/")]

    async with two_endpoints(app, users=("alice", "bob")) as (a, b):
        for path, status in (
            ("/shared/alice/x", 204), ("/users/alice/x", 204), ("/local/x", 204),
            ("/shared/bob/x", 403), ("/users/bob/x", 400), ("/etc/passwd", 400), ("/shared/alice/../bob/x", 400),
        ):  # fmt: skip
            assert (await a.request("PUT", f"/put?path={path}", b"!")).status == status, path
        assert (await b.get("/get?path=/shared/alice/x")).body == b"!"
        assert (await b.get("/get?path=/users/alice/x")).status == 400
        assert (await b.get("/get?path=/local/x")).status == 404
        assert (await b.get("/list")).json() == ["/shared/alice/x"]


async def test_a_port_hands_over_what_it_accepts() -> None:
    app, opened = App(), []

    @app.on_start
    async def _open() -> None:
        opened.append(await app.listen(0, _greet))

    async def _greet(stream: Stream) -> None:
        await stream.write(app.endpoint.name.encode())

    async with two_endpoints(app):
        for port, name in zip(opened, (b"a", b"b"), strict=True):
            address: Address = port.address
            reader, writer = await asyncio.open_connection(address.host, address.port)
            assert await reader.read() == name
            writer.close()
            await writer.wait_closed()
            await port.close()


async def test_background_tasks_end_with_the_app_and_none_fails_unseen(caplog: pytest.LogCaptureFixture) -> None:
    app, told = App(), []
    began = asyncio.Event()

    async def _forever() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.append("ended")

    async def _fails() -> None:
        raise RuntimeError("by mistake")

    @app.on_start
    async def _start() -> None:
        app.spawn(_forever())
        app.spawn(_fails())
        told.append(f"started on {app.endpoint.name}")

    @app.on_stop
    async def _stop() -> None:
        told.append(f"stopped on {app.endpoint.name}")

    with caplog.at_level(logging.ERROR, "app"):
        async with two_endpoints(app):
            await began.wait()
    assert told == ["started on a", "started on b", "ended", "stopped on a", "ended", "stopped on b"]
    assert "by mistake" in caplog.text


async def test_an_app_that_cannot_start_says_why() -> None:
    app = App()

    @app.on_start
    async def _start() -> None:
        raise ValueError("no such thing")

    with pytest.raises(ZtmError, match="on_start failed: ValueError: no such thing"):
        async with two_endpoints(app):
            pass


async def test_other_apps_are_asked_and_answered() -> None:
    app, neighbour = App(), App()

    @neighbour.self.get("/users")
    async def _users(req: Request) -> list[str]:
        return ["alice"]

    @app.user.get("/ask")
    async def _ask(req: Request) -> Any:
        return (await app.ask("ztm/users", "GET", "/users")).json()

    async with two_endpoints(neighbour) as (other, _), two_endpoints(app, permissions=["app:ztm/users"]) as (a, _):
        a.neighbours["ztm/users"] = other.runtime.self_api
        assert (await a.get("/ask")).json() == ["alice"]


async def test_nothing_of_the_mesh_is_there_before_the_app_runs() -> None:
    app = App()
    with pytest.raises(RuntimeError, match="does not run"):
        _ = app.owner


async def test_a_failing_command_ends_itself_only(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.cli("break")
    async def _break(ctx: CommandContext) -> None:
        ctx.print("so far\x1b[31m")
        raise RuntimeError("by mistake")

    @app.cli("refuse")
    async def _refuse(ctx: CommandContext) -> None:
        raise UnreachableError("nobody there")

    @app.cli("cat <file name>")
    async def _cat(ctx: CommandContext, file_name: str) -> None:
        while data := await ctx.read():
            await ctx.write(data)
        ctx.error(file_name)

    async with two_endpoints(app) as (a, _):
        broken = await a.run("break")
        assert (broken.status, "its log says why" in broken.err, "\x1b" in broken.out) == (1, True, False)
        assert "by mistake" in caplog.text
        refused = await a.run("refuse")
        assert (refused.status, refused.err) == (1, "ztm: nobody there\n")
        copied = await a.run("cat", "x y", typed=b"\0\x1b1")
        assert (copied.out, copied.err, copied.status) == ("\0\x1b1", "x y\n", 0)


async def test_any_asgi_application_is_an_app_for_its_user_alone() -> None:
    web, told = FastAPI(root_path=""), []

    @web.get("/items/{item}")
    async def _item(item: str, request: FastRequest) -> Any:
        told.append(request.url.path)
        return {"item": item}

    app = app_of(web)
    async with two_endpoints(app) as (a, _):
        assert (await a.get("/items/7")).json() == {"item": "7"}
        assert (await a.as_peer("alice", "GET", "/items/7")).status == 403
    with pytest.raises(TypeError):
        app_of(3)


async def test_an_asgi_application_for_peers_is_told_who_calls() -> None:
    async def peers(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        user = scope["extensions"]["ztm.peer"].user
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": user.encode()})

    async with two_endpoints(App(peer=peers)) as (a, _):
        assert (await a.as_peer("bob", "GET", "/")).text() == "bob"


async def test_the_lifespan_of_an_asgi_application_is_honoured() -> None:
    told = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            told.append(scope["state"]["kept"])
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
            return
        scope["state"]["kept"] = "here"
        while True:
            message = await receive()
            told.append(message["type"])
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async with two_endpoints(lambda: App(user=app)) as (a, _):
        await a.get("/")
    assert told == ["lifespan.startup", "lifespan.startup", "here", "lifespan.shutdown", "lifespan.shutdown"]


async def test_a_lifespan_that_fails_keeps_the_app_from_starting() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(ZtmError, match="no database"):
        async with two_endpoints(App(user=app)):
            pass
