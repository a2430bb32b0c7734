"""The portable network: asyncio (uvloop where it runs), `ssl` and `h2`.

It decides nothing: who may connect is said by the certificates and by its callers.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

from ztm.errors import CertificateError, ConflictError, DeadlineError, UnreachableError
from ztm.model import Address
from ztm.net.base import (
    Accept,
    Answer,
    DatagramLimits,
    Datagrams,
    Listener,
    LocalListener,
    Meter,
    Piping,
    Received,
    Relaying,
    Session,
    SessionLimits,
    Stream,
    TlsConfig,
)
from ztm.net.flow import FlowStream, Pipe
from ztm.net.http2.session import Http2Session
from ztm.net.listener import check_peer, listen_plain, listen_tls
from ztm.net.local import LocalSocket
from ztm.net.process import give_back_memory
from ztm.net.proxy import Proxy
from ztm.net.reasons import no_agreement, unverified, why
from ztm.net.relaying import FlowRelaying
from ztm.net.tcp import TcpStream
from ztm.net.tls import context
from ztm.net.udp import UdpSocket, bound

SHUTDOWN = 2.0
"""Seconds that a TLS connection may take to say goodbye."""
FLUSH = 3.0
"""Seconds that a process which is done gives its peers to take what was sent to them."""
LOOK_AGAIN = 0.02
"""Seconds between two looks at whether they have."""


class FlowNetwork:
    """What does not depend on how bytes reach the machine: sessions, splices and relays over `FlowStream`."""

    def now(self) -> float:
        """See `net.base.Network`."""
        raise NotImplementedError

    def session(
        self,
        stream: Stream,
        role: Literal["client", "server"],
        *,
        answer: Answer | None = None,
        limits: SessionLimits | None = None,
        own: bool = False,
    ) -> Session:
        """See `net.base.Network`."""
        return Http2Session(_flow(stream), role, answer, limits or SessionLimits(), own)

    async def splice(self, a: Stream, b: Stream, meter: Meter | None = None) -> None:
        """See `net.base.Network`."""
        await self.pipe(a, b, meter).joined(meter)

    def pipe(self, source: Stream, sink: Stream, meter: Meter | None = None) -> Piping:
        """See `net.base.Network`."""
        return Pipe(_flow(source), _flow(sink), meter)

    def relay(
        self,
        socket: Datagrams,
        peer: Address | None,
        stream: Stream,
        limits: DatagramLimits,
        early: Sequence[bytes] = (),
    ) -> Relaying:
        """See `net.base.Network`."""
        return FlowRelaying(socket, peer, stream, limits, early, self.now)


def _flow(stream: Stream) -> FlowStream:
    if not isinstance(stream, FlowStream):
        raise TypeError(f"not a stream of this network: {type(stream).__name__}")
    return stream


class AioNetwork(FlowNetwork):
    """See `net.base.Network`. One per process; it holds the TLS contexts made so far.

    What is dialled with TLS, which is hubs alone, is dialled through `proxy` if there is one.
    """

    kind = "aio"
    """Which implementation this is, for people."""

    def __init__(self, proxy: Proxy | None = None) -> None:
        self._proxy = proxy
        self._contexts: dict[tuple[str, str, str, bool], ssl.SSLContext] = {}
        self._live: set[TcpStream] = set()
        """Every open TCP connection, but those of Unix sockets."""

    def now(self) -> float:
        """See `net.base.Network`."""
        return time.monotonic()

    def wall(self) -> float:
        """See `net.base.Network`."""
        return time.time()

    async def dial(self, address: Address, tls: TlsConfig | None = None, *, timeout: float = 10.0) -> Stream:
        """See `net.base.Network`."""
        secured = self._context(tls, server=False) if tls is not None else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                if self._proxy is not None and secured is not None:
                    sock = await self._proxy.connect(address, timeout=timeout)
                    stream = await _secured(sock, secured, self._live)
                else:
                    _, stream = await loop.create_connection(
                        lambda: TcpStream(self._live),
                        address.host,
                        address.port,
                        ssl=secured,
                        server_hostname="" if secured else None,
                        ssl_shutdown_timeout=SHUTDOWN if secured else None,
                    )
        except TimeoutError as error:
            through = f" through the proxy {self._proxy}" if self._proxy is not None and tls is not None else ""
            raise DeadlineError(f"no answer from {address}{through} within {timeout:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(f"{address} shows no valid certificate: {unverified(error)}") from error
        except (OSError, ssl.SSLError, UnicodeError) as error:
            raise UnreachableError(f"cannot connect to {address}: {no_agreement(why(error))}") from error
        if tls is not None:
            check_peer(stream, tls.admit)
        return stream

    async def resolve(self, host: str, *, timeout: float = 5.0) -> list[str]:
        """See `net.base.Network`."""
        try:
            async with asyncio.timeout(timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise DeadlineError(f"the name {host} was not resolved within {timeout:g} s") from error
        except (OSError, UnicodeError) as error:
            raise UnreachableError(f"cannot resolve {host}: {why(error)}") from error
        return list(dict.fromkeys(str(where[0]) for *_, where in found))

    async def adopt(self, opened: socket.socket) -> Stream:
        """A socket that is connected already, as a stream, which closes it at its end."""
        return await adopt(opened)

    async def listen(
        self, address: Address, accept: Accept, tls: TlsConfig | None = None, *, handshakes: int = 256
    ) -> Listener:
        """See `net.base.Network`."""
        try:
            if tls is None:
                return await listen_plain(address, accept, self._live)
            secured = self._context(tls, server=True)
            return await listen_tls(address, accept, secured, tls.admit, handshakes, self._live)
        except (OSError, UnicodeError) as error:
            raise ConflictError(f"cannot listen on {address}: {why(error)}") from error

    async def flushed(self, seconds: float = FLUSH) -> None:
        """Wait until the kernel has all that was sent on connections that were ended in order, for `seconds` at most.

        A process that ends without it may take the last bytes of a finished stream with it.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(stream.is_leaving for stream in self._live):
                    await asyncio.sleep(LOOK_AGAIN)

    async def listen_local(self, path: Path, accept: Accept, admit: Callable[[int], bool]) -> LocalListener:
        """See `net.base.Network`."""
        if not hasattr(socket, "AF_UNIX"):
            raise ConflictError(f"cannot listen on {path}: this system has no Unix sockets")
        listener = LocalSocket(path, accept, admit)
        await listener.open()
        return listener

    def check_tls(self, tls: TlsConfig) -> None:
        """Pass if this network can show and use what `tls` says, on either side.

        Raises:
            CertificateError: it cannot; the message says what it lacks.
        """
        self._context(tls, server=True)

    def _context(self, tls: TlsConfig, *, server: bool) -> ssl.SSLContext:
        key = (tls.ca, tls.certificate, tls.groups, server)
        if key not in self._contexts:
            if len(self._contexts) > 64:  # renewals leave old ones behind
                self._contexts.clear()
            self._contexts[key] = context(tls, server=server)
        return self._contexts[key]

    async def listen_datagrams(self, address: Address, received: Received) -> Datagrams:
        """See `net.base.Network`."""
        loop = asyncio.get_running_loop()
        try:
            _, made = await loop.create_datagram_endpoint(lambda: UdpSocket(received), sock=await bound(address))
        except (OSError, UnicodeError) as error:
            raise ConflictError(f"cannot listen on {address} (udp): {why(error)}") from error
        return made

    async def dial_datagrams(self, address: Address, received: Received) -> Datagrams:
        """See `net.base.Network`."""
        loop = asyncio.get_running_loop()
        try:
            _, made = await loop.create_datagram_endpoint(
                lambda: UdpSocket(received), remote_addr=(address.host, address.port)
            )
        except (OSError, UnicodeError) as error:
            raise UnreachableError(f"cannot send to {address} (udp): {why(error)}") from error
        return made


async def adopt(opened: socket.socket) -> Stream:
    """A socket that is connected already, TCP or Unix, as a stream, which closes it at its end."""
    loop = asyncio.get_running_loop()
    if hasattr(socket, "AF_UNIX") and opened.family == socket.AF_UNIX:
        _, stream = await loop.create_unix_connection(TcpStream, sock=opened)
    else:
        _, stream = await loop.create_connection(TcpStream, sock=opened)
    return stream


async def _secured(sock: socket.socket, secured: ssl.SSLContext, live: set[TcpStream]) -> TcpStream:
    """TLS with whoever is at the other end of a connected socket, which is closed if that fails."""
    loop = asyncio.get_running_loop()
    try:
        _, stream = await loop.create_connection(
            lambda: TcpStream(live), sock=sock, ssl=secured, server_hostname="", ssl_shutdown_timeout=SHUTDOWN
        )
    except BaseException:
        sock.close()
        raise
    return stream


def run(main: Awaitable[int]) -> int:
    """Run `main` to its end on the fastest event loop there is."""
    with contextlib.suppress(ImportError):
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_awaited(main))
    with asyncio.Runner() as runner:
        return runner.run(_awaited(main))


async def _awaited(main: Awaitable[int]) -> int:
    upkeep = asyncio.ensure_future(give_back_memory())
    try:
        return await main
    finally:
        upkeep.cancel()
