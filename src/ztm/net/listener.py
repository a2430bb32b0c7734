"""Listening TCP ports, plain and with TLS: every accepted connection gets a task of its own.

It decides only what costs nothing: too many handshakes at once, or one too slow, are cut.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, cast

from ztm.errors import CertificateError, UnreachableError, ZtmError
from ztm.model import Address, Identity
from ztm.net.base import Accept, TlsConfig
from ztm.net.flow import FlowStream
from ztm.net.tcp import TcpStream
from ztm.net.tls import context

log = logging.getLogger("ztm.net")

HANDSHAKE = 10.0
"""Seconds that an incoming TLS handshake may take."""
BACKLOG = 4096
"""Connections that the kernel keeps ready: a burst must not wait for SYN retransmission."""
BREATH = 0.1
"""Seconds to wait when the process is out of file descriptors."""


def check_peer(stream: FlowStream, admit: Callable[[Identity], str | None]) -> None:
    """Cut `stream` unless its verified certificate is admitted.

    Raises:
        CertificateError: it is not.
    """
    refusal = "its certificate names nobody" if stream.identity is None else admit(stream.identity)
    if refusal is not None:
        stream.abort(refusal)
        raise CertificateError(f"{stream.remote} was refused: {refusal}")


class Acceptor:
    """The tasks of accepted connections."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, stream: FlowStream) -> None:
        """Give an accepted stream a task."""
        self._own_task(self.own(stream))

    def _own_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancel all of them."""
        for task in list(self._tasks):
            task.cancel()

    async def own(self, stream: FlowStream) -> None:
        """Run the handler; whatever it does, the stream is over afterwards."""
        try:
            await self._accept(stream)
            stream.end()
        except asyncio.CancelledError:
            stream.abort("cancelled")
            raise
        except ZtmError as error:
            log.debug("connection from %s: %s", stream.remote, error)
            stream.abort(str(error))
        except Exception:
            log.exception("the handler of a connection failed")
            stream.abort("the handler failed")


class Port(Acceptor):
    """A listening port and the connections it has accepted; see `net.base.Listener`."""

    def __init__(self, accept: Accept, sockets: list[socket.socket], live: set[TcpStream]) -> None:
        super().__init__(accept)
        self.live = live
        """Holds its connections, as long as their sockets are open."""
        self._sockets = sockets
        self._name = sockets[0].getsockname()

    @property
    def address(self) -> Address:
        """See `net.base.Listener`."""
        return Address(self._name[0], self._name[1])

    def renew(self, tls: TlsConfig) -> None:
        """See `net.base.Listener`; a plain port has nothing to renew."""

    async def close(self) -> None:
        """See `net.base.Listener`."""
        for sock in self._sockets:
            sock.close()


class _PlainPort(Port):
    server: asyncio.Server | None = None

    async def close(self) -> None:
        """See `net.base.Listener`."""
        if self.server is not None:
            self.server.close()
            await asyncio.sleep(0)


class _Accepted(TcpStream):
    __slots__ = ("_port",)

    def __init__(self, port: Port) -> None:
        super().__init__(port.live)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection was accepted."""
        super().connection_made(transport)
        self._port.start(self)


async def listen_plain(address: Address, accept: Accept, live: set[TcpStream]) -> Port:
    """Listen without TLS; `live` holds the connections.

    Raises:
        OSError: the address cannot be bound.
    """
    sockets = await bind(address)
    port = _PlainPort(accept, sockets, live)
    loop = asyncio.get_running_loop()
    # One server takes them all: the event loop's own accept is the fastest way for short connections.
    servers = [await loop.create_server(lambda: _Accepted(port), sock=sock, backlog=BACKLOG) for sock in sockets]
    port.server = servers[0] if len(servers) == 1 else _Servers(servers)  # type: ignore[assignment]
    return port


class _Servers:
    def __init__(self, servers: list[asyncio.Server]) -> None:
        self._servers = servers

    def close(self) -> None:
        for server in self._servers:
            server.close()


class _TlsPort(Port):
    def __init__(
        self,
        accept: Accept,
        sockets: list[socket.socket],
        secured: ssl.SSLContext,
        admit: Callable[[Identity], str | None],
        handshakes: int,
        live: set[TcpStream],
    ) -> None:
        super().__init__(accept, sockets, live)
        self._secured = secured
        self._admit = admit
        self._room = handshakes
        loop = asyncio.get_running_loop()
        self._loops = [loop.create_task(self._accept_all(sock)) for sock in sockets]

    def renew(self, tls: TlsConfig) -> None:
        """See `net.base.Listener`."""
        self._secured = context(tls, server=True)

    async def _accept_all(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:  # out of descriptors, or the client is gone again
                log.warning("cannot accept a connection: %s", error.strerror)
                await asyncio.sleep(BREATH)
                continue
            if self._room <= 0:
                sock.close()
                continue
            self._room -= 1
            self._own_task(self._secure(sock))

    async def _secure(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        stream = TcpStream(self.live)
        try:
            await loop.connect_accepted_socket(
                lambda: stream, sock, ssl=self._secured, ssl_handshake_timeout=HANDSHAKE, ssl_shutdown_timeout=2.0
            )
        except (OSError, ssl.SSLError) as error:
            log.debug("a TLS handshake failed: %s", error)
            return
        finally:
            self._room += 1
        try:
            check_peer(stream, self._admit)
        except CertificateError as error:
            log.info("refused: %s", error)
            return
        await self.own(stream)

    async def close(self) -> None:
        """See `net.base.Listener`."""
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await super().close()


async def listen_tls(
    address: Address,
    accept: Accept,
    secured: ssl.SSLContext,
    admit: Callable[[Identity], str | None],
    handshakes: int,
    live: set[TcpStream],
) -> Port:
    """Listen with mutual TLS; `live` holds the connections.

    Raises:
        OSError: the address cannot be bound.
    """
    return _TlsPort(accept, await bind(address), secured, admit, handshakes, live)


async def bind(address: Address) -> list[socket.socket]:
    """Sockets that listen, one for each address that the host of `address` leads to, all on the same port.

    Raises:
        OSError: one cannot be bound; none is open then.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            port = cast("tuple[str, int]", sockets[0].getsockname())[1] if len(sockets) > 1 else where[1]
            sock.bind((where[0], port, *where[2:]))
            sock.listen(BACKLOG)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise UnreachableError(f"no address to listen on: {address}")
    return sockets
