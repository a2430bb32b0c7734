"""Becoming a WebSocket, or being denied one by a plain answer."""

import pytest

from websocket_client import ACCEPT, handshake
from websocket_served import echo, served
from ztm.errors import BrokenStreamError, ForbiddenError
from ztm.net.asgi import ASGIApp, Receive, Scope, Send


async def test_the_handshake_of_the_rfc_is_answered_as_there() -> None:
    async with served() as client:
        assert await client.open("/chat") == 101
        assert client.headers == {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": ACCEPT}


async def test_the_application_is_told_all_of_the_request() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    offers = ("sec-websocket-protocol", "chat, v2"), ("sec-websocket-protocol", "v3")
    async with served(app, **{"ztm.peer": "root"}) as client:
        assert await client.open("/a%20b?x=1", *offers, connection="keep-alive, UPGRADE", upgrade="WebSocket") == 101
    (scope,) = seen
    assert "method" not in scope
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"x=1")
    assert (scope["scheme"], scope["http_version"], scope["subprotocols"]) == ("ws", "1.1", ["chat", "v2", "v3"])
    assert scope["extensions"] == {"ztm.peer": "root", "websocket.http.response": {}}
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert (b"sec-websocket-version", b"13") in scope["headers"]


async def test_the_chosen_subprotocol_and_the_applications_headers_are_told() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "v2", "headers": [(b"x-one", b"1")]})

    async with served(app) as client:
        await client.open("/", ("sec-websocket-protocol", "v1, v2"))
        assert (client.headers["sec-websocket-protocol"], client.headers["x-one"]) == ("v2", "1")


@pytest.mark.parametrize(
    "accept",
    [
        {"subprotocol": "v3"},
        {"headers": [(b"sec-websocket-accept", b"x")]},
        {"headers": [(b"Connection", b"close")]},
        {"headers": [(b"x-one", b"1\r\nx-two: 2")]},
    ],
)
async def test_an_accept_that_would_break_the_handshake_is_the_applications_failure(
    accept: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", **accept})

    async with served(app) as client:
        assert await client.open("/", ("sec-websocket-protocol", "v1")) == 500
        assert await client.body() == b'{"status":500,"message":"internal error"}'
    assert "failed" in caplog.text


@pytest.mark.parametrize(
    "fields",
    [
        {"sec_websocket_version": None},
        {"sec_websocket_version": "8"},
        {"sec_websocket_key": None},
        {"sec_websocket_key": "c2hvcnQ="},
        {"sec_websocket_key": "?" * 24},
        {"content_length": "3"},
        {"transfer_encoding": "chunked"},
    ],
)
async def test_a_malformed_handshake_is_400_and_says_why(fields: dict[str, str | None]) -> None:
    async with served() as client:
        assert await client.open(**fields) == 400
        body = await client.body()
        assert body.startswith(b'{"status":400,"message":"')
        assert client.headers["connection"] == "close"
        assert ("sec-websocket-version" in client.headers) == (b"body" not in body)


async def test_two_keys_are_one_too_many() -> None:
    async with served() as client:
        assert await client.open("/", ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")) == 400


@pytest.mark.parametrize(
    "head",
    [
        handshake(connection="keep-alive"),
        handshake(upgrade="h2c"),
        handshake(upgrade=None),
        handshake().replace(b"HTTP/1.1", b"HTTP/1.0"),
        handshake(content_length="0").replace(b"GET", b"POST"),
    ],
)
async def test_what_only_looks_like_a_handshake_is_a_request_like_any_other(head: bytes) -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["type"].encode()})

    async with served(app) as client:
        await client.stream.write(head)
        client.stream.end()
        assert (await client.body()).endswith(b"\r\n\r\nhttp")


# ---------------------------------------------------------------------- denials


async def denied(app: ASGIApp) -> tuple[int, bytes]:
    """The status and body of the answer, after which the connection is over."""
    async with served(app) as client:
        status = await client.open()
        assert client.headers["connection"] == "close"
        return status, await client.body()


async def test_a_close_before_an_accept_is_403() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})
        assert (await receive())["type"] == "websocket.disconnect"

    status, body = await denied(app)
    assert (status, body[:14]) == (403, b'{"status":403,')


async def test_an_application_can_deny_with_an_answer_of_its_own() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-a", b"b")]})
        with pytest.raises(RuntimeError):
            await send({"type": "websocket.accept"})
        await send({"type": "websocket.http.response.body", "body": b"te", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"a"})

    assert await denied(app) == (418, b"2\r\nte\r\n1\r\na\r\n0\r\n\r\n")


async def test_a_failure_before_an_accept_is_a_status(caplog: pytest.LogCaptureFixture) -> None:
    async def refuses(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ForbiddenError("not yours")

    async def breaks(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("secret")

    async def returns(_scope: Scope, _receive: Receive, _send: Send) -> None:
        return

    assert await denied(refuses) == (403, b'{"status":403,"message":"not yours"}')
    for app in (breaks, returns):
        assert await denied(app) == (500, b'{"status":500,"message":"internal error"}')
    assert "secret" in caplog.text


async def test_a_peer_that_leaves_before_it_is_accepted_is_told_to_the_application() -> None:
    told: list[object] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        told.append((await receive())["code"])
        with pytest.raises(BrokenStreamError):
            await send({"type": "websocket.accept"})

    async with served(app) as client:
        await client.stream.write(handshake())
        client.stream.end()
        await client.body()
    assert told == [1006]
