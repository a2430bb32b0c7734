"""What HTTP/1.1 callers are promised, whatever they send and however it is cut into pieces."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_stream import MemoryStream, stream_pair
from ztm.net.asgi import ASGIApp, HttpLimits, Receive, Scope, Send
from ztm.net.http1 import serve_http1

LIMITS = HttpLimits(header_bytes=1000, body_bytes=100, head_seconds=5, idle_seconds=0, linger_seconds=5)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers method, path and body."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    text = b"%b %b %b" % (scope["method"].encode(), scope["raw_path"], body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})


def answering(status: int, *parts: bytes) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    return app


@asynccontextmanager
async def served(app: ASGIApp = echo, limits: HttpLimits = LIMITS) -> AsyncIterator[MemoryStream]:
    client, server = stream_pair()
    async with asyncio.timeout(5):
        task = asyncio.create_task(serve_http1(server, app, {}, limits))
        try:
            yield client
            client.end()
            await task
        finally:
            task.cancel()


async def exchange(sent: bytes, app: ASGIApp = echo, limits: HttpLimits = LIMITS) -> bytes:
    async with served(app, limits) as client:
        await client.write(sent)
        client.end()
        return await client.read_all()


async def test_a_request_without_host_is_answered_as_v1_expects() -> None:
    got = await exchange(b"GET /api/zones HTTP/1.1\r\nconnection: keep-alive\r\n\r\n", answering(404))
    assert got == b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n"


async def test_a_known_length_is_sent_as_content_length() -> None:
    got = await exchange(b"GET /x HTTP/1.1\r\n\r\n")
    assert got == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 7\r\nconnection: keep-alive\r\n\r\nGET /x "
    )


async def test_an_absent_host_stays_absent_for_the_application() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await answering(200)(scope, receive, send)

    await exchange(b"GET /%61?q=1 HTTP/1.1\r\nX-Y: z\r\n\r\n", app)
    scope = seen[0]
    assert scope["headers"] == [(b"x-y", b"z")]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a", b"/%61", b"q=1")
    assert scope["client"] == ("192.0.2.1", 4000)


async def test_streamed_answers_are_chunked() -> None:
    got = await exchange(b"GET / HTTP/1.1\r\n\r\n", answering(200, b"one", b"two"))
    assert b"transfer-encoding: chunked" in got
    assert got.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_http_1_0_gets_its_answer_unchunked_and_the_end() -> None:
    got = await exchange(b"GET / HTTP/1.0\r\n\r\n", answering(200, b"one", b"two"))
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in got
    assert got.endswith(b"\r\n\r\nonetwo")


async def test_head_has_the_length_and_no_body() -> None:
    got = await exchange(b"HEAD /x HTTP/1.1\r\n\r\n")
    assert b"content-length: 8\r\n" in got
    assert got.endswith(b"\r\n\r\n")


async def test_204_has_neither_length_nor_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    got = await exchange(b"DELETE / HTTP/1.1\r\n\r\n", app)
    assert got == b"HTTP/1.1 204 No Content\r\nconnection: keep-alive\r\n\r\n"


async def test_an_awaited_100_is_sent_before_the_body_is_read() -> None:
    async with served() as client:
        await client.write(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        await client.read_until(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.write(b"ok")
        assert b"200 OK" in await client.read_until(b"POST / ok")


REQUESTS = st.lists(
    st.one_of(
        st.just((b"GET /a HTTP/1.1\r\n\r\n", b"GET /a ")),
        st.just((b"\r\nPOST /b HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n1\r\n\r\n", b"POST /b 1\r\n\r\n")),
        st.just(
            (b"PUT /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nxy\r\n1\r\nz\r\n0\r\n\r\n", b"PUT /c xyz")
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(REQUESTS, st.lists(st.integers(0, 300), max_size=12))
@settings(max_examples=60, deadline=None)
def test_requests_are_answered_in_order_wherever_they_are_split(
    requests: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    sent = b"".join(request for request, _ in requests)
    points = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})

    async def run() -> None:
        async with served() as client:
            for start, end in pairwise(points):
                await client.write(sent[start:end])
            for _, answer in requests:
                head = await client.read_until(b"\r\n\r\n")
                assert b"content-length: %d\r\n" % len(answer) in head
                assert await client.read_until(answer) == answer

    asyncio.run(run())


async def test_requests_are_answered_byte_by_byte() -> None:
    async with served() as client:
        for byte in b"POST /b HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi":
            await client.write(bytes([byte]))
        assert (await client.read_until(b"POST /b hi")).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\n\n",
        b"GET /\r\nhost: a HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_400_and_the_end(garbage: bytes) -> None:
    async with served() as client:
        await client.write(garbage)
        got = await client.read_all()  # ends although we did not
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close" in got


@pytest.mark.parametrize("ending", [b"", b"\r\n\r\n"])
async def test_a_head_beyond_its_bound_gets_431_and_the_end(ending: bytes) -> None:
    async with served() as client:
        await client.write(b"GET / HTTP/1.1\r\nx: " + b"x" * 1000 + ending)
        assert (await client.read_all()).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"content-length: 101\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n64\r\n" + b"x" * 100 + b"\r\n1\r\nx\r\n",
    ],
)
async def test_a_body_beyond_its_bound_gets_413_and_the_end(body: bytes) -> None:
    async with served() as client:
        await client.write(b"POST / HTTP/1.1\r\n" + body)
        got = await client.read_all()
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in got


async def test_a_malformed_chunk_gets_400_and_the_end() -> None:
    async with served() as client:
        await client.write(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxx\r\n")
        assert (await client.read_all()).startswith(b"HTTP/1.1 400 ")


async def test_a_slow_head_is_cut() -> None:
    client, server = stream_pair()
    await client.write(b"GET / HTTP/1.1\r\n")
    await serve_http1(server, echo, {}, HttpLimits(head_seconds=0.01, idle_seconds=0))
    assert client.aborted is not None


async def test_an_idle_connection_is_ended() -> None:
    client, server = stream_pair()
    serving = asyncio.create_task(serve_http1(server, echo, {}, HttpLimits(idle_seconds=0.01)))
    assert await client.read() == b""
    client.end()
    await serving


async def test_a_peer_that_never_ends_its_side_is_cut_after_we_ended_ours() -> None:
    client, server = stream_pair()
    await client.write(b"nonsense")
    await serve_http1(server, echo, {}, HttpLimits(linger_seconds=0.01))
    assert client.aborted is not None


async def test_an_unread_body_is_not_taken_for_the_next_request() -> None:
    async with served(answering(200)) as client:
        await client.write(b"POST / HTTP/1.1\r\ncontent-length: 30\r\n\r\nGET /")
        got = await client.read_all()
    assert got.count(b"HTTP/1.1") == 1
    assert b"connection: close" in got


async def test_an_ignored_body_that_came_whole_keeps_the_connection() -> None:
    got = await exchange(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhiGET / HTTP/1.1\r\n\r\n", answering(200))
    assert got.count(b"HTTP/1.1 200 OK") == 2


async def test_an_application_can_have_the_connection_end_after_its_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"bye"})

    got = await exchange(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhiGET / HTTP/1.1\r\n\r\n", app)
    assert got.count(b"HTTP/1.1 200 OK") == 1
    assert got.count(b"connection: close") == 1


async def test_nothing_is_read_while_the_application_does_not_ask() -> None:
    begin, done = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begin.set()
        await done.wait()
        await echo(scope, receive, send)

    limits = HttpLimits(body_bytes=0)
    async with served(app, limits) as client:
        await client.write(b"POST / HTTP/1.1\r\ncontent-length: 300000\r\n\r\n")
        await begin.wait()
        writing = asyncio.create_task(client.write(b"x" * 300000))
        await asyncio.sleep(0)
        assert client.unsent == 300000
        done.set()
        await writing
        assert b"200 OK" in await client.read_until(b"\r\n\r\n")
        await client.read_until(b"POST / " + b"x" * 300000)


async def test_an_application_that_fails_gives_500_and_the_connection_lives(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise ZeroDivisionError("secret")
        await echo(scope, receive, send)

    with caplog.at_level(logging.ERROR, "ztm.http"):
        got = await exchange(b"GET /bad HTTP/1.1\r\n\r\nGET /good HTTP/1.1\r\n\r\n", app)
    assert got.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b'{"status":500,"message":"internal error"}' in got
    assert got.endswith(b"GET /good ")
    assert b"secret" not in got
    assert "ZeroDivisionError" in caplog.text


async def test_an_application_that_fails_within_its_answer_cuts_the_stream() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ZeroDivisionError

    client, server = stream_pair()
    await client.write(b"GET / HTTP/1.1\r\n\r\n")
    await serve_http1(server, app, {}, LIMITS)
    assert client.aborted is not None


@pytest.mark.parametrize("field", [(b"x", b"a\r\nb: c"), (b"x y", b"z")])
async def test_a_header_that_would_be_two_is_never_sent(field: tuple[bytes, bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [field]})
        await send({"type": "http.response.body"})

    assert (await exchange(b"GET / HTTP/1.1\r\n\r\n", app)).startswith(b"HTTP/1.1 500 ")


async def test_an_application_that_answers_nothing_gives_500() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        return

    assert (await exchange(b"GET / HTTP/1.1\r\n\r\n", app)).startswith(b"HTTP/1.1 500 ")


# --- CONNECT ----------------------------------------------------------------------------------------------


def taking(use: Callable[[MemoryStream], Awaitable[None]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await use(scope["extensions"]["ztm.upgrade"].accept([("ztm-x", "1")]))

    return app


async def test_connect_keeps_early_bytes_in_order_and_ends_with_the_application() -> None:
    async def shout(stream: MemoryStream) -> None:
        while data := await stream.read():
            await stream.write(data.upper())

    async with served(taking(shout)) as client:
        await client.write(b"CONNECT /api/outbound/tcp/web HTTP/1.1\r\ncontent-length: 3\r\n\r\nearly ")
        await client.write(b"and late")
        client.end()
        got = await client.read_all()
    assert got == b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nztm-x: 1\r\n\r\nEARLY AND LATE"


async def test_connect_can_be_read_before_it_is_accepted() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        upgrade = scope["extensions"]["ztm.upgrade"]
        first = await upgrade.stream.read()
        assert not upgrade.accepted
        await upgrade.accept().write(first)
        assert upgrade.accepted

    got = await exchange(b"CONNECT /x HTTP/1.1\r\n\r\nhi", app)
    assert got == b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\nhi"


async def test_a_refused_connect_ends_the_stream() -> None:
    async with served(answering(403)) as client:
        await client.write(b"CONNECT /x HTTP/1.1\r\n\r\nearly")
        got = await client.read_all()
    assert got.startswith(b"HTTP/1.1 403 Forbidden\r\n")


async def test_an_application_that_fails_on_a_taken_stream_cuts_it() -> None:
    async def fail(stream: MemoryStream) -> None:
        raise ZeroDivisionError

    client, server = stream_pair()
    await client.write(b"CONNECT /x HTTP/1.1\r\n\r\n")
    await serve_http1(server, taking(fail), {}, LIMITS)
    assert client.aborted is not None


async def test_a_caller_that_is_gone_is_told_to_an_application_that_asks() -> None:
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        gone.set()
        await answering(200)(scope, receive, send)

    async with served(app) as client:
        await client.write(b"GET / HTTP/1.1\r\n\r\n")
        client.end()
        await gone.wait()
