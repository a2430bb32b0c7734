"""One HTTP/2 stream as a request, its answer and the bytes that follow.

It queues what the windows do not let through yet and gives credit back as its consumer takes bytes;
the frames themselves are the session's.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ztm.errors import BrokenStreamError, UsageError
from ztm.model import Address, Identity
from ztm.net.base import Headers
from ztm.net.flow import FlowStream
from ztm.net.http2.lenient import WINDOW

PIECE = 64 << 10
"""Bytes in which a large write waits: cutting frames off the whole of it would copy it again for each."""

if TYPE_CHECKING:
    from ztm.net.http2.session import Http2Session

CREDITS = 8
"""Parts of a window in which credit is given back: the sender waits for at most one of them, a frame pays for each."""


class Http2Exchange(FlowStream):
    """One stream of an `Http2Session`; made by the session only."""

    __slots__ = (
        "_answer",
        "_answered",
        "_head",
        "_outbox",
        "_request",
        "_responded",
        "_session",
        "_uncredited",
        "number",
        "received",
        "waiting",
        "window",
    )

    def __init__(self, session: "Http2Session", number: int, request: Headers) -> None:
        super().__init__()
        self._session = session
        self.number = number
        self._request = request
        self._responded = False
        self._answer: tuple[int, Headers] | None = None
        self._answered: asyncio.Future[None] | None = None
        self._outbox: deque[bytes] | None = None
        self.waiting = False
        """Whether the session will come back for the outbox by itself."""
        self.window = WINDOW
        """Bytes that the peer may have under way to us."""
        self.received = 0
        """Bytes arrived for which no credit was given back yet."""
        self._uncredited = 0

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
        return self._request

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
        # Who has sent bytes already does not wait for this head, so it may leave with what comes next.
        self._session.out.send_head(self, [(":status", str(status)), *headers], is_urgent=not self._held)
        if end:
            self.end()

    @property
    def outbox(self) -> deque[bytes]:
        """Bytes that wait for a window or for the session's own stream."""
        if self._outbox is None:
            self._outbox = deque()  # made when needed: most streams never wait
        return self._outbox

    @property
    def has_outbox(self) -> bool:
        """Whether bytes wait."""
        return bool(self._outbox)

    @property
    def is_answered(self) -> bool:
        """Whether the accepting side has sent its head."""
        return self._responded

    async def response(self) -> tuple[int, Headers]:
        """The answer's head; see `net.base.Exchange`."""
        while self._answer is None:
            if self._reason is not None:
                raise BrokenStreamError(self._reason)
            if self._finished:
                raise BrokenStreamError("the stream ended without an answer")
            self._answered = asyncio.get_running_loop().create_future()
            try:
                await self._answered
            finally:
                self._answered = None
        return self._answer

    def answered(self, headers: Headers) -> None:
        """The peer's answer came (its first head only; trailers are dropped)."""
        if self._answer is None:
            self._answer = (status_of(headers), headers)
            self._wake_answered()

    def finished(self) -> None:
        """The peer ended its side."""
        super().finished()
        self._wake_answered()

    def broken(self, reason: str) -> None:
        """The stream was cut."""
        self._outbox = None
        super().broken(reason)
        self._wake_answered()

    def _wake_answered(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    # ------------------------------------------------------------------ bytes

    def _transmit(self, data: bytes) -> int:
        if self._outbox:
            self._keep(data, 0)
            return 0
        sent = self._session.out.send_body(self, data)
        if sent < len(data):
            self._keep(data, sent)
            self._session.out.wait(self)
        return sent

    def _keep(self, data: bytes, sent: int) -> None:
        if sent == 0 and len(data) <= PIECE:
            self.outbox.append(data)
        else:
            self.outbox.extend(data[at : at + PIECE] for at in range(sent, len(data), PIECE))

    def _end(self) -> None:
        if not self._outbox:
            self._session.out.send_end(self)

    def drained(self) -> None:
        """The outbox is empty: send the end, if it was asked for."""
        if self._sent_end:
            self._session.out.send_end(self)

    def _abort(self, reason: str) -> None:  # noqa: ARG002 (RST_STREAM has no room for it)
        self._outbox = None
        self._session.out.send_reset(self)

    def _settle(self) -> None:
        super()._settle()
        self._session.forget(self)

    def _check_over(self) -> None:
        if not self._outbox:
            super()._check_over()

    @property
    def is_finished(self) -> bool:
        """Whether the peer has ended its side."""
        return self._finished

    # ------------------------------------------------------------------ credit

    def _credit(self, size: int) -> None:
        self.received -= size
        self._session.release(size)
        self._uncredited += size
        if self._uncredited * CREDITS >= self.window and not self._finished:
            self._session.open_window(self, self._uncredited)
            self._uncredited = 0


def status_of(headers: Headers) -> int:
    """The status of an answer's head; 502 if it has none, as then the next hop is at fault (RFC 9110 section 15)."""
    status = dict(headers).get(":status", "")
    return int(status) if len(status) == 3 and status.isascii() and status.isdigit() else 502
