"""One method of one path, with all that its description says of it.

It only says: what a handler takes and answers is not enforced here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ztm.rest.message import Request, Response
from ztm.rest.template import Template

Handler = Callable[[Request], Awaitable[Response | None]]
"""Answers one request; None only where the request's stream was taken over."""


class Problem(msgspec.Struct):
    """Why a request was refused."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Param:
    """One query parameter, or what is said of a hole of the path."""

    name: str
    kind: Any = str
    """Its type, as msgspec describes it: `int`, `bool`, ``Annotated[int, Meta(ge=1)]``, ``list[str]`` (repeatable)."""
    text: str = ""
    """For people: what it does, and what counts without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path."""

    method: str
    template: Template
    handler: Handler
    decode: bool = True
    """Whether parameters are percent-decoded."""
    summary: str = ""
    body: Any = None
    """Type of the request's body: `str` is plain text, `bytes` are octets, any other is JSON."""
    answer: Any = None
    """Type of the answer's body, likewise."""
    answer_type: str = ""
    """The answer's content type, where `answer` does not say it (``text/event-stream``)."""
    statuses: Mapping[int, str] = field(default_factory=dict)
    """Other statuses that it may answer, and when; those from 400 on carry a `Problem`."""
    query: tuple[Param, ...] = ()
    params: tuple[Param, ...] = ()
    """Types of holes of the path; one that is not named here is a text."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header fields of a successful answer, and what they say."""
    tag: str = ""
    is_open: bool = False
    """Whether nobody needs to sign in for it."""
