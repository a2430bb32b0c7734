"""Answers of others to an app, and an app's own answers in whichever form its handlers give them."""

import json
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ztm.errors import UsageError
from ztm.net.base import Headers
from ztm.net.http1 import Answer
from ztm.rest.client import check
from ztm.rest.message import JSON, MAX_BODY, Response
from ztm.rest.message import Request as RestRequest

T = TypeVar("T")


class Request(RestRequest):
    """One request: `method`, `path`, `params`, `query`, `headers`, `peer` (None for the local user) and its body."""

    async def json(self, kind: type[T] = Any, limit: int = MAX_BODY) -> T:  # type: ignore[assignment]
        """The body from JSON, checked against `kind`: any type that msgspec knows, a dataclass among them.

        Raises:
            UsageError: it is not JSON, or not such a value; the caller gets 400 and the reason.
            TooLargeError: it exceeds `limit` bytes.
        """
        return await super().json(kind, limit)


@dataclass(frozen=True, slots=True)
class Reply:
    """What another endpoint, or another app, answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        """The body from JSON; None if there is none.

        Raises:
            UsageError: it is no JSON.
        """
        try:
            return json.loads(self.body) if self.body else None
        except ValueError as error:
            raise UsageError(f"the answer is not JSON: {error}") from error

    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


def reply_of(answer: Answer, what: str, *, any_status: bool) -> Reply:
    """An answer for an app.

    Raises:
        ZtmError: it is a refusal, and `any_status` is not wanted.
    """
    found = answer if any_status else check(answer, what)
    return Reply(found.status, dict(found.headers), found.body)


def body_of(value: object) -> bytes:
    """A body that an app sends: bytes and text as they are, None as nothing, all else as JSON.

    Raises:
        TypeError: it has no form in JSON.
    """
    if value is None:
        return b""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def fields_of(body: object, given: Mapping[str, str] | None = None) -> Headers:
    """The header fields that go with such a body: those `given`, and that it is JSON if `body_of` makes it that."""
    fields = {name.lower(): value for name, value in (given or {}).items()}
    if body is not None and not isinstance(body, bytes | bytearray | memoryview | str):
        fields.setdefault("content-type", JSON)
    return list(fields.items())


def response_of(value: object) -> Response:
    """What a handler returned, as an answer: a `Response` as it is, nothing as 204, all else with 200."""
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(204)
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping | Sequence | AsyncIterable):
        return Response(200, value)
    return Response(200, msgspec.to_builtins(value))
