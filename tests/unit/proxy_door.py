"""A door of the proxy on real sockets, with a way in memory: what is asked of it is dialled here, or refused."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import h11
from app_mesh import DEADLINE, LOOPBACK, MemoryAudit

from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.entry.door import Door
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.apps.proxy.way import Passage
from ztm.apps.streams.reach import Early
from ztm.errors import BrokenStreamError, NotFoundError, UnreachableError, ZtmError
from ztm.model import Address, Peer
from ztm.net.aio import AioNetwork
from ztm.net.base import Listener, Stream
from ztm.net.choice import network as chosen_network
from ztm.wire.datagram import Decoder, encode

EXIT = "00000000-0000-4000-8000-00000000e417"
OWNER = Peer("alice", "00000000-0000-4000-8000-000000000001")


HELLO5 = b"\x05\x01\x00"
"""The greeting of a SOCKS5 client without a password."""


def wish(host: str, port: int, command: int = 1) -> bytes:
    """A request of SOCKS5."""
    for kind, family in ((1, socket.AF_INET), (4, socket.AF_INET6)):
        try:
            packed = socket.inet_pton(family, host)
        except OSError:
            continue
        return bytes((5, command, 0, kind)) + packed + port.to_bytes(2, "big")
    return bytes((5, command, 0, 3, len(host))) + host.encode() + port.to_bytes(2, "big")


def wish4(host: str, port: int, command: int = 1, user: bytes = b"me") -> bytes:
    """A request of SOCKS4, or SOCKS4a for a name."""
    try:
        ip, name = socket.inet_pton(socket.AF_INET, host), b""
    except OSError:
        ip, name = b"\x00\x00\x00\x01", host.encode() + b"\x00"
    return bytes((4, command)) + port.to_bytes(2, "big") + ip + user + b"\x00" + name


class MemoryWay:
    """Dials what is asked for; `names` resolve, `errors` refuse."""

    def __init__(self, network: AioNetwork) -> None:
        self.network = network
        self.names: dict[str, Address] = {}
        self.errors: dict[str, ZtmError] = {}
        self.asked: list[tuple[str, int]] = []
        self.opened: list[Stream] = []
        self.gate: asyncio.Event | None = None
        """What is asked for waits for it, with the early bytes already on their way."""
        self.began = asyncio.Event()
        self.is_just_accepted = False
        """An exit accepts in the moment in which the client leaves."""
        self.blamed: list[Stream] = []
        """Streams that were cut while they were being opened: an exit would be held off for it."""

    async def open(self, host: str, port: int, early: Early) -> Passage:
        self.asked.append((host, port))
        if host in self.errors:
            self.began.set()
            raise self.errors[host]
        stream = await self._dial(host, port)
        self.began.set()
        forwarding = asyncio.ensure_future(early.forward(stream))
        try:
            if self.gate is not None:
                await self._gated(stream)
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not self.is_just_accepted:
                stream.abort("cancelled")
                raise
        finally:
            forwarding.cancel()
            await asyncio.wait((forwarding,))
        if early.broken is not None:
            raise early.broken
        if stream.is_over:
            self.blamed.append(stream)
            raise UnreachableError("the exit's stream was cut")
        return Passage(stream, EXIT)

    async def _gated(self, stream: Stream) -> None:
        assert self.gate is not None
        waits = [asyncio.ensure_future(self.gate.wait()), asyncio.ensure_future(stream.ended())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def open_datagrams(self, host: str, port: int) -> Passage:
        self.asked.append((host, port))
        if host in self.errors:
            raise self.errors[host]
        return Passage(await self._dial(host, port), EXIT)

    async def _dial(self, host: str, port: int) -> Stream:
        address = self.names.get(host, Address(host, port))
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in address.host else socket.AF_INET, address.host)
        except OSError:
            raise NotFoundError(f"{host} does not resolve there") from None
        stream = await self.network.dial(address)
        self.opened.append(stream)
        return stream


@dataclass
class Doorway:
    """An open door, and what tests ask of it."""

    network: AioNetwork
    way: MemoryWay
    door: Door
    audit: MemoryAudit
    listeners: list[Listener] = field(default_factory=list)
    clients: list[Stream] = field(default_factory=list)

    @property
    def address(self) -> Address:
        return self.listeners[0].address

    @property
    def url(self) -> str:
        return str(self.address)

    async def client(self, first: bytes = b"") -> Stream:
        stream = await self.network.dial(self.address)
        self.clients.append(stream)
        if first:
            await stream.write(first)
        return stream

    async def listen(self, serve: Callable[[Stream], Awaitable[None]], host: str = LOOPBACK) -> Address:
        async def accept(stream: Stream) -> None:
            with contextlib.suppress(BrokenStreamError):
                await serve(stream)

        self.listeners.append(await self.network.listen(Address(host, 0), accept))
        return self.listeners[-1].address

    async def echo(self, host: str = LOOPBACK) -> Address:
        """A target that says hello first, and then sends back what it is sent."""

        async def serve(stream: Stream) -> None:
            await stream.write(b"hello:")
            while data := await stream.read():
                await stream.write(data)
            stream.end()
            await stream.ended()

        return await self.listen(serve, host)

    async def datagram_echo(self) -> Address:
        """Answers each datagram of a passage with itself in capitals."""

        async def serve(stream: Stream) -> None:
            decoder = Decoder()
            while data := await stream.read():
                for datagram in decoder.feed(data):
                    await stream.write(encode(datagram.upper()))

        return await self.listen(serve)

    async def audited(self, count: int) -> None:
        """Wait until `count` sessions are over."""
        while len(self.audit.trails) < count:
            await asyncio.sleep(0.001)


class WebOrigin:
    """An HTTP/1.1 server that keeps what it was sent; `answer` says what comes back.

    None cuts the connection, and nothing ends it.
    """

    def __init__(self, answer: Callable[["Seen"], bytes | None] | None = None) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.answer = answer or (lambda seen: plain(b"you asked for " + seen.target))

    async def serve(self, stream: Stream) -> None:
        self.connections += 1
        number = self.connections
        connection = h11.Connection(h11.SERVER)
        seen: Seen | None = None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await stream.read()
                if not data and connection.their_state is h11.IDLE:
                    return
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                headers = [(name.decode(), value.decode()) for name, value in event.headers]
                seen = Seen(number, event.method, event.target, headers)
            elif isinstance(event, h11.Data) and seen is not None:
                seen.body += event.data
            elif isinstance(event, h11.EndOfMessage) and seen is not None:
                self.seen.append(seen)
                answer = self.answer(seen)
                if answer is None:
                    stream.abort("as told")
                    return
                if not answer:
                    return
                await stream.write(answer)
                rest = connection.trailing_data[0]
                if answer.startswith(b"HTTP/1.1 101"):
                    await stream.write(b"raw:" + rest)
                    while data := await stream.read():
                        await stream.write(data)
                    return
                if b"connection: close" in answer.lower():
                    return
                connection = h11.Connection(h11.SERVER)
                if rest:
                    connection.receive_data(rest)
            else:
                return


@dataclass
class Seen:
    """One request as an origin saw it."""

    connection: int
    method: bytes
    target: bytes
    headers: list[tuple[str, str]]
    body: bytes = b""


def plain(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    """A whole answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


class _Failures(logging.Handler):
    """Keeps what a listener says of a handler that failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextlib.asynccontextmanager
async def doorway(
    limits: DoorLimits | None = None, credentials: Credentials | None = None, host: str = LOOPBACK
) -> AsyncIterator[Doorway]:
    """An open door; fails if anything of a client is left after it was closed."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None
    give_up = loop.call_later(DEADLINE, main.cancel, "the test took too long")
    network, audit = chosen_network(), MemoryAudit()
    way = MemoryWay(network)
    log = logging.LoggerAdapter(logging.getLogger("test.proxy"), {})
    door = Door(network, way, log, limits or DoorLimits(linger_seconds=0.2), credentials, audit=audit, peer=OWNER)
    made = Doorway(network, way, door, audit, [await network.listen(Address(host, 0), door.accept)])
    failures = _Failures()
    logging.getLogger("ztm.net").addHandler(failures)
    try:
        yield made
    finally:
        give_up.cancel()
        logging.getLogger("ztm.net").removeHandler(failures)
        await door.close("the test is over")
        for listener in made.listeners:
            await listener.close()
        assert failures.said == []
        assert door.traffic.shown().open == 0
        assert len(audit.begun) == len(audit.trails)
        for stream in way.opened:
            async with asyncio.timeout(3):
                await stream.ended()
        for stream in made.clients:
            stream.abort("the test is over")
        for _ in range(5):
            await asyncio.sleep(0)


async def read_answer(stream: Stream, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
    """One HTTP answer."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="HEAD" if head else "GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    status, headers, body = 0, {}, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.read())
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            stream.unread(connection.trailing_data[0])
            return status, headers, body
        elif isinstance(event, h11.ConnectionClosed):
            raise AssertionError("no answer")
