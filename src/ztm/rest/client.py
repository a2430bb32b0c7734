"""Asking for control: one request and its whole answer, over a session or a stream, within a time.

A request that fails, is cancelled or takes too long cuts its own stream and nothing else. Nothing is tried
again here: only the caller knows whether that is safe.
"""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus

import msgspec

from ztm.errors import DeadlineError, TooLargeError, ZtmError, from_status
from ztm.net.base import Exchange, Headers, Session, Stream
from ztm.net.http1 import MAX_BODY, Answer, request_http1
from ztm.net.scope import check_target

__all__ = ["Answer", "call", "call_ok", "call_stream", "check", "error_of"]

_MESSAGE_CHARACTERS = 500
"""Of a text answer that is quoted as the reason of an error."""


async def call(
    session: Session,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    timeout: float,
    limit: int = MAX_BODY,
    headers: Headers = (),
) -> Answer:
    """Ask over HTTP/2, whatever the status of the answer is.

    Source: spec mesh-protocol 4.2: ``:scheme`` and ``:path`` always, ``content-length`` never.

    Raises:
        DeadlineError: no whole answer came within `timeout` seconds.
        BrokenStreamError: the session or the stream ended first.
        TooLargeError: the answer's body exceeds `limit` bytes.
        UsageError: `target` is not a path.
    """
    pseudo = ((":method", method), (":scheme", "http"), (":path", check_target(target)))
    exchange = session.open((*pseudo, *headers), end=not body)
    return await _within(timeout, f"{method} {target}", exchange, _exchange(exchange, body, limit))


async def call_ok(
    session: Session,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    timeout: float,
    limit: int = MAX_BODY,
    headers: Headers = (),
) -> Answer:
    """The same as `call`, for callers that need a success.

    Raises:
        ZtmError: what `call` raises, and for an answer that is not 2xx the error that it stands for.
    """
    answer = await call(session, method, target, body=body, timeout=timeout, limit=limit, headers=headers)
    return check(answer, f"{method} {target}")


async def call_stream(
    stream: Stream,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    timeout: float,
    limit: int = MAX_BODY,
    headers: Headers = (),
) -> Answer:
    """Ask over HTTP/1.1 on a stream that carries nothing else now; whatever the status of the answer is.

    Raises:
        DeadlineError: no whole answer came within `timeout` seconds.
        BrokenStreamError: the stream ended first.
        TooLargeError: the answer's body exceeds `limit` bytes.
        UsageError: `target` is not a path.
    """
    asking = request_http1(stream, method, target, headers=headers, body=body, limit=limit)
    return await _within(timeout, f"{method} {target}", stream, asking)


def check(answer: Answer, what: str) -> Answer:
    """Return an answer that is a success; `what` was asked, for the message.

    Raises:
        ZtmError: the error that its status stands for.
    """
    if not 200 <= answer.status < 300:
        raise error_of(answer, what)
    return answer


def error_of(answer: Answer, what: str) -> ZtmError:
    """The error that an answer stands for, with the reason that it gives in JSON, or as text, or by its status."""
    return from_status(answer.status, _message(answer.body) or f"{what}: {answer.status} {_phrase(answer.status)}")


async def _exchange(exchange: Exchange, body: bytes, limit: int) -> Answer:
    if body:
        await exchange.write(body)
        exchange.end()
    status, headers = await exchange.response()
    parts, size = [], 0
    while data := await exchange.read():
        parts.append(data)
        size += len(data)
        if size > limit:
            raise TooLargeError(f"the answer is larger than {limit} bytes")
    return Answer(status, [field for field in headers if not field[0].startswith(":")], b"".join(parts))


async def _within(seconds: float, what: str, stream: Stream, asking: Awaitable[Answer]) -> Answer:
    """Wait for an answer; without one, the stream is cut."""
    answer = None
    try:
        async with asyncio.timeout(seconds):
            answer = await asking
    except TimeoutError as error:
        raise DeadlineError(f"{what}: no answer within {seconds:g} seconds") from error
    finally:
        if answer is None:
            stream.abort(f"{what} was given up")
    return answer


def _message(body: bytes) -> str:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace").strip()[:_MESSAGE_CHARACTERS]
    message = value.get("message") if isinstance(value, dict) else value
    return message if isinstance(message, str) else ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(no standard meaning)"
