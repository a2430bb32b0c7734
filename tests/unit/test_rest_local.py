"""What a router of the local API does more than one of the mesh, and what the description says of routes."""

import json
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
import pytest
from test_rest_router import ask

from ztm.errors import NotFoundError
from ztm.rest.message import BINARY, Request, Response
from ztm.rest.openapi import document
from ztm.rest.route import Param
from ztm.rest.router import Router


class Thing(msgspec.Struct):
    """A thing."""

    name: str


async def thing(_request: Request) -> Response:
    return Response(body=Thing("x"))


async def nothing(_request: Request) -> Response:
    raise NotFoundError("")


async def pieces(_request: Request) -> Response:
    async def stream() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    return Response(200, stream(), BINARY)


def local() -> Router:
    router = Router(local=True)
    router.add("GET", "/things/{name}", thing)
    router.add("POST", "/things/{name}", thing)
    router.add("GET", "/nothing", nothing)
    router.add("GET", "/pieces", pieces)
    return router


async def test_an_unknown_path_and_a_missing_thing_are_told_in_json() -> None:
    for path in ("/nowhere", "/nothing"):
        status, _, body = await ask(local(), "GET", path)
        assert (status, json.loads(body)["status"]) == (404, 404)
        assert json.loads(body)["message"]


async def test_another_method_is_told_which_there_are() -> None:
    status, headers, body = await ask(local(), "DELETE", "/things/x")
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert "DELETE" in json.loads(body)["message"]
    assert (await ask(local(), "OPTIONS", "/things/x"))[:2] == (204, {"allow": "GET, HEAD, OPTIONS, POST"})
    assert (await ask(local(), "OPTIONS", "/nowhere"))[0] == 404


async def test_the_same_answer_has_the_same_tag_and_is_not_sent_twice() -> None:
    _, headers, body = await ask(local(), "GET", "/things/x")
    tag = headers["etag"]
    assert body == b'{"name":"x"}'
    for given in (tag, f'"other", W/{tag}', "*"):
        assert await ask(local(), "GET", "/things/x", headers=[("if-none-match", given)]) == (304, {"etag": tag}, b"")
    assert (await ask(local(), "GET", "/things/x", headers=[("if-none-match", '"other"')]))[0] == 200
    assert (await ask(local(), "HEAD", "/things/x", headers=[("if-none-match", tag)]))[0] == 304
    assert "etag" not in (await ask(local(), "POST", "/things/x"))[1]
    assert (await ask(local(), "GET", "/pieces"))[1:] == ({"content-type": BINARY}, b"abcd")


@pytest.mark.parametrize(
    ("query", "values"),
    [("", []), ("label=a", ["a"]), ("label=a&x=1&label=b%20c", ["a", "b c"]), ("label=&label", []), ("labels=a", [])],
)
async def test_all_values_of_a_parameter_can_be_had(query: str, values: list[str]) -> None:
    async def every(request: Request) -> Response:
        return Response(body=request.every("label"))

    router = Router()
    router.add("GET", "/x", every)
    assert json.loads((await ask(router, "GET", f"/x?{query}"))[2]) == values


async def test_json_that_is_nested_too_deeply_is_malformed() -> None:
    async def take(request: Request) -> Response:
        return Response(body=await request.json(list))  # type: ignore[type-var]

    router = Router(local=True)
    router.add("POST", "/x", take)
    assert (await ask(router, "POST", "/x", b"[" * 20_000))[0] == 400


# --- the description --------------------------------------------------------------------------------------


def described() -> dict[str, object]:
    router = Router(local=True)
    router.add(
        "GET",
        "/things",
        thing,
        answer=list[Thing],
        query=(Param("limit", Annotated[int, msgspec.Meta(ge=1)], "at most"), Param("label", list[str])),
        headers={"total": "how many"},
        statuses={404: "none"},
    )
    router.add("POST", "/text", thing, body=str, answer=bytes, statuses={201: "stored"})
    router.add("GET", "/events", thing, answer=str, answer_type="text/event-stream", is_open=True)
    router.add("GET", "/files/*", thing, answer=bytes, answer_type="image/png")
    made: dict[str, object] = document(router, "ztm", "1")["paths"]
    return made


def test_query_parameters_and_header_fields_are_described() -> None:
    made = described()["/things"]["get"]  # type: ignore[index]
    limit, label = made["parameters"]
    assert limit == {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1},
        "description": "at most",
    }
    assert (label["schema"]["type"], label["explode"]) == ("array", True)
    assert made["responses"]["200"]["headers"]["total"]["description"] == "how many"
    assert made["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"


def test_bodies_that_are_not_json_are_described_by_their_type() -> None:
    made = described()
    post = made["/text"]["post"]  # type: ignore[index]
    assert list(post["requestBody"]["content"]) == ["text/plain"]
    assert post["responses"]["201"]["content"] == {BINARY: {"schema": {"type": "string", "format": "binary"}}}
    assert "200" not in post["responses"]
    assert list(made["/events"]["get"]["responses"]["200"]["content"]) == ["text/event-stream"]  # type: ignore[index]
    assert list(made["/files/{rest}"]["get"]["responses"]["200"]["content"]) == ["image/png"]  # type: ignore[index]


def test_refusals_are_described_by_what_they_say_and_who_must_sign_in() -> None:
    made = described()
    refused = made["/things"]["get"]["responses"]["404"]  # type: ignore[index]
    assert refused["description"] == "none"
    assert refused["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")
    assert {"304", "400", "401", "403", "413", "429"} <= set(made["/things"]["get"]["responses"])  # type: ignore[index]
    assert made["/events"]["get"]["security"] == []  # type: ignore[index]
    assert "security" not in made["/things"]["get"]  # type: ignore[index]
