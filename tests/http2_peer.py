"""A foreign HTTP/2 peer that says exactly what a test tells it to, frame by frame."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeVar

from hpack import Decoder, Encoder
from hyperframe import frame as frames
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, SettingsFrame

from ztm.model import Address, Identity
from ztm.net.base import Answer, Exchange, SessionLimits
from ztm.net.flow import FlowStream
from ztm.net.http2.exchange import Http2Exchange
from ztm.net.http2.session import Http2Session
from ztm.testing import settle

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECT = ((":method", "CONNECT"), (":scheme", "http"), (":path", "/api/apps/ztm/tunnel?src=a"))
GET = ((":method", "GET"), (":scheme", "http"), (":path", "/api/ping"))
OK = ((":status", "200"),)

F = TypeVar("F", bound=Frame)


class MemoryFlow(FlowStream):
    """A stream whose other end is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        """All that was written."""
        self.room: int | None = None
        """Bytes that the hop below takes at once; None is no bound."""
        self.credited = 0
        self.is_aborted = False
        self.is_end_sent = False

    @property
    def identity(self) -> Identity | None:
        return None

    @property
    def remote(self) -> Address | None:
        return Address("192.0.2.7", 4711)

    @property
    def local(self) -> Address | None:
        return None

    def take(self, size: int) -> None:
        """The hop below takes so many of the bytes it owes."""
        self.was_taken(size)

    def _transmit(self, data: bytes) -> int:
        self.sent += data
        if self.room is None:
            return len(data)
        taken = min(self.room, len(data))
        self.room -= taken
        return taken

    def _credit(self, size: int) -> None:
        self.credited += size

    def _end(self) -> None:
        self.is_end_sent = True

    def _abort(self, reason: str) -> None:
        self.is_aborted = True


class Requests:
    """Takes requests, and leaves them to the test."""

    def __init__(self) -> None:
        self.taken: list[Http2Exchange] = []

    async def __call__(self, exchange: Exchange) -> None:
        assert isinstance(exchange, Http2Exchange)
        self.taken.append(exchange)
        await exchange.ended()

    @property
    def last(self) -> Http2Exchange:
        return self.taken[-1]


class ForeignPeer:
    """The other end of a session of ours; `role` is our role."""

    def __init__(
        self,
        role: Literal["client", "server"],
        answer: Answer | None = None,
        *,
        limits: SessionLimits | None = None,
        own: bool = False,
        preface: bool = True,
    ) -> None:
        self.flow = MemoryFlow()
        self.session = Http2Session(self.flow, role, answer, limits or SessionLimits(), own)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self._seen = 0
        self._is_server = role == "server"
        if preface:
            self.say((PREFACE if self._is_server else b"") + SettingsFrame(0).serialize())

    def say(self, *said: Frame | bytes) -> None:
        """Let these frames arrive, in one piece."""
        self.flow.arrived(b"".join(part if isinstance(part, bytes) else part.serialize() for part in said))

    def heard(self) -> list[Frame]:
        """The frames that we sent since the last call."""
        data = bytes(self.flow.sent[self._seen :])
        if self._seen == 0 and not self._is_server:
            assert data.startswith(PREFACE)
            data = data[len(PREFACE) :]
        self._seen = len(self.flow.sent)
        return list(parse(data))

    async def hears(self) -> list[Frame]:
        """The same, after everything has happened that can happen now."""
        await settle()
        return self.heard()

    def head(self, number: int, fields: Iterable[tuple[str, str]], *, end: bool = False) -> HeadersFrame:
        """A whole header block in one frame."""
        made = HeadersFrame(number, self.encoder.encode(list(fields)))
        made.flags.add("END_HEADERS")
        if end:
            made.flags.add("END_STREAM")
        return made

    def fields(self, made: HeadersFrame) -> list[tuple[str, str]]:
        """A header block that we sent, decoded; each must be passed once and in order."""
        return [(str(name), str(value)) for name, value in self.decoder.decode(made.data)]


def data(number: int, body: bytes = b"", *, end: bool = False, padding: int | None = None) -> DataFrame:
    made = DataFrame(number, body)
    if end:
        made.flags.add("END_STREAM")
    if padding is not None:
        made.flags.add("PADDED")
        made.pad_length = padding
    return made


def in_pieces(head: HeadersFrame, size: int) -> list[Frame]:
    """A header block as HEADERS and CONTINUATION frames of `size` bytes, as v1 sends long ones."""
    block = head.data
    head.flags.discard("END_HEADERS")
    head.data = block[:size]
    made: list[Frame] = [head]
    made += [ContinuationFrame(head.stream_id, block[at : at + size]) for at in range(size, len(block), size)]
    made[-1].flags.add("END_HEADERS")
    return made


def parse(said: bytes) -> Iterable[Frame]:
    while said:
        made, length = Frame.parse_frame_header(memoryview(said[:9]))
        assert len(said) >= 9 + length, "half a frame was sent"
        made.parse_body(memoryview(said[9 : 9 + length]))
        yield made
        said = said[9 + length :]


def of_type(said: Sequence[Frame], kind: type[F]) -> list[F]:
    return [made for made in said if type(made) is kind]


def body(said: Sequence[Frame], number: int) -> bytes:
    return b"".join(bytes(made.data) for made in of_type(said, DataFrame) if made.stream_id == number)


def goaway(code: int = 0, reason: bytes = b"") -> Frame:
    return frames.GoAwayFrame(0, error_code=code, additional_data=reason)


def settings(values: dict[int, int]) -> Frame:
    return SettingsFrame(0, settings=values)


def reset(number: int, code: int = 8) -> Frame:
    return frames.RstStreamFrame(number, error_code=code)


def window(number: int, size: int) -> Frame:
    return frames.WindowUpdateFrame(number, window_increment=size)


def ping(payload: bytes = b"12345678") -> Frame:
    return frames.PingFrame(0, opaque_data=payload)


def raw(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    """A frame that no library would make."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + payload


def is_set(made: Frame, flag: str) -> bool:
    flags: Any = made.flags
    return flag in flags
