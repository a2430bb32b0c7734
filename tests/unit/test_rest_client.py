"""What askers over a session are promised."""

import asyncio
from typing import Any

import pytest

from memory_stream import MemoryExchange, exchange_pair
from ztm.errors import (
    BrokenStreamError,
    DeadlineError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    UsageError,
    ZtmError,
)
from ztm.net.base import Headers
from ztm.rest.client import call, call_ok


class Session:
    """A session whose other side says what it was told to."""

    def __init__(self, status: int = 0, body: bytes = b"", *, end: bool = True) -> None:
        self._answer = (status, body, end)
        self.accepted: list[MemoryExchange] = []

    def open(self, headers: Headers, *, end: bool = False) -> MemoryExchange:
        opening, accepting = exchange_pair(headers)
        self.accepted.append(accepting)
        if end:
            opening.end()
        status, body, ends = self._answer
        if status:
            accepting.respond(status, [("x-y", "z")])
            accepting.write_now(body)
        if ends:
            accepting.end()
        return opening


async def ask(session: Any, method: str = "GET", target: str = "/x", **options: Any) -> Any:
    return await call(session, method, target, timeout=options.pop("timeout", 5), **options)


async def test_a_request_is_head_and_body_and_its_answer_whole() -> None:
    session = Session(201, b"made")
    assert await ask(session, "POST", "/x?y=1", body=b"hi", headers=[("a", "b")]) == (201, [("x-y", "z")], b"made")
    accepted = session.accepted[0]
    assert accepted.request == ((":method", "POST"), (":scheme", "http"), (":path", "/x?y=1"), ("a", "b"))
    assert await accepted.read_all() == b"hi"


async def test_no_answer_in_time_is_a_deadline_and_a_cut_stream() -> None:
    session = Session(end=False)
    with pytest.raises(DeadlineError, match="GET /x"):
        await ask(session, timeout=0.01)
    assert session.accepted[0].aborted is not None


async def test_a_cancelled_request_cuts_its_stream() -> None:
    session = Session(200, b"part", end=False)
    asking = asyncio.create_task(ask(session))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert session.accepted[0].aborted is not None


async def test_a_stream_cut_within_the_answer_is_broken() -> None:
    session = Session(200, b"part", end=False)
    asking = asyncio.create_task(ask(session))
    await asyncio.sleep(0)
    session.accepted[0].abort("gone")
    with pytest.raises(BrokenStreamError):
        await asking


async def test_an_answer_beyond_the_limit_is_refused_and_cut() -> None:
    session = Session(200, b"abcd", end=False)
    with pytest.raises(TooLargeError):
        await ask(session, limit=3)
    assert session.accepted[0].aborted is not None


async def test_what_is_no_path_opens_no_stream() -> None:
    session = Session()
    with pytest.raises(UsageError):
        await ask(session, target="/a b")
    assert not session.accepted


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, b'{"status":404,"message":"no such mesh"}', NotFoundError, "no such mesh"),
        (404, b"No agent session established yet", NotFoundError, "No agent session established yet"),
        (400, b'"quoted"', UsageError, "quoted"),
        (404, b"", NotFoundError, "GET /x: 404 Not Found"),
        (418, b"[1]", RefusedError, "GET /x: 418 I'm a Teapot"),
        (799, b"", RefusedError, "GET /x: 799 (no standard meaning)"),
    ],
)
async def test_a_refusal_becomes_the_error_it_stands_for(
    status: int, body: bytes, kind: type[ZtmError], message: str
) -> None:
    session: Any = Session(status, body)
    with pytest.raises(kind) as raised:
        await call_ok(session, "GET", "/x", timeout=5)
    assert str(raised.value) == message


async def test_any_success_is_returned() -> None:
    session: Any = Session(204)
    assert (await call_ok(session, "GET", "/x", timeout=5)).status == 204
