"""One stream of a native HTTP/2 session as a request, its answer and the bytes that follow."""

import asyncio
from typing import TYPE_CHECKING

from ztm_native import ANSWERED
from ztm_native import Stream as Handle

from ztm.errors import BrokenStreamError, UsageError
from ztm.model import Address, Identity
from ztm.net.base import Headers
from ztm.net.flow import wake
from ztm.net.http2.exchange import status_of
from ztm.net.native.stream import NativeStream

if TYPE_CHECKING:
    from ztm.net.native.session import NativeSession


class NativeExchange(NativeStream):
    """See `net.base.Exchange`; made by the session only. `request` is None for one that the peer opened."""

    __slots__ = ("_answer", "_answered", "_is_accepted", "_request", "_responded", "_session")

    def __init__(self, session: "NativeSession", handle: Handle, request: Headers | None) -> None:
        super().__init__(session.plane, handle)
        self._session = session
        self._request = request
        self._is_accepted = request is None
        self._responded = False
        self._answer: tuple[int, Headers] | None = None
        self._answered: asyncio.Future[None] | None = None

    # ------------------------------------------------------------------ facts

    @property
    def identity(self) -> Identity | None:
        """See `net.base.Stream`."""
        return self._session.identity

    @property
    def remote(self) -> Address | None:
        """See `net.base.Stream`."""
        return self._session.remote

    @property
    def local(self) -> Address | None:
        """See `net.base.Stream`."""
        return self._session.local

    @property
    def is_own(self) -> bool:
        """Whether the session's peer is of this implementation."""
        return self._session.own

    @property
    def request(self) -> Headers:
        """See `net.base.Exchange`."""
        if self._request is not None:
            return self._request
        return self.handle.request()  # the core has it; a copy would stay here for as long as the stream

    @property
    def is_answered(self) -> bool:
        """Whether the accepting side has sent its head."""
        return self._responded

    # ------------------------------------------------------------------ heads

    def respond(self, status: int, headers: Headers = (), *, end: bool = False) -> None:
        """Send the answer's head; see `net.base.Exchange`.

        Raises:
            UsageError: it was sent before.
        """
        if self._responded:
            raise UsageError("this request was answered before")
        self._responded = True
        if self.is_over:
            return
        self.handle.respond([(":status", str(status)), *sendable(headers)])
        self.plane.schedule()
        if end:
            self.end()

    async def response(self) -> tuple[int, Headers]:
        """The answer's head; see `net.base.Exchange`."""
        while self._answer is None:
            is_late = self.is_finished  # seen first: an answer that comes now would come before the end
            fields = self.handle.response()
            if fields is not None:
                self._answer = (status_of(fields), fields)
                break
            self._check_whole()
            if is_late:
                raise BrokenStreamError("the stream ended without an answer")
            if self._is_so(ANSWERED):
                continue
            self._answered = self.plane.loop.create_future()
            try:
                await self._answered
            finally:
                self._answered = None
        return self._answer

    # ------------------------------------------------------------------ for NativeStream

    def happened(self, _kind: int, bits: int) -> None:
        """Some of what was wanted has come."""
        if bits & ANSWERED:
            wake(self._answered)
        super().happened(_kind, bits)

    def _end(self) -> None:
        if self._is_accepted and not self._responded:
            self.abort("it was never answered")  # peers end the session over a body without a head
            return
        super()._end()

    def _was_cut(self, reason: str) -> None:
        """Tell the user, and stop the handler that works for nobody now; a splice it waits for tells it by itself."""
        feeder = self._feeder
        self.broken(reason)
        if feeder is None or feeder.broken_by is None:
            self._session.stop(self)

    def _settle(self) -> None:
        super()._settle()
        wake(self._answered)
        self._session.forget(self)


def sendable(headers: Headers) -> list[tuple[str, str]]:
    """`headers` without `content-length`, over which v1 ends sessions (spec mesh-protocol 4.2)."""
    return [field for field in headers if field[0] != "content-length"]
