"""One HTTP/2 connection over any stream: frames in, frames out, in either role.

Every received byte is accounted twice: against its stream's window, given back when the consumer has taken
it, and against the session's window, given back on arrival as long as the session holds less than its bound.
So one stalled stream holds at most its own window, and never stops its neighbours.
"""

import asyncio
import logging
from typing import Any

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    PingReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error, NoAvailableStreamIDError

from ztm.core.limits import Bucket
from ztm.errors import BrokenStreamError, LimitError
from ztm.model import Address, Identity
from ztm.net.answering import LATE, LINGER, Answering
from ztm.net.base import Answer, Headers, SessionLimits
from ztm.net.flow import FlowStream
from ztm.net.http2.exchange import Http2Exchange
from ztm.net.http2.lenient import LenientConnection
from ztm.net.http2.sender import Sender

log = logging.getLogger("ztm.net")

SESSION_WINDOW = 8 << 20
"""Receive window of a whole session: above the product of 400 Mbit/s and 160 ms."""
UNREAD = 1 << 20
"""Bytes that the peer has not read, beyond which it is not read either: refusals and pongs must not pile up."""
PING_EVERY = 5.0
"""Seconds between PINGs (v1: ten); one unanswered shows a silent link."""
SILENT_AFTER = 20.0
"""Seconds without a byte from the peer after which the session is over; both ends notice within 30."""
OWN_WINDOW_MAX = 1792 << 10
"""Largest window of a stream between our own peers; with what waits in sockets it stays below `MAX_HELD`."""


class Http2Session:
    """See `net.base.Session`; made by `Network.session`."""

    def __init__(
        self,
        stream: FlowStream,
        role: str,
        answer: Answer | None,
        limits: SessionLimits,
        own: bool,
    ) -> None:
        self.own = own
        self.held = 0
        """Received bytes not yet taken, over all streams."""
        self._stream = stream
        self._is_server = role == "server"
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._answering = Answering[Http2Exchange](answer, self._loop, self._linger) if answer is not None else None
        self._conn = LenientConnection(role, own=own, header_bytes=limits.header_bytes)
        self._exchanges: dict[int, Http2Exchange] = {}
        self._inbound = 0
        """Streams that the peer opened and that are not over."""
        self.out = Sender(self._conn, stream, is_server=self._is_server)
        """The sending half."""
        self._uncredited = 0
        """Bytes that came and for which no credit was given yet."""
        self._late: list[bytes] = []
        """What came while earlier frames waited for their turn."""
        self._turn: asyncio.Handle | None = None
        """When the frames that wait are taken up again."""
        self._reason: str | None = None
        self._waiters: list[asyncio.Future[None]] = []
        now = self._loop.time()
        self._resets = Bucket(limits.resets, limits.resets * 10)
        self._controls = Bucket(limits.controls, limits.controls * 10)
        self._heard = now
        self._pinged: float | None = None
        self.round_trip: float | None = None
        self._timer = self._loop.call_later(PING_EVERY, self._tick)
        self._conn.initiate_connection()
        self._conn.increment_flow_control_window(SESSION_WINDOW - self._conn.inbound_flow_control_window)
        if own:
            self._ping()  # the round trip decides how far windows grow, so it is to be known before there is bulk
        stream.taken = self._below_took
        self.out.flush()
        stream.attach(self)

    # ------------------------------------------------------------------ facts

    @property
    def identity(self) -> Identity | None:
        """See `net.base.Session`."""
        return self._stream.identity

    @property
    def remote(self) -> Address | None:
        """See `net.base.Session`."""
        return self._stream.remote

    @property
    def local(self) -> Address | None:
        """The near end of the TCP connection below."""
        return self._stream.local

    @property
    def is_open(self) -> bool:
        """See `net.base.Session`."""
        return self._reason is None

    @property
    def streams(self) -> int:
        """See `net.base.Session`."""
        return len(self._exchanges)

    @property
    def silence(self) -> float:
        """See `net.base.Session`."""
        if self._pinged is None:
            return 0.0
        return max(0.0, self._loop.time() - max(self._pinged, self._heard))

    # ------------------------------------------------------------------ opening and ending

    def open(self, headers: Headers, *, end: bool = False) -> Http2Exchange:
        """Start a stream at once; see `net.base.Session`.

        Raises:
            BrokenStreamError: the session is over.
            LimitError: the peer takes no more streams, or this session has had all that it can have.
        """
        if self._reason is not None:
            raise BrokenStreamError(self._reason)
        if len(self._exchanges) >= self._conn.remote_settings.max_concurrent_streams:
            raise LimitError("the peer takes no more streams on this session")
        try:
            number = self._conn.get_next_available_stream_id()
        except NoAvailableStreamIDError as error:
            raise LimitError("this session has had all the streams that it can have") from error
        exchange = Http2Exchange(self, number, headers)
        self._exchanges[number] = exchange
        self.out.send_head(exchange, headers)
        if end:
            exchange.end()
        return exchange

    def close(self, reason: str = "") -> None:
        """End the session with a GOAWAY that carries the reason; see `net.base.Session`."""
        if self._reason is not None:
            return
        self.out.quietly(self._conn.close_connection, ErrorCodes.NO_ERROR, reason.encode()[:512])
        self.out.flush()
        self._over(reason or "closed by this side")
        self._stream.end()

    async def closed(self) -> str:
        """Wait for the end; see `net.base.Session`."""
        if self._reason is None:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        return self._reason or ""

    def _fail(self, reason: str) -> None:
        """End the session over what the peer did; its GOAWAY is in the buffer where there is one."""
        self.out.flush()
        self._over(reason)
        self._stream.end()

    def _over(self, reason: str) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        self._timer.cancel()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._late.clear()
        self._give_credit()  # so that the end of the connection below is seen
        for exchange in list(self._exchanges.values()):
            self._cut(exchange, reason)
        self._exchanges.clear()
        self.out.ready.clear()
        self._answering = None  # it holds whoever holds this, and both are to be freed at once
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # ------------------------------------------------------------------ from the stream below

    def push(self, data: bytes) -> None:
        """Take what the peer sent; of a mass of frames some in each turn of the loop, so that others get theirs."""
        self._uncredited += len(data)
        self._heard = self._loop.time()
        if self._turn is None:
            self._take(data)
        else:
            self._late.append(data)

    def _take(self, data: bytes) -> None:
        if self._reason is None:
            self._process(data)
        if self._reason is None and self._conn.is_behind:
            self._turn = self._loop.call_soon(self._go_on)
        else:
            self._give_credit()

    def _go_on(self) -> None:
        self._turn = None
        data = b"".join(self._late)
        self._late.clear()
        self._take(data)

    def _process(self, data: bytes) -> None:
        try:
            events = self._conn.receive_data(data)
        except H2Error as error:
            self._fail(f"the peer broke HTTP/2: {type(error).__name__}: {error}"[:200])
            return
        except (ValueError, AssertionError, KeyError, IndexError) as error:
            self._fail(f"the peer sent a malformed frame: {type(error).__name__}")
            return
        for event in events:
            handler = _ON.get(type(event))
            if handler is not None:
                handler(self, event)
                if not self.is_open:
                    return
        self._top_up()
        self.out.schedule()

    def _give_credit(self) -> None:
        """Let more come, unless the peer reads too little or frames of it still wait."""
        if self._uncredited and self.out.unsent <= UNREAD and self._turn is None:
            given, self._uncredited = self._uncredited, 0
            self._stream.credit(given)

    def finish(self) -> None:
        """The peer closed the connection."""
        while self._turn is not None:
            self._turn.cancel()
            self._go_on()
        self._over("the peer closed the connection")
        self._stream.end()

    def broke(self, reason: str) -> None:
        """The connection was cut."""
        self._over(reason)

    def _below_took(self, size: int) -> None:
        self.out.unsent -= size
        self._give_credit()
        if self.out.unsent <= 0 and self._reason is None:
            self.out.pump()

    # ------------------------------------------------------------------ events

    def _on_request(self, event: RequestReceived) -> None:
        number = event.stream_id
        if self._answering is None or self._inbound >= self._limits.streams:
            self.out.quietly(self._conn.reset_stream, number, ErrorCodes.REFUSED_STREAM)
            self._conn.forget(number)
            return
        exchange = Http2Exchange(self, number, _text(event.headers))
        self._exchanges[number] = exchange
        self._inbound += 1
        self._answering.start(exchange)

    def _linger(self, exchange: Http2Exchange) -> None:
        self._loop.call_later(LINGER, exchange.abort, LATE)

    def _cut(self, exchange: Http2Exchange, reason: str) -> None:
        """The peer ended `exchange` by force: tell its user, and stop the handler that works for nobody now."""
        exchange.broken(reason)
        if self._answering is not None:
            self._answering.stop(exchange)

    def _on_response(self, event: ResponseReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is not None:
            exchange.answered(_text(event.headers))

    def _on_data(self, event: DataReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        data, size = event.data, event.flow_controlled_length
        if exchange is None or not size:
            return
        exchange.received += size
        self.held += size
        if data:
            exchange.arrived(data)
        if size > len(data):
            exchange.credit(size - len(data))  # padding

    def _on_ended(self, event: StreamEnded) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is not None:
            exchange.finished()

    def _on_reset(self, event: StreamReset) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None:
            return
        unanswered = self._is_server and not exchange.is_answered
        self._cut(exchange, _reset_reason(event))
        if unanswered and not self._resets.take(self._loop.time()):
            self._conn.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._fail("the peer reset too many streams")

    def _on_control(self, event: Event) -> None:
        if not self._controls.take(self._loop.time()):
            self._conn.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._fail("the peer sent too many SETTINGS or PING frames")
        elif isinstance(event, RemoteSettingsChanged):
            for exchange in self._exchanges.values():
                self.out.wait(exchange)
            self.out.pump()

    def _on_pong(self, _event: PingAckReceived) -> None:
        if self._pinged is not None:
            self.round_trip = self._loop.time() - self._pinged
            self._pinged = None

    def _on_window(self, event: WindowUpdated) -> None:
        if event.stream_id:
            exchange = self._exchanges.get(event.stream_id)
            if exchange is None or not exchange.has_outbox:
                return
            self.out.wait(exchange)
        if self.out.ready:
            self.out.pump()

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        said = (event.additional_data or b"").decode("utf-8", "replace")
        self._over(said or f"the peer ended the session (code {event.error_code})")
        self._stream.end()

    # ------------------------------------------------------------------ credit

    def open_window(self, exchange: Http2Exchange, size: int) -> None:
        """Give `size` bytes of credit back, and more where a fast consumer on a long link can use it."""
        if self.own and exchange.window < OWN_WINDOW_MAX and not exchange.received and self._is_long():
            grown = min(exchange.window * 2, OWN_WINDOW_MAX)
            size += grown - exchange.window
            exchange.window = grown
        self.out.quietly(self._conn.increment_flow_control_window, size, exchange.number)
        self.out.schedule()

    def _is_long(self) -> bool:
        """Whether a window may be the bound: only where a round trip takes longer than a local network's."""
        return self.round_trip is not None and self.round_trip > 0.005

    def _top_up(self) -> None:
        """Give the session's window back, unless too much is held; it cannot leak, as it is set, not counted."""
        if self.held > self._limits.held:
            return
        missing = SESSION_WINDOW - self._conn.inbound_flow_control_window
        if missing * 2 >= SESSION_WINDOW:
            self.out.quietly(self._conn.increment_flow_control_window, missing)

    # ------------------------------------------------------------------ the rest

    def forget(self, exchange: Http2Exchange) -> None:
        """A stream is over: return what it held, drop its state."""
        if self._exchanges.pop(exchange.number, None) is None:
            return
        if self._is_server:
            self._inbound -= 1
        self._conn.forget(exchange.number)
        received, exchange.received = exchange.received, 0
        self.release(received)

    def release(self, size: int) -> None:
        """So many received bytes are held no more."""
        was_full = self.held > self._limits.held
        self.held -= size
        if was_full and self._reason is None:
            self._top_up()
            self.out.schedule()

    def _ping(self) -> None:
        self._pinged = self._loop.time()
        self.out.quietly(self._conn.ping, b"\0" * 8)

    def _tick(self) -> None:
        now = self._loop.time()
        if now - self._heard > SILENT_AFTER:
            self._over(f"the peer was silent for {SILENT_AFTER:.0f} s")
            self._stream.abort("silent")
            return
        if self._pinged is None:
            self._ping()
            self.out.schedule()
        self._timer = self._loop.call_later(PING_EVERY, self._tick)


def _text(headers: Any) -> list[tuple[str, str]]:
    return [
        (bytes(name).decode("utf-8", "replace"), bytes(value).decode("utf-8", "replace")) for name, value in headers
    ]


def _reset_reason(event: StreamReset) -> str:
    if event.error_code == ErrorCodes.REFUSED_STREAM:
        return "the peer refused one more stream"
    return "the peer reset the stream"


_ON: dict[type[Event], Any] = {
    RequestReceived: Http2Session._on_request,
    ResponseReceived: Http2Session._on_response,
    DataReceived: Http2Session._on_data,
    StreamEnded: Http2Session._on_ended,
    StreamReset: Http2Session._on_reset,
    PingReceived: Http2Session._on_control,
    RemoteSettingsChanged: Http2Session._on_control,
    PingAckReceived: Http2Session._on_pong,
    WindowUpdated: Http2Session._on_window,
    ConnectionTerminated: Http2Session._on_goaway,
}
