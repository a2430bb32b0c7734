"""Which handler a path and a method reach, and what becomes of what handlers return and raise."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_stream import exchange_pair
from ztm.errors import ForbiddenError, NotFoundError, UnreachableError
from ztm.model import Peer
from ztm.net.asgi import ASGIApp, HttpLimits, Message, Receive, Scope, Send, answer_exchange
from ztm.net.base import Headers
from ztm.rest.message import Request, Response
from ztm.rest.openapi import document
from ztm.rest.router import Router
from ztm.rest.template import Node, Template, split_path

Answered = tuple[int, dict[str, str], bytes]


async def ask(
    app: ASGIApp, method: str, path: str, body: bytes = b"", headers: Headers = (), **extensions: object
) -> Answered:
    caller, exchange = exchange_pair([(":method", method), (":scheme", "http"), (":path", path), *headers])
    await caller.write(body)
    caller.end()
    await answer_exchange(exchange, app, {f"ztm.{name}": value for name, value in extensions.items()}, HttpLimits())
    status, fields = await caller.response()
    return status, dict(fields), await caller.read_all()


async def show(request: Request) -> Response:
    return Response(body={"path": request.path, "params": dict(request.params), "query": request.query})


def router_of(*templates: str, decode: bool = True) -> Router:
    router = Router()
    for template in templates:

        async def handler(request: Request, name: str = template) -> Response:
            return Response(body={"template": name, "params": dict(request.params)})

        router.add("GET", template, handler, decode=decode)
    return router


ALL = ("/api/files", "/api/files/*", "/api/{x}", "/api/files/{x}/meta", "/*", "/api/me")


@pytest.mark.parametrize(
    ("path", "template", "params"),
    [
        ("/api/files", "/api/files", {}),
        ("/API/Files/", "/api/files", {}),
        ("/api/files/a/b", "/api/files/*", {"*": "a/b"}),
        ("/api/files/A%2fb", "/api/files/*", {"*": "A/b"}),
        ("/api/files/a/meta", "/api/files/{x}/meta", {"x": "a"}),
        ("/api/me", "/api/me", {}),
        ("/api/You%20too", "/api/{x}", {"x": "You too"}),
        ("/api/a+b", "/api/{x}", {"x": "a+b"}),
        ("/api/a/b", "/*", {"*": "api/a/b"}),
        ("/", "/*", {"*": ""}),
    ],
)
async def test_the_most_literal_template_wins(path: str, template: str, params: dict[str, str]) -> None:
    _, _, body = await ask(router_of(*ALL), "GET", path)
    assert json.loads(body) == {"template": template, "params": params}


async def test_parameters_stay_encoded_where_a_route_says_so() -> None:
    _, _, body = await ask(router_of("/api/{x}/*", decode=False), "GET", "/api/a%2Fb/c%20d")
    assert json.loads(body)["params"] == {"x": "a%2Fb", "*": "c%20d"}


@pytest.mark.parametrize("path", ["/api//x", "/api", "/api/a//", "/other"])
async def test_an_empty_segment_and_an_unknown_path_are_404_and_empty(path: str) -> None:
    assert await ask(router_of("/api/{x}", "/api/{x}/y"), "GET", path) == (404, {}, b"")


async def test_another_method_of_a_known_path_is_405_and_empty() -> None:
    router = router_of("/api/{x}")
    status, headers, body = await ask(router, "POST", "/api/a")
    assert (status, headers, body) == (405, {"allow": "GET"}, b"")


async def test_a_method_is_found_behind_a_more_literal_path_without_it() -> None:
    router = router_of("/api/self")
    router.add("POST", "/api/{x}", show)
    assert (await ask(router, "POST", "/api/self"))[0] == 200


async def test_head_is_served_by_get_without_its_body() -> None:
    assert await ask(router_of("/x"), "HEAD", "/x") == (200, {"content-type": "application/json"}, b"")


async def websocket(router: Router, path: str) -> tuple[int, bytes]:
    """The answer that denies a WebSocket; 101 if it is accepted."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "root_path": "", "extensions": {}}
    await router(scope, receive, send)
    if sent[0]["type"] == "websocket.accept":
        return 101, sent[0]["headers"][0][1]
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    return sent[0]["status"], sent[1]["body"]


async def test_a_websocket_is_for_mounted_applications_and_no_route() -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen = f"{scope['path']} {scope['root_path']} {scope['path_params']}".encode()
        await send({"type": "websocket.accept", "headers": [(b"x", seen)]})

    router = Router(local=True)
    router.add("GET", "/api/x", show)
    router.add("POST", "/api/y", show)
    router.add("CONNECT", "/api/apps/{app}/cli", show)
    router.mount("/api/apps/{app}", app)
    assert await websocket(router, "/api/apps/a/b") == (101, b"/b /api/apps/a {'app': 'a'}")
    assert await websocket(router, "/api/apps/a/cli") == (101, b"/cli /api/apps/a {'app': 'a'}")
    for path, status in (("/api/x", 400), ("/api/y", 405), ("/api/z", 404)):
        got, body = await websocket(router, path)
        assert (got, json.loads(body)["status"]) == (status, status)
    assert (await websocket(router_of("/x"), "/x"))[0] == 400
    assert await websocket(router_of("/x"), "/y") == (404, b"")


SEGMENT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)


@given(SEGMENT, SEGMENT)
def test_any_encoded_segment_is_one_parameter(a: str, b: str) -> None:
    node: Node[str] = Node()
    node.at(Template.parse("/api/{a}/to/{b}")).value = "here"
    path = f"/api/{quote(a, safe='')}/TO/{quote(b, safe='')}"
    assert list(node.matches(split_path(path))) == [("here", [quote(a, safe=""), quote(b, safe="")])]


@pytest.mark.parametrize("text", ["api", "/a/*/b", "/a//b", "/{x}/{x}"])
def test_a_malformed_template_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"template|twice"):
        Template.parse(text)


def test_one_method_of_a_path_cannot_be_taken_twice() -> None:
    router = router_of("/api/{x}")
    with pytest.raises(ValueError, match="taken"):
        router.add("GET", "/API/{y}", show)


# --- responses and errors ---------------------------------------------------------------------------------


def answering(body: Any) -> Router:
    async def handler(request: Request) -> Response:
        return Response(201, body, headers=[("x-y", "z")])

    router = Router()
    router.add("GET", "/", handler)
    return router


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        (b"\x00", "application/octet-stream", b"\x00"),
        ("text é", "text/plain", "text é".encode()),
        ({"a": [1]}, "application/json", b'{"a":[1]}'),
        ([], "application/json", b"[]"),
        (None, None, b""),
        ("", None, b""),
    ],
)
async def test_the_kind_of_a_body_says_how_it_is_sent(body: Any, content_type: str | None, sent: bytes) -> None:
    status, headers, got = await ask(answering(body), "GET", "/")
    assert (status, headers.get("content-type"), got) == (201, content_type, sent)
    assert headers["x-y"] == "z"


async def test_a_stream_of_bytes_is_sent_as_it_comes() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    assert (await ask(answering(parts()), "GET", "/"))[2] == b"onetwo"


def raising(error: Exception, *, plain: bool = False) -> Router:
    async def handler(request: Request) -> Response:
        raise error

    router = Router(plain=plain)
    router.add("GET", "/", handler)
    router.add("CONNECT", "/", handler)
    return router


async def test_an_error_becomes_its_status_and_says_why() -> None:
    status, headers, body = await ask(raising(ForbiddenError("not yours")), "GET", "/")
    assert (status, headers) == (403, {"content-type": "application/json"})
    assert body == b'{"status":403,"message":"not yours"}'


async def test_an_error_without_a_message_has_no_body() -> None:
    assert await ask(raising(NotFoundError()), "GET", "/") == (404, {}, b"")


async def test_a_plain_router_says_why_in_text() -> None:
    router = raising(NotFoundError("No agent session established yet"), plain=True)
    got = await ask(router, "GET", "/")
    assert got == (404, {"content-type": "text/plain"}, b"No agent session established yet")


async def test_a_refused_connect_has_its_reason_in_a_header() -> None:
    status, headers, _ = await ask(raising(UnreachableError("no target\r\nanswers: é")), "CONNECT", "/")
    assert (status, headers["ztm-error"]) == (503, "no target%0D%0Aanswers: %C3%A9")


@pytest.mark.parametrize("error", [ValueError("secret"), None])
async def test_anything_else_is_500_without_details(error: Exception | None) -> None:
    async def nothing(request: Request) -> None:
        return None

    router = raising(error) if error else Router()
    if not error:
        router.add("GET", "/", nothing)
    assert (await ask(router, "GET", "/"))[::2] == (500, b'{"status":500,"message":"internal error"}')


# --- requests ---------------------------------------------------------------------------------------------


class Order(msgspec.Struct):
    name: str
    count: int = 1


async def order(request: Request) -> Response:
    return Response(body=await request.json(Order))


async def test_a_query_is_decoded_and_its_first_value_counts() -> None:
    router = Router()
    router.add("GET", "/", show)
    _, _, body = await ask(router, "GET", "/?a=1%262&a=3&b=x+y&c&%64=%C3%A9")
    assert json.loads(body)["query"] == {"a": "1&2", "b": "x+y", "c": "", "d": "é"}


async def test_a_body_is_checked_against_its_type() -> None:
    router = Router()
    router.add("POST", "/", order)
    assert (await ask(router, "POST", "/", b'{"name":"n"}'))[::2] == (200, b'{"name":"n","count":1}')


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"{bad", "malformed"), (b"", "truncated"), (b'{"name":1}', "$.name"), (b"\xff", "POST /")],
)
async def test_a_wrong_body_is_400_and_says_what_is_wrong(body: bytes, reason: str) -> None:
    router = Router()
    router.add("POST", "/", order)
    status, _, got = await ask(router, "POST", "/", body)
    assert status == 400
    assert reason in json.loads(got)["message"]


async def test_a_handler_sees_who_calls_and_by_what() -> None:
    async def who(request: Request) -> Response:
        assert request.peer
        return Response(body=f"{request.peer.user} {request.link} {request.headers['x-a']}")

    router = Router()
    router.add("GET", "/", who)
    fields = [("x-a", "1"), ("x-a", "2")]
    got = await ask(router, "GET", "/", b"", fields, peer=Peer("alice"), link="the hub")
    assert got[2] == b"alice the hub 1, 2"


async def test_a_body_beyond_a_handlers_own_bound_is_413() -> None:
    async def little(request: Request) -> Response:
        return Response(body=await request.text(limit=3))

    router = Router()
    router.add("POST", "/", little)
    assert (await ask(router, "POST", "/", b"abc"))[::2] == (200, b"abc")
    assert (await ask(router, "POST", "/", b"abcd"))[0] == 413


async def test_a_path_that_is_found_again_has_its_own_parameters_each_time() -> None:
    seen: list[dict[str, str]] = []

    async def take(request: Request) -> Response:
        seen.append(dict(request.params))
        return Response()

    inner, outer = Router(), Router()
    inner.add("CONNECT", "/a/{x}", take)
    outer.mount("/m/{above}", inner)
    for above in ("1", "1", "2"):
        await ask(outer, "CONNECT", f"/m/{above}/a/b%20c")
    assert seen == [{"above": above, "x": "b c"} for above in ("1", "1", "2")]


async def test_a_handler_takes_the_stream_of_a_connect() -> None:
    async def shout(request: Request) -> None:
        stream = request.upgrade.accept()
        while data := await stream.read():
            await stream.write(data.upper())

    router = Router()
    router.add("CONNECT", "/x/{y}", shout)
    assert await ask(router, "CONNECT", "/x/1", b"hi") == (200, {}, b"HI")


# --- mounts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "inside", "app"),
    [
        ("/api/meshes/m%201/apps/ztm/tunnel/api/in%2Fbound?x=1", "/api/in%2Fbound", "tunnel"),
        ("/API/meshes/m%201/apps/ztm/Tunnel", "/", "Tunnel"),
        ("/api/meshes/m%201/apps/ztm/tunnel/", "/", "tunnel"),
        ("/api/meshes/m%201/apps/ztm/tunnel//a/", "//a/", "tunnel"),
    ],
)
async def test_a_mounted_app_sees_the_path_below_its_prefix(path: str, inside: str, app: str) -> None:
    async def see(request: Request) -> Response:
        return Response(body={"raw": request.raw_path, "params": dict(request.params)})

    below = Router()
    below.add("GET", "/*", see)
    router = router_of("/api/{x}")
    router.mount("/api/meshes/{mesh}/apps/{provider}/{app}", below)
    _, _, body = await ask(router, "GET", path)
    assert json.loads(body)["raw"] == inside
    assert {**json.loads(body)["params"], "*": ""} == {"mesh": "m 1", "provider": "ztm", "app": app, "*": ""}


async def test_routes_are_preferred_to_mounts_and_the_nearer_mount_to_the_farther() -> None:
    router, near, far = router_of("/api/x"), router_of("/y"), router_of("/*")
    router.mount("/api", near)
    router.mount("", far)
    assert b'"/api/x"' in (await ask(router, "GET", "/api/x"))[2]
    assert b'"/y"' in (await ask(router, "GET", "/api/y"))[2]
    assert b'"/*"' in (await ask(router, "GET", "/page"))[2]
    assert (await ask(router, "GET", "/api/z"))[0] == 404


# --- the description --------------------------------------------------------------------------------------


def test_the_description_lists_every_route_with_its_types() -> None:
    below, router = Router(), Router()
    below.add("POST", "/orders/{id}", order, body=Order, answer=Order, statuses={201: "made", 409: ""}, tag="shop")
    below.add("CONNECT", "/raw/*", order, summary="a stream")
    router.mount("/api/{mesh}", below)
    router.add("GET", "/orders", order, answer=list[Order])
    made = document(router, "ztm", "1")
    post = made["paths"]["/api/{mesh}/orders/{id}"]["post"]
    assert made["openapi"] == "3.1.0"
    assert [parameter["name"] for parameter in post["parameters"]] == ["mesh", "id"]
    schema = {"schema": {"$ref": "#/components/schemas/Order"}}
    assert post["requestBody"]["content"]["application/json"] == schema
    assert post["responses"]["201"] == {"description": "made", "content": {"application/json": schema}}
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert post["responses"]["409"] == {"description": "Conflict", "content": problem}
    assert (post["operationId"], post["tags"]) == ("post_mesh_orders_id", ["shop"])
    assert made["paths"]["/api/{mesh}/raw/{rest}"]["x-connect"]["summary"] == "a stream"
    assert made["paths"]["/orders"]["get"]["responses"]["200"]["description"] == "OK"
    assert "Order" in made["components"]["schemas"]
    assert json.dumps(made)
