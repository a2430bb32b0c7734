"""The sending half of an HTTP/2 session: frames into the stream below, each stream in its turn.

A stream sends what its window, the session's window and the stream below take now; the rest stays in its outbox, and
`pump` comes back for it. It reads nothing and decides nothing about the peer.
"""

import asyncio
import logging
from typing import Any

from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from ztm.net.base import Headers
from ztm.net.flow import FlowStream
from ztm.net.http2.exchange import Http2Exchange
from ztm.net.http2.lenient import LenientConnection

log = logging.getLogger("ztm.net")

BATCH = 256 << 10
"""Framed bytes that may await one flush."""
UNHURRIED = 0.002
"""Seconds that a head nobody waits for may stay, so that one packet less leaves and wakes every hop."""


class Sender:
    """What a session says, framed by `conn` into `stream`."""

    def __init__(self, conn: LenientConnection, stream: FlowStream, *, is_server: bool) -> None:
        self._conn = conn
        self._stream = stream
        self._is_server = is_server
        self._loop = asyncio.get_running_loop()
        self.ready: dict[Http2Exchange, None] = {}
        """Streams with an outbox that only wait for the session."""
        self.unsent = stream.owed
        """Bytes handed to the stream below and not yet taken by it."""
        self._framed = 0
        self._flushing = False

    # ------------------------------------------------------------------ frames

    def send_head(self, exchange: Http2Exchange, headers: Headers, *, is_urgent: bool = True) -> None:
        """Frame a head; it leaves with the next flush, for which one that is not urgent does not hurry.

        Never with `content-length`, over which v1 ends sessions (spec mesh-protocol 4.2).
        """
        fields = [field for field in headers if field[0] != "content-length"]
        self.quietly(self._conn.send_headers, exchange.number, fields)
        if is_urgent:
            self.schedule()
        else:
            self._loop.call_later(UNHURRIED, self.flush)

    def send_body(self, exchange: Http2Exchange, data: bytes) -> int:
        """Frame as much of `data` as the windows and the stream below take now."""
        sent, size = 0, len(data)
        conn, number = self._conn, exchange.number
        try:
            while sent < size and self.unsent <= 0 and (exchange.waiting or not self.ready):
                room = min(conn.local_flow_control_window(number), conn.max_outbound_frame_size, size - sent)
                if room <= 0:
                    break
                conn.send_data(number, data[sent : sent + room] if room < size else data)
                sent += room
                self._framed += room
                if self._framed >= BATCH:
                    self.flush()
        except H2Error:
            return size  # the peer has ended the stream, and the event that says so is on its way
        self.schedule()
        return sent

    def send_end(self, exchange: Http2Exchange) -> None:
        """Frame the end of a stream (an empty DATA frame, as v1 does)."""
        if self._is_server and not exchange.is_answered:
            exchange.abort("it was never answered")  # peers end the session over a body without a head
            return
        self.quietly(self._conn.send_data, exchange.number, b"", end_stream=True)
        self.schedule()

    def send_reset(self, exchange: Http2Exchange) -> None:
        """Frame a RST_STREAM, unless the peer knows of the end already."""
        self.quietly(self._conn.reset_stream, exchange.number, ErrorCodes.CANCEL)
        self.schedule()

    def wait(self, exchange: Http2Exchange) -> None:
        """Come back to `exchange` when the session's stream or window has room."""
        if exchange.has_outbox and not exchange.waiting and self._conn.has_stream_window(exchange.number):
            exchange.waiting = True
            self.ready[exchange] = None

    def pump(self) -> None:
        """Let the ready streams send in turn, a frame each, until the stream below or the window is full."""
        while self.ready and self.unsent <= 0 and self._conn.outbound_flow_control_window > 0:
            exchange = next(iter(self.ready))
            sent = 0
            if exchange.has_outbox:
                sent = self.send_body(exchange, exchange.outbox[0][: self._conn.max_outbound_frame_size])
            self.ready.pop(exchange, None)
            exchange.waiting = False
            if sent and exchange.has_outbox:
                self._sent_from_outbox(exchange, sent)
            self.wait(exchange)

    def _sent_from_outbox(self, exchange: Http2Exchange, sent: int) -> None:
        data = exchange.outbox[0]
        if sent == len(data):
            exchange.outbox.popleft()
        else:
            exchange.outbox[0] = data[sent:]
        exchange.was_taken(sent)
        if not exchange.has_outbox:
            exchange.drained()
            exchange._check_over()

    def schedule(self) -> None:
        """Flush at the end of this turn of the loop, with whatever else is framed until then."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flushing = False
        self.flush()

    def flush(self) -> None:
        """Hand all that is framed to the stream below."""
        self._framed = 0
        data = self._conn.data_to_send()
        if data:
            self.unsent += len(data) - self._stream.send(data)

    def quietly(self, frame: Any, *args: Any, **options: Any) -> None:
        """Frame something for a stream that the peer may just have ended: then there is nothing to say."""
        try:
            frame(*args, **options)
        except H2Error as error:
            log.debug("not sent: %s", error)
