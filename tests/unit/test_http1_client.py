"""What callers over HTTP/1.1 are promised."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_stream import stream_pair
from ztm.errors import BrokenStreamError, DeadlineError, TooLargeError, UsageError
from ztm.net.http1 import connect_answer, connect_head, request_http1
from ztm.rest.client import call_stream


async def test_a_request_looks_as_v1_writes_it() -> None:
    client, server = stream_pair()
    await server.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Y: z\r\n\r\n{}")
    answer = await request_http1(client, "GET", "/api/zones")
    assert answer == (200, [("content-length", "2"), ("x-y", "z")], b"{}")
    assert await server.read() == b"GET /api/zones HTTP/1.1\r\nconnection: keep-alive\r\n\r\n"


async def test_a_body_is_announced_and_sent_with_its_head() -> None:
    client, server = stream_pair()
    await server.write(b"HTTP/1.1 201 \r\ncontent-length: 0\r\n\r\n")
    answer = await request_http1(client, "POST", "/x", body=b"hi", headers=[("host", "h")])
    assert answer.status == 201
    sent = await server.read()
    assert sent == b"POST /x HTTP/1.1\r\nconnection: keep-alive\r\ncontent-length: 2\r\nhost: h\r\n\r\nhi"


@pytest.mark.parametrize(
    "framed",
    [
        b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello",
    ],
)
async def test_every_framing_of_a_body_is_understood_in_any_pieces(framed: bytes) -> None:
    client, server = stream_pair()
    for byte in framed:
        await server.write(bytes([byte]))
    server.end()
    assert (await request_http1(client, "GET", "/x")).body == b"hello"


async def test_two_requests_can_follow_each_other() -> None:
    client, server = stream_pair()
    one = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"
    await server.write(one + b"1" + one + b"2")
    assert (await request_http1(client, "GET", "/x")).body == b"1"
    assert (await request_http1(client, "GET", "/x")).body == b"2"


@pytest.mark.parametrize(
    "cut", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", b"SSH-2.0-x\r\n\r\n"]
)
async def test_no_whole_answer_is_a_broken_stream(cut: bytes) -> None:
    client, server = stream_pair()
    await server.write(cut)
    server.end()
    with pytest.raises(BrokenStreamError):
        await request_http1(client, "GET", "/x")


async def test_an_answer_beyond_the_limit_is_refused_and_cut() -> None:
    client, server = stream_pair()
    await server.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabcd")
    with pytest.raises(TooLargeError):
        await request_http1(client, "GET", "/x", limit=3)
    assert server.aborted is not None


async def test_no_answer_in_time_is_a_deadline_and_a_cut_stream() -> None:
    client, server = stream_pair()
    with pytest.raises(DeadlineError, match="GET /x"):
        await call_stream(client, "GET", "/x", timeout=0.01)
    assert server.aborted is not None


@pytest.mark.parametrize("target", ["", "x", "/a b", "/a\r\nx: y", "/a\x00"])
def test_what_is_no_path_never_reaches_the_wire(target: str) -> None:
    with pytest.raises(UsageError):
        connect_head(target)


def test_a_header_never_becomes_two() -> None:
    with pytest.raises(ValueError, match="line end"):
        connect_head("/x", [("a", "b\r\nc: d")])


def test_the_connect_head_is_exactly_what_v1_sends() -> None:
    assert connect_head("/api/outbound/tcp/w%20b") == (
        b"CONNECT /api/outbound/tcp/w%20b HTTP/1.1\r\nconnection: keep-alive\r\n\r\n"
    )


@given(st.binary(max_size=40), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_what_follows_the_answer_to_connect_stays_on_the_stream(following: bytes, piece: int) -> None:
    async def run() -> None:
        client, server = stream_pair()
        sent = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n" + following
        for start in range(0, len(sent), piece):
            await server.write(sent[start : start + piece])
        server.end()
        assert await connect_answer(client) == (200, [("connection", "keep-alive")])
        assert await client.read_all() == following

    asyncio.run(run())


@pytest.mark.parametrize("cut", [b"", b"HTTP/1.1 200 OK\r\n", b"hello there\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"])
async def test_no_answer_to_connect_is_a_broken_stream(cut: bytes) -> None:
    client, server = stream_pair()
    await server.write(cut)
    server.end()
    with pytest.raises(BrokenStreamError):
        await connect_answer(client)


async def test_a_status_line_without_reason_is_understood() -> None:
    client, server = stream_pair()
    await server.write(b"HTTP/1.1 403\r\nztm-error: no\r\n\r\n")
    assert await connect_answer(client) == (403, [("ztm-error", "no")])
