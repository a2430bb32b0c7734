"""The way from a client to one of several exits: first bytes sent on at once, another exit where one refuses.

A refusal can be answered by another exit only while all that the client sent is still known, so no more than
`StreamLimits.early_bytes` is read from it before an exit has accepted.
"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote

from ztm.apps.base import AppContext
from ztm.apps.streams.limits import StreamLimits
from ztm.errors import BrokenStreamError, DeadlineError, NotFoundError, UnreachableError, ZtmError, from_status
from ztm.net.aside import Aside
from ztm.net.base import Exchange, Headers, Stream
from ztm.net.http1 import connect_answer, connect_head

ERROR_HEADER = "ztm-error"
"""Why a CONNECT was refused (spec apps-network 7 rule 2)."""


class Source(Protocol):
    """Whatever a client's bytes come from."""

    @property
    def is_over(self) -> bool:
        """Whether the client is gone."""

    async def read(self) -> bytes:
        """The next bytes, ``b""`` at their end; cancelling it loses nothing. Raises `BrokenStreamError`."""


class Early:
    """What a client has sent before an exit accepted it."""

    __slots__ = ("_kept", "_limit", "_size", "_source", "broken")

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._limit = limit
        self.broken: BrokenStreamError | None = None
        """What the client's bytes broke off with: then no exit has failed, and none needs to be asked any more."""
        self._kept: list[bytes] = []
        self._size = 0

    def data(self) -> bytes:
        """All of it."""
        return b"".join(self._kept)

    def forget(self) -> None:
        """Let go of it; no other exit will be asked."""
        self._kept.clear()

    async def forward(self, stream: Stream) -> None:
        """Send on what comes, up to the limit, and keep it; run beside the asking, until that is over.

        The end of the client's bytes is left for whoever joins the streams later. Where they break off, `stream` is cut
        and `broken` is set.
        """
        try:
            while self._size < self._limit and (data := await self._read(stream)):
                self._kept.append(data)
                self._size += len(data)
                await stream.write(data)
        except BrokenStreamError:
            return  # the exit's side was cut: its answer tells why, or that there is none

    async def _read(self, stream: Stream) -> bytes:
        try:
            return await self._source.read()
        except BrokenStreamError as broken:
            self.broken = broken
            stream.abort(str(broken))
            return b""


class Reach:
    """Asks this app of other endpoints for one thing, by CONNECT to `path`; `opening` follows the request at once."""

    def __init__(self, path: str, context: AppContext, limits: StreamLimits, opening: bytes = b"") -> None:
        self._context = context
        self._limits = limits
        self._head = connect_head(path) + opening

    async def ask(self, endpoint: str, early: Early) -> Exchange:
        """A stream to `endpoint` on which its exit has accepted, and all early bytes were sent.

        Cancelling it cuts the stream.

        Raises:
            ZtmError: it did not accept: unreachable, too late, or refused for the reason given.
            BrokenStreamError: the same, or the client's bytes broke off; then it is `early.broken`.
        """
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                stream = await self._context.connect(endpoint)
                stream.write_now(self._head + early.data())
                await self._answered(stream, early)
        except TimeoutError:
            raise DeadlineError(f"no answer within {self._limits.answer_seconds:g} seconds") from None
        except BrokenStreamError:
            if early.broken is not None:
                raise early.broken from None
            raise
        early.forget()
        return stream

    async def _answered(self, stream: Exchange, early: Early) -> None:
        forwarding = Aside(early.forward(stream))
        is_accepted = False
        try:
            check_led(*await stream.response())
            check_accepted(*await connect_answer(stream))
            is_accepted = True
        finally:
            forwarding.stop()
            if not is_accepted:
                stream.abort("not accepted")
        if early.broken is not None:
            raise early.broken  # in the same moment


def check_led(status: int, headers: Headers) -> None:
    """Return if the mesh leads to the app of another endpoint: the first answer to a stream, before the app's own.

    Raises:
        UnreachableError: the hub knows no way there, for which v1's answers 404 too, or the endpoint has no such app.
        ZtmError: it refuses; the error that its status stands for. Source: spec mesh-protocol 5 and 7.
    """
    try:
        check_accepted(status, headers)
    except NotFoundError as error:
        raise UnreachableError(f"the mesh leads to no such app there: {error}") from error


def check_accepted(status: int, headers: Headers) -> None:
    """Return if an answer to CONNECT accepts.

    Raises:
        ZtmError: it refuses; the error that its status stands for.
    """
    if not 200 <= status < 300:
        raise from_status(status, refusal(status, headers))


def refusal(status: int, headers: Iterable[tuple[str, str]]) -> str:
    """Why a CONNECT was refused, as the header says, or the status alone where it says nothing (v1)."""
    for name, value in headers:
        if name == ERROR_HEADER and value:
            return unquote(value)
    try:
        return f"refused with {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"refused with {status}"


def reason_of(endpoint: str, error: ZtmError) -> str:
    """One exit's failure, for people."""
    return f"exit {endpoint}: {error}"
