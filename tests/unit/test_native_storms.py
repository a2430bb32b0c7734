"""The native plane under storms: whatever breaks at once, all of it is given back, and others are served meanwhile."""

import asyncio
import contextlib
import os
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract.parties import Parties
from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.base import Exchange, Listener, Session, Stream
from ztm.net.choice import PACKAGE

pytest.importorskip(PACKAGE, reason="ztm-native is not installed")

from ztm.net.native.network import NativeNetwork

ANYWHERE = Address("127.0.0.1", 0)
CONNECT = ((":method", "CONNECT"), (":scheme", "http"), (":path", "/x"))
CHUNK = bytes(range(256)) * 256
CRASH = struct.pack("ii", 1, 0)
"""SO_LINGER by which a close is a reset."""


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def until(fact: object, what: str, within: float = 15) -> None:
    """Wait until the callable `fact` is true."""
    assert callable(fact)
    try:
        async with asyncio.timeout(within):
            while not fact():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not in time: {what}")


@dataclass
class Tunnel:
    """A port whose connections go through one session to a server that sends back what it is sent."""

    net: NativeNetwork
    port: int = 0
    client: Session = field(init=False)
    server: Session = field(init=False)
    listeners: list[Listener] = field(default_factory=list)
    targets: list[Stream] = field(default_factory=list)
    is_silent: bool = False
    """The server reads nothing."""
    running: int = 0

    async def start(self) -> None:
        met: asyncio.Future[Session] = asyncio.get_running_loop().create_future()

        async def accept(stream: Stream) -> None:
            met.set_result(self.net.session(stream, "server", answer=self.leave))
            await met.result().closed()

        hub = await self._listen(accept)
        target = await self._listen(self.target)
        self.target_port = target.port
        self.client = self.net.session(await self.net.dial(hub), "client", own=True)
        self.server = await met
        self.port = (await self._listen(self.enter)).port

    async def _listen(self, accept: object) -> Address:
        self.listeners.append(await self.net.listen(ANYWHERE, accept))  # type: ignore[arg-type]
        return self.listeners[-1].address

    async def enter(self, stream: Stream) -> None:
        self.running += 1
        try:
            exchange = self.client.open(CONNECT)
            with contextlib.suppress(BrokenStreamError):
                await self.net.splice(stream, exchange)
        finally:
            self.running -= 1

    async def leave(self, exchange: Exchange) -> None:
        target = await self.net.dial(Address("127.0.0.1", self.target_port))
        exchange.respond(200)
        await self.net.splice(exchange, target)

    async def target(self, stream: Stream) -> None:
        if self.is_silent:
            self.targets.append(stream)
            await stream.ended()
        else:
            await self.net.splice(stream, stream)

    async def works(self) -> None:
        """A new connection is answered."""
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(CHUNK)
            assert await reader.readexactly(len(CHUNK)) == CHUNK
            writer.close()
            await writer.wait_closed()

    @property
    def is_idle(self) -> bool:
        held = self.client.held + self.server.held  # type: ignore[attr-defined]
        return self.running == self.client.streams == self.server.streams == held == 0


@pytest.fixture
async def tunnel() -> AsyncIterator[Tunnel]:
    made = Tunnel(NativeNetwork())
    await made.start()
    yield made
    made.client.close()
    for listener in made.listeners:
        await listener.close()
    await made.net.flushed(1)


async def cut_at_random(port: int, chance: random.Random) -> None:
    """A connection with bytes in flight both ways, ended in one of the ways there are."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(chance.random() / 10):
                for _ in range(chance.randrange(20)):
                    await loop.sock_sendall(sock, CHUNK)
                    if chance.random() < 0.5:
                        await loop.sock_recv(sock, 1000)
        way = chance.randrange(4)
        with contextlib.suppress(OSError):
            if way == 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CRASH)
            elif way == 1:
                sock.shutdown(socket.SHUT_WR)
            elif way == 2:
                sock.shutdown(socket.SHUT_RD)


async def test_two_thousand_connections_cut_at_random_leave_nothing(tunnel: Tunnel) -> None:
    await tunnel.works()
    await until(lambda: tunnel.is_idle, "idle before")
    before, chance = descriptors(), random.Random(7)
    memory = 0
    for round_ in range(20):
        await asyncio.gather(*(cut_at_random(tunnel.port, chance) for _ in range(100)))
        if round_ == 9:
            await until(lambda: tunnel.is_idle, "all over, half way")
            memory = resident()
    await until(lambda: tunnel.is_idle, "all streams over")
    await until(lambda: descriptors() <= before, "all descriptors given back")
    assert resident() - memory < 32 << 20
    await tunnel.works()


async def fill(sock: socket.socket) -> int:
    """Send until nobody takes any more; the bytes."""
    sent, still = 0, 0
    while still < 10:
        try:
            sent += sock.send(CHUNK)
            still = 0
        except BlockingIOError:
            still += 1
            await asyncio.sleep(0.02)
    return sent


@pytest.mark.parametrize("way", ["reset", "close"])
async def test_a_blocked_splice_ends_when_its_client_goes(tunnel: Tunnel, way: str) -> None:
    tunnel.is_silent = True
    before = descriptors()
    sock = socket.create_connection(("127.0.0.1", tunnel.port))
    sock.setblocking(False)
    assert await fill(sock) > 1 << 20
    assert tunnel.server.held <= 2 << 20  # type: ignore[attr-defined]
    if way == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CRASH)
    sock.close()
    if way == "close":  # what was sent before an end in order may still be read, for as long as its reader likes
        tunnel.targets[0].abort("enough")
    await until(lambda: tunnel.is_idle, "the streams are over")
    await until(lambda: descriptors() <= before, "its sockets are closed")


async def test_an_abort_ends_a_blocked_splice_at_both_ends(tunnel: Tunnel) -> None:
    tunnel.is_silent = True
    with socket.create_connection(("127.0.0.1", tunnel.port)) as sock:
        sock.setblocking(False)
        await fill(sock)
        tunnel.targets[0].abort("enough")
        await until(lambda: tunnel.is_idle, "the streams are over")
        sock.settimeout(0)
        await until(lambda: is_cut(sock), "the client is cut")


def is_cut(sock: socket.socket) -> bool:
    try:
        return sock.recv(1000) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def test_readers_that_stop_at_both_ends_stop_nobody_else(tunnel: Tunnel) -> None:
    tunnel.is_silent = True
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", tunnel.port))) for _ in range(4)]
        for sock in socks:
            sock.setblocking(False)
        await until(lambda: len(tunnel.targets) == 4, "all are through")
        ends = list(tunnel.targets)
        writers = [asyncio.create_task(stalled(end)) for end in ends]
        await asyncio.gather(*(fill(sock) for sock in socks))
        tunnel.is_silent = False
        await tunnel.works()
        for session in (tunnel.client, tunnel.server):
            assert session.held <= 4 * (2 << 20)  # type: ignore[attr-defined]
        for writer in writers:
            writer.cancel()
    for end in ends:
        end.abort("enough")
    await until(lambda: tunnel.is_idle, "all is over")


async def stalled(stream: Stream) -> None:
    """Write for as long as there is room."""
    with contextlib.suppress(BrokenStreamError):
        while True:
            await stream.write(CHUNK)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9).replace(b"\0\0\0\0", b"\0\0\0\4", 1)


@pytest.mark.long
async def test_a_peer_that_floods_on_after_the_good_bye_is_cut(tunnel: Tunnel) -> None:
    ends: list[str] = []

    async def accept(stream: Stream) -> None:
        ends.append(await tunnel.net.session(stream, "server", answer=tunnel.leave).closed())

    address = await tunnel._listen(accept)
    before = descriptors()
    with socket.create_connection(("127.0.0.1", address.port)) as sock:
        sock.setblocking(False)
        sock.send(PREFACE)
        pings = (b"\0\0\x08\6\0\0\0\0\0" + bytes(8)) * 1000

        def is_gone() -> bool:
            try:
                sock.send(pings)
            except BlockingIOError:
                return False
            except OSError:
                return True
            return False

        await until(is_gone, "the flooding peer is cut, although it never ends its side", within=20)
        assert "SETTINGS or PING" in ends[0]
    await until(lambda: descriptors() <= before, "its socket is closed")
    await tunnel.works()


@pytest.mark.long
async def test_a_peer_that_never_reads_the_good_bye_is_cut(tunnel: Tunnel) -> None:
    made: asyncio.Future[Session] = asyncio.get_running_loop().create_future()

    async def accept(stream: Stream) -> None:
        made.set_result(tunnel.net.session(stream, "client"))
        await made.result().closed()

    address = await tunnel._listen(accept)
    before = descriptors()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", address.port))
        window = b"\0\0\4\x08\0\0\0\0\0\x3f\0\0\0"
        sock.sendall(b"\0\0\6\4\0\0\0\0\0\0\4\x3f\xff\xff\xff" + window)
        session = await made
        stream = session.open(CONNECT)
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.2):
                    await stream.write(CHUNK)
        session.close("nobody reads this")
        await until(lambda: descriptors() <= before + 1, "its socket is closed", within=20)


@pytest.mark.long
async def test_a_tls_peer_that_talks_on_after_the_end_is_cut(tmp_path: Path) -> None:
    net, parties = NativeNetwork(), Parties.create()

    async def accept(stream: Stream) -> None:
        stream.end()
        await stream.ended()

    listener = await net.listen(ANYWHERE, accept, parties.hub)
    pem = tmp_path / "pair.pem"
    pem.write_text(parties.alice.certificate + parties.alice.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=parties.alice.ca)
    context.load_cert_chain(pem)
    raw = socket.create_connection(("127.0.0.1", listener.address.port))
    with await asyncio.to_thread(context.wrap_socket, raw) as secured:
        before = descriptors()
        secured.setblocking(False)

        def is_gone() -> bool:
            try:
                secured.send(b"and another thing")
            except ssl.SSLWantWriteError:
                return False
            except OSError:
                return True
            return False

        await until(is_gone, "the peer that never ends is cut", within=20)
        await until(lambda: descriptors() < before, "its socket is closed")
    await listener.close()


async def test_garbage_and_half_handshakes_cost_their_connection_only() -> None:
    net, parties, chance = NativeNetwork(), Parties.create(), random.Random(3)
    greeted: list[Stream] = []

    async def accept(stream: Stream) -> None:
        greeted.append(stream)
        await stream.ended()

    listener = await net.listen(ANYWHERE, accept, parties.hub, handshakes=64)
    await shake(net, listener, parties)
    before = descriptors()
    with contextlib.ExitStack() as stack:
        for number in range(200):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", listener.address.port)))
            hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" if number % 2 else b""
            with contextlib.suppress(OSError):
                sock.sendall(hello + chance.randbytes(chance.randrange(2000)))
            if number % 3 == 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CRASH)
                sock.close()
    await until(lambda: descriptors() <= before, "all sockets are closed")
    await shake(net, listener, parties)
    await until(lambda: len(greeted) == 2, "who is in order is let in, and nobody else")
    await listener.close()


async def shake(net: NativeNetwork, listener: Listener, parties: Parties) -> None:
    """Connect in order, and leave."""
    stream = await net.dial(listener.address, parties.alice)
    stream.end()
    await stream.ended()
