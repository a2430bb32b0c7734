"""Messages of a WebSocket over a stream: fragments joined, pings answered, silence noticed, an end in order.

It reads only when asked to and holds at most one message. It knows neither HTTP nor ASGI, and speaks no extension: no
compression makes a small frame a large message.

Source: RFC 6455 sections 5 to 7; `wsproto` reads and writes the frames.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

from ztm.errors import BrokenStreamError
from ztm.net.base import Stream

T = TypeVar("T")

PING_EVERY = 30.0
"""Seconds without a byte from the peer after which it is asked whether it is there; proxies give up after 60."""
PONG_WITHIN = 60.0
"""Seconds in which it must say something, or take our answer to its own ping; else it is cut."""
CLOSE_WITHIN = 10.0
"""Seconds in which it must answer our close."""
FRAGMENT = 64 << 10
"""Bytes or characters of a message that leave in one frame; more would only make pings and closes late."""


@dataclass(frozen=True, slots=True)
class Closed:
    """How a WebSocket ended: with the peer's close, or ours where it broke the rules. Codes as in RFC 6455 7.4."""

    code: int = CloseReason.ABNORMAL_CLOSURE
    reason: str = ""


class Frames:
    """The server's side of one WebSocket; whoever made it reads in one task, and may send in any."""

    def __init__(self, stream: Stream, message_bytes: int) -> None:
        self._stream = stream
        self._limit = message_bytes
        self._wire = Connection(ConnectionType.SERVER)
        self._events: Iterator[Event] = iter(())
        self._partial = bytearray()
        self._begun = asyncio.Event()
        self._sending = asyncio.Lock()
        """Held for a whole message, whose fragments no other message may part."""
        self._waiting = asyncio.Lock()
        """Held while waiting for room: a stream has one writer."""
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close, and the stream is there."""
        return self._wire.state is ConnectionState.OPEN and not self._stream.is_over

    def begin(self) -> None:
        """The handshake was answered: frames may go both ways."""
        self._begun.set()

    # ------------------------------------------------------------------ reading

    async def read(self) -> str | bytes | Closed:
        """The next whole message, or how the WebSocket ended; nothing comes after that, and our side is ended.

        Before `begin`, only the peer's leaving is noticed.

        Raises:
            BrokenStreamError: the stream was cut, or the peer fell silent.
        """
        while True:
            for event in self._events:
                told = await self._took(event)
                if told is not None:
                    return told
            data = await self._more()
            if not data:
                self._finish()
                return Closed()
            await self._begun.wait()
            self._wire.receive_data(data)
            self._events = self._wire.events()

    async def _more(self) -> bytes:
        """The next bytes; a peer that sends none is asked whether it is there."""
        while True:
            try:
                async with asyncio.timeout(PING_EVERY):
                    return await self._stream.read()
            except TimeoutError:
                if self._begun.is_set():
                    break
        if self.is_open:
            self._put(Ping())
        return await self._within_patience(self._stream.read())

    async def _within_patience(self, act: Awaitable[T]) -> T:
        """What `act` gives; the stream is cut if that takes longer than `PONG_WITHIN`."""
        try:
            async with asyncio.timeout(PONG_WITHIN):
                return await act
        except TimeoutError:
            reason = f"the WebSocket's peer neither sent nor took anything for {PONG_WITHIN:g} seconds"
            self._stream.abort(reason)
            raise BrokenStreamError(reason) from None

    async def _took(self, event: Event) -> str | bytes | Closed | None:
        if isinstance(event, CloseConnection):
            return self._ended(event)
        if not self.is_open:
            return None  # it is closing, and nobody is there for what still comes
        if isinstance(event, Ping):
            self._put(event.response())
            await self._within_patience(self._room())
        elif isinstance(event, (TextMessage, BytesMessage)):
            return self._joined(event)
        return None

    def _ended(self, event: CloseConnection) -> Closed:
        """The peer closed, which is answered; or it broke a rule, which `wsproto` tells in the same way."""
        if self._wire.state is ConnectionState.REMOTE_CLOSING:
            self._put(event.response())
        else:
            self.close(event.code, event.reason or "")
        self._finish()
        return Closed(int(event.code), event.reason or "")

    def _joined(self, event: TextMessage | BytesMessage) -> str | bytes | Closed | None:
        """A message that `event` completes; text is kept as UTF-8 until then, which is the smallest form of it."""
        self._partial += event.data.encode() if isinstance(event, TextMessage) else event.data
        if len(self._partial) > self._limit:
            reason = f"a message may have {self._limit} bytes"
            return self._ended(CloseConnection(CloseReason.MESSAGE_TOO_BIG, reason))
        if not event.message_finished:
            return None
        whole, self._partial = self._partial, bytearray()
        return whole.decode() if isinstance(event, TextMessage) else bytes(whole)

    def _finish(self) -> None:
        """Nothing more is read: end our side, so that the peer ends the connection."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._begun.is_set():
            self._stream.end()

    # ------------------------------------------------------------------ writing

    async def send(self, data: str | bytes) -> None:
        """Send a message; returns once there is room for more. Cancelling it does not unsend what has begun.

        Raises:
            BrokenStreamError: it is closed or closing, or the stream was cut.
            UnicodeEncodeError: the text has no UTF-8; nothing was sent.
        """
        if isinstance(data, str):
            data.encode()
        async with self._sending:
            parts = _parts(data)
            try:
                for part in parts:
                    self._check_open()
                    self._put(part)
                    await self._room()
            except asyncio.CancelledError:
                for part in parts:  # half a message would make all that follows unreadable
                    if self.is_open:
                        self._put(part)
                raise

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close, without waiting; a peer that does not answer in time is cut. Idempotent."""
        if not self.is_open:
            return
        self._put(CloseConnection(code, reason))
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(CLOSE_WITHIN, self._stream.abort, "the peer did not answer our close")

    def _check_open(self) -> None:
        if not self.is_open:
            raise BrokenStreamError("the WebSocket is closed")

    def _put(self, event: Event) -> None:
        self._stream.write_now(bytes(self._wire.send(event)))

    async def _room(self) -> None:
        """Wait until the stream takes more."""
        async with self._waiting:
            if self.is_open:
                await self._stream.write(b"")


def _parts(data: str | bytes) -> Iterator[Message]:  # type: ignore[type-arg]
    """A message in frames that do not keep other frames waiting for long."""
    for begin in range(0, len(data) or 1, FRAGMENT):
        part, is_last = data[begin : begin + FRAGMENT], begin + FRAGMENT >= len(data)
        if isinstance(part, str):
            yield TextMessage(data=part, message_finished=is_last)
        else:
            yield BytesMessage(data=part, message_finished=is_last)
