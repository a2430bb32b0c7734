"""An HTTP/2 and an HTTP/1.1 with v1's habits, to meet a hub with; nothing here uses the code under test.

Frames are written byte by byte: plain literals only, header blocks
cut at 1024 bytes, no END_STREAM on heads, a lazy preface in the server's role, windows refilled on arrival, and
the peer's MAX_CONCURRENT_STREAMS ignored (spec mesh-protocol 4.1).
"""

import asyncio
import contextlib
import json
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import hpack

PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
V1_SETTINGS = ((1, 4096), (2, 0), (4, 1048576), (5, 16384))
V1_CUT = 1024
REFUSED_STREAM = 7

Fields = list[tuple[str, str]]


class Below(Protocol):
    """What an HTTP/2 connection runs on: a TLS connection, or a CONNECT stream of another one."""

    async def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def end(self) -> None: ...


# ---------------------------------------------------------------------- bytes


class Wire:
    """A TLS connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @property
    def tls(self) -> ssl.SSLObject:
        return self.writer.get_extra_info("ssl_object")

    async def read(self) -> bytes:
        try:
            return await self._reader.read(65536)
        except (OSError, ssl.SSLError):
            return b""

    def write(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)

    def end(self) -> None:
        self.writer.close()

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()

    async def probe(self, method: str, target: str, body: bytes | None = None) -> "Answer":
        """One request as v1 makes it over HTTP/1.1: without Host."""
        length = b"" if body is None else b"content-length: %d\r\n" % len(body)
        head = f"{method} {target} HTTP/1.1\r\n".encode() + length + b"connection: keep-alive\r\n\r\n"
        self.write(head + (body or b""))  # at once: an answer that need not read the body closes if it is still to come
        async with asyncio.timeout(PATIENCE):
            line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            fields = [(name.lower(), value.strip()) for name, _, value in (one.partition(":") for one in lines)]
            assert line.startswith("HTTP/1.1 "), line
            assert line[12] == " ", f"v1 agents hang on {line!r}"
            return Answer(int(line[9:12]), fields, await self._body(dict(fields)))

    async def _body(self, fields: dict[str, str]) -> bytes:
        if fields.get("transfer-encoding") != "chunked":
            return await self._reader.readexactly(int(fields.get("content-length", 0)))
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body


@dataclass
class Answer:
    status: int
    fields: Fields
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def kind(self) -> str | None:
        return dict(self.fields).get("content-type")


def literal(fields: Fields) -> bytes:
    """A header block of literals without indexing and without Huffman coding (RFC 7541 section 6.2.2)."""
    return b"".join([b"\0" + _text(name) + _text(value) for name, value in fields])


def _text(text: str) -> bytes:
    data = text.encode()
    size = len(data)
    if size < 127:
        return bytes([size]) + data
    prefix, size = b"\x7f", size - 127
    while size >= 128:
        prefix, size = prefix + bytes([size % 128 + 128]), size // 128
    return prefix + bytes([size]) + data


# ---------------------------------------------------------------------- HTTP/2 as v1 speaks it


class Stream:
    """One stream; also what a nested connection runs on."""

    def __init__(self, connection: "Http2", number: int, fields: Fields) -> None:
        self.connection = connection
        self.number = number
        self.request = dict(fields)
        self.window = connection.peer_window
        self.reset_code: int | None = None
        self.refills = True
        """Whether arriving bytes are credited at once; without it the stream stalls after its window."""
        self._head: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self._is_over = False
        self._out = bytearray()
        self._ends = False

    async def head(self) -> Answer:
        """The answer's head."""
        async with asyncio.timeout(PATIENCE):
            fields = await asyncio.shield(self._head)
        return Answer(int(dict(fields)[":status"]), fields)

    async def answer(self) -> Answer:
        """The whole answer."""
        answer = await self.head()
        answer.body = await self.rest()
        return answer

    async def read(self) -> bytes:
        """The next bytes; nothing at the end, however it came."""
        if self._is_over and self._arrived.empty():
            return b""
        return await self._arrived.get()

    async def rest(self) -> bytes:
        """All bytes to the end."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            while more := await self.read():
                data += more
        return data

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes, or fewer where the stream ends."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            while len(data) < size and (more := await self.read()):
                data += more
        return data

    async def ended(self) -> None:
        """Wait for the end, dropping what comes."""
        await self.rest()

    def respond(self, status: int, kind: str = "") -> None:
        fields = [(":status", str(status))]
        self.connection.head(self.number, [*fields, ("content-type", kind)] if kind else fields)

    def say(self, status: int, body: bytes = b"", kind: str = "") -> None:
        """A whole answer."""
        self.respond(status, kind)
        self.write(body)
        self.end()

    def write(self, data: bytes) -> None:
        self._out += data
        self.flush()

    def end(self) -> None:
        self._ends = True
        self.flush()

    def flush(self) -> None:
        """Send what the windows let through."""
        connection = self.connection
        while self._out:
            size = min(len(self._out), self.window, connection.window, 16384)
            if size <= 0:
                return
            self.window -= size
            connection.window -= size
            connection.frame(DATA, 0, self.number, bytes(self._out[:size]))
            del self._out[:size]
        if self._ends:
            self._ends = False
            connection.frame(DATA, END_STREAM, self.number)

    @property
    def unsent(self) -> int:
        return len(self._out)

    def reset(self, code: int = 8) -> None:
        self.connection.frame(RST, 0, self.number, struct.pack(">I", code))
        self.over()

    def credit(self, size: int) -> None:
        self.connection.frame(WINDOW, 0, self.number, struct.pack(">I", size))

    # what the connection tells

    def arrived(self, data: bytes) -> None:
        self._arrived.put_nowait(data)

    def headed(self, fields: Fields) -> None:
        if not self._head.done():
            self._head.set_result(fields)

    def over(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._arrived.put_nowait(b"")
            if not self._head.done():
                self._head.set_exception(EOFError(f"stream {self.number} ended without an answer"))
                self._head.exception()


class Http2:
    """One connection in either role; it reads until it is closed."""

    def __init__(
        self, below: Below, role: str, answer: Callable[[Stream], Awaitable[None]] | None = None, *, acks: bool = True
    ) -> None:
        self.below = below
        self.streams: dict[int, Stream] = {}
        self.window = 65535
        self.peer_window = 65535
        self.settings: dict[int, int] = {}
        """What the peer set."""
        self.goaway: tuple[int, bytes] | None = None
        self.closed = asyncio.Event()
        self.pings = 0
        """PINGs that the peer sent."""
        self._pong = asyncio.Event()
        self.corked: bytearray | None = None
        """What is kept back, to leave in one write."""
        self._acks = acks
        self._is_client = role == "client"
        self._answer = answer
        self._next = 1
        self._is_begun = False
        self._decoder = hpack.Decoder()
        self._tasks: set[asyncio.Task[None]] = set()
        self._start(self._run())

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._lost()
        if isinstance(self.below, Wire):
            await self.below.close()

    # sending

    def frame(self, kind: int, flags: int, number: int, payload: bytes = b"") -> None:
        if not self._is_begun:  # lazily, as v1 does
            self._is_begun = True
            self.raw(PREFACE if self._is_client else b"")
            self.frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *one) for one in V1_SETTINGS))
            self.frame(WINDOW, 0, 0, struct.pack(">I", 983041))
        self.raw(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", number) + payload)

    def raw(self, data: bytes) -> None:
        if self.corked is not None:
            self.corked += data
        elif data:
            self.below.write(data)

    @contextlib.contextmanager
    def one_flight(self) -> Any:
        """Let all that is sent inside leave in one write."""
        self.corked = bytearray()
        yield
        data, self.corked = bytes(self.corked), None
        self.raw(data)

    def head(self, number: int, fields: Fields) -> None:
        block = literal(fields)
        parts = [block[at : at + V1_CUT] for at in range(0, len(block), V1_CUT)]
        for index, part in enumerate(parts):
            last = END_HEADERS if index == len(parts) - 1 else 0
            self.frame(CONTINUATION if index else HEADERS, last, number, part)

    def open(self, method: str, target: str, extra: Fields | None = None) -> Stream:
        """Begin a request; on CONNECT the stream stays open."""
        return self.open_with([(":method", method), (":scheme", "http"), (":path", target), *(extra or [])])

    def open_with(self, fields: Fields) -> Stream:
        """Begin a request with these fields, whatever they are."""
        stream = Stream(self, self._next, fields)
        self.streams[self._next] = stream
        self._next += 2
        self.head(stream.number, fields)
        return stream

    def request(self, method: str, target: str, body: bytes = b"", extra: Fields | None = None) -> Stream:
        """Begin a request with all its body; v1 ends it by an empty DATA frame."""
        stream = self.open(method, target, extra)
        stream.write(body)
        stream.end()
        return stream

    async def ask(self, method: str, target: str, body: bytes | Any = b"", extra: Fields | None = None) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.request(method, target, data, extra).answer()

    async def ping(self) -> None:
        """Wait for the answer to a PING."""
        self._pong.clear()
        self.frame(PING, 0, 0, bytes(8))
        await self._pong.wait()

    # receiving

    async def _run(self) -> None:
        buffer = b""
        if not self._is_client:
            while len(buffer) < len(PREFACE) and (more := await self.below.read()):
                buffer += more
            assert PREFACE.startswith(buffer[: len(PREFACE)]), buffer
            buffer = buffer[len(PREFACE) :]
        while True:
            while len(buffer) >= 9 and len(buffer) >= (size := 9 + int.from_bytes(buffer[:3])):
                number = int.from_bytes(buffer[5:9]) & 0x7FFFFFFF
                self._on_frame(buffer[3], buffer[4], number, buffer[9:size])
                buffer = buffer[size:]
            more = await self.below.read()
            if not more:
                break
            buffer += more
        self._lost()

    def _lost(self) -> None:
        for stream in self.streams.values():
            stream.over()
        self.closed.set()

    def _on_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        stream = self.streams.get(number)
        match kind:
            case 0:
                self._on_data(stream, flags, payload)
            case 1 | 9:
                self._block = payload if kind == HEADERS else self._block + payload
                self._ends_stream = flags & END_STREAM if kind == HEADERS else self._ends_stream
                if flags & END_HEADERS:
                    self._on_head(number, [(str(n), str(v)) for n, v in self._decoder.decode(self._block)])
            case 3 if stream is not None:
                stream.reset_code = stream.reset_code or int.from_bytes(payload)
                stream.over()
            case 4 if not flags & ACK:
                self._on_settings(payload)
            case 6 if not flags & ACK:
                self.pings += 1
                if self._acks:
                    self.frame(PING, ACK, 0, payload)
            case 6:
                self._pong.set()
            case 7:
                self.goaway = int.from_bytes(payload[4:8]), payload[8:]
            case 8:
                self._on_window(stream, int.from_bytes(payload))

    def _on_data(self, stream: Stream | None, flags: int, payload: bytes) -> None:
        if payload:
            self.frame(WINDOW, 0, 0, struct.pack(">I", len(payload)))
        if stream is not None and payload:
            if stream.refills and not flags & END_STREAM:
                stream.credit(len(payload))
            stream.arrived(payload)
        if stream is not None and flags & END_STREAM:
            stream.over()

    def _on_head(self, number: int, fields: Fields) -> None:
        stream = self.streams.get(number)
        if stream is None:
            stream = self.streams[number] = Stream(self, number, fields)
            assert self._answer is not None
            self._start(self._answer(stream))
        else:
            stream.headed(fields)
        if self._ends_stream:
            stream.over()

    def _on_settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            key, value = struct.unpack(">HI", payload[at : at + 6])
            self.settings[key] = value
            if key == 4:
                for stream in self.streams.values():
                    stream.window += value - self.peer_window
                self.peer_window = value
        self.frame(SETTINGS, ACK, 0)
        self._flush()

    def _on_window(self, stream: Stream | None, size: int) -> None:
        if stream is not None:
            stream.window += size
            stream.flush()
        else:
            self.window += size
            self._flush()

    def _flush(self) -> None:
        for stream in list(self.streams.values()):
            stream.flush()
