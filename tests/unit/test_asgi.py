"""What callers over HTTP/2 are promised, and how a stream's HTTP version is found out."""

import asyncio
import logging
import weakref
from typing import Any

import pytest

from memory_stream import MemoryStream, exchange_pair, stream_pair
from ztm.net.asgi import ASGIApp, HttpLimits, Receive, Scope, Send, answer_exchange, serve_stream
from ztm.net.base import Answer, Headers, SessionLimits

LIMITS = HttpLimits(body_bytes=100, head_seconds=0.01, idle_seconds=0, linger_seconds=0.01)


def head(method: str, path: str, *fields: tuple[str, str]) -> Headers:
    return [(":method", method), (":scheme", "http"), (":path", path), *fields]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    text = b"%b %b?%b %b" % (scope["method"].encode(), scope["raw_path"], scope["query_string"], body)
    fields = [(b"Content-Type", b"text/plain"), (b"content-length", b"%d" % len(text)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": text})


async def ask(request: Headers, body: bytes = b"", app: ASGIApp = echo) -> tuple[int, Headers, bytes]:
    caller, exchange = exchange_pair(request)
    await caller.write(body)
    caller.end()
    await answer_exchange(exchange, app, {}, LIMITS)
    status, headers = await caller.response()
    return status, headers, await caller.read_all()


async def test_a_request_reaches_the_application_and_its_answer_the_caller() -> None:
    status, headers, body = await ask(head("POST", "/a%20b?x=1"), b"hi")
    assert (status, body) == (200, b"POST /a%20b?x=1 hi")
    assert headers == [("content-type", "text/plain")]  # never content-length or connection on HTTP/2


async def test_authority_is_the_host_unless_there_is_one() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"]).get(b"host"))
        await echo(scope, receive, send)

    authority = (":authority", "a:1")
    await ask([*head("GET", "/"), authority], app=app)
    await ask([*head("GET", "/"), authority, ("host", "b")], app=app)
    await ask(head("GET", "/"), app=app)
    assert seen == [b"a:1", b"b", None]


@pytest.mark.parametrize(
    "request_head",
    [
        [(":method", "GET"), (":path", "/")],
        [(":method", "CONNECT"), (":authority", "x:1")],
        [*head("GET", "/"), (":path", "/b")],
        [*head("GET", "/"), ("a", "b"), (":authority", "x")],
        [*head("GET", "/"), (":protocol", "websocket")],
        head("GET", ""),
        head("GET", "nowhere"),
        head("GET", "/a b"),
        head("GET", "/a\r\nb: c"),
    ],
)
async def test_malformed_pseudo_headers_get_400(request_head: Headers) -> None:
    status, _, body = await ask(request_head)
    assert status == 400
    assert b'"status":400' in body


async def test_a_body_beyond_its_bound_gets_413() -> None:
    assert (await ask(head("POST", "/"), b"x" * 101))[0] == 413


async def test_head_has_no_body() -> None:
    assert (await ask(head("HEAD", "/")))[2] == b""


async def test_an_application_that_fails_gives_500_without_details(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("secret")

    with caplog.at_level(logging.ERROR, "ztm.http"):
        status, headers, body = await ask(head("GET", "/"), app=app)
    assert (status, body) == (500, b'{"status":500,"message":"internal error"}')
    assert headers == [("content-type", "application/json")]
    assert "ZeroDivisionError" in caplog.text


async def test_an_application_that_fails_within_its_answer_cuts_the_stream() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ZeroDivisionError

    caller, exchange = exchange_pair(head("GET", "/"))
    await answer_exchange(exchange, app, {}, LIMITS)
    assert caller.aborted is not None


async def test_connect_hands_over_the_stream_and_ends_it_with_the_application() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        upgrade = scope["extensions"]["ztm.upgrade"]
        early = await upgrade.stream.read()
        stream = upgrade.accept([("ztm-x", "1")])
        assert upgrade.accept() is stream
        await stream.write(early)

    status, headers, body = await ask(head("CONNECT", "/x"), b"early", app)
    assert (status, headers, body) == (200, [("ztm-x", "1")], b"early")


async def test_a_stream_that_is_kept_outlives_its_request_and_holds_none_of_it() -> None:
    class Marked:
        """What the request has and the stream does not need."""

    told: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        upgrade = scope["extensions"]["ztm.upgrade"]
        stream = upgrade.accept()
        scope["mark"] = mark = Marked()
        request = weakref.ref(mark)

        async def kept() -> None:
            told.append(request())
            await stream.write(b"still open")

        upgrade.kept = kept

    assert await ask(head("CONNECT", "/x"), app=app) == (200, [], b"still open")
    assert told == [None]


async def test_connect_can_be_refused_by_an_ordinary_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 429, "headers": []})
        await send({"type": "http.response.body", "body": b"Too many agents"})

    assert await ask(head("CONNECT", "/x"), b"early", app) == (429, [], b"Too many agents")


async def test_an_answer_after_taking_the_stream_cuts_it(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["ztm.upgrade"].accept()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    caller, exchange = exchange_pair(head("CONNECT", "/x"))
    await answer_exchange(exchange, app, {}, LIMITS)
    assert caller.aborted is not None
    assert "taken over" in caplog.text


async def test_a_caller_that_is_gone_is_told_to_an_application_that_asks() -> None:
    polling, told = asyncio.Event(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        polling.set()
        told.append((await receive())["type"])

    caller, exchange = exchange_pair(head("GET", "/"))
    caller.end()
    answering = asyncio.create_task(answer_exchange(exchange, app, {}, LIMITS))
    await polling.wait()
    caller.abort("no longer wanted")
    await answering
    assert told == ["http.disconnect"]


# --- which HTTP -------------------------------------------------------------------------------------------


class Session:
    def __init__(self, stream: MemoryStream, answer: Answer | None) -> None:
        self.stream, self.answer = stream, answer
        self.seen = b""
        self.reason: str | None = None

    async def closed(self) -> str:
        self.seen = await self.stream.read_all()
        return "ended"

    def close(self, reason: str = "") -> None:
        self.reason = reason


class Network:
    """Notes the sessions that are asked for."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def session(self, stream: MemoryStream, role: str, *, answer: Answer, limits: SessionLimits, own: bool) -> Session:
        assert role == "server"
        self.sessions.append(Session(stream, answer))
        return self.sessions[-1]


async def serve(network: Any, stream: MemoryStream, limits: HttpLimits = LIMITS) -> None:
    await serve_stream(network, stream, echo, {}, http_limits=limits, session_limits=SessionLimits())


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize("piece", [1, 5, 24, 100])
async def test_the_preface_makes_a_session_that_sees_every_byte(piece: int) -> None:
    client, server = stream_pair()
    network, sent = Network(), PREFACE + b"frames"
    for start in range(0, len(sent), piece):
        await client.write(sent[start : start + piece])
    client.end()
    await serve(network, server)
    assert network.sessions[0].seen == sent
    assert network.sessions[0].reason is not None


async def test_a_session_answers_with_the_application() -> None:
    client, server = stream_pair()
    network = Network()
    await client.write(PREFACE)
    client.end()
    await serve(network, server)
    caller, exchange = exchange_pair(head("GET", "/x"))
    caller.end()
    answer = network.sessions[0].answer
    assert answer
    await answer(exchange)
    assert (await caller.response())[0] == 200


@pytest.mark.parametrize("piece", [1, 100])
async def test_anything_else_is_http_1(piece: int) -> None:
    client, server = stream_pair()
    sent = b"PUT /x HTTP/1.1\r\n\r\n"
    for start in range(0, len(sent), piece):
        await client.write(sent[start : start + piece])
    client.end()
    network = Network()
    await serve(network, server)
    assert (await client.read_all()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not network.sessions


@pytest.mark.parametrize("start", [b"", PREFACE[:10]])
async def test_a_stream_that_says_too_little_is_cut(start: bytes) -> None:
    client, server = stream_pair()
    await client.write(start)
    await serve(Network(), server, HttpLimits(head_seconds=0.01, idle_seconds=0.01, linger_seconds=0.01))
    assert client.aborted is not None


@pytest.mark.parametrize("start", [b"", PREFACE[:10]])
async def test_a_stream_that_ends_at_once_is_ended(start: bytes) -> None:
    client, server = stream_pair()
    await client.write(start)
    client.end()
    await serve(Network(), server)
    assert await client.read() == b""


async def test_a_stream_cut_before_its_first_byte_is_no_failure() -> None:
    client, server = stream_pair()
    client.abort("reset")
    await serve(Network(), server)
