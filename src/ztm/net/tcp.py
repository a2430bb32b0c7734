"""A TCP connection, with or without TLS, as a stream; driven by the event loop's call-backs."""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from typing import cast

from ztm.errors import CertificateError
from ztm.model import Address, Identity
from ztm.net.flow import FlowStream
from ztm.net.tls import OWN_ALPN
from ztm.pki import identity_of

HIGH = 256 << 10
"""Received bytes waiting for their consumer, after which the socket is not read."""
LOW = 64 << 10
WRITE_HIGH = 256 << 10
"""Bytes in the transport's own buffer after which a writer waits."""
UNSENT = 256 << 10
"""Bytes in the kernel that have not left yet; more would only make urgent frames late (TCP_NOTSENT_LOWAT)."""
LOOK_EVERY = 2.0
"""Seconds between two looks at whether a socket that is not read was reset by its peer."""


class TcpStream(FlowStream, asyncio.Protocol):
    """A connected socket. Plain TCP half-closes; with TLS `end` closes both ways once all is sent."""

    __slots__ = (
        "_identity",
        "_is_own",
        "_is_tls",
        "_live",
        "_local",
        "_look",
        "_paused",
        "_remote",
        "_stuffed",
        "_transport",
        "_waiting",
    )

    def __init__(self, live: "set[TcpStream] | None" = None) -> None:
        super().__init__()
        self._live = live
        """Holds this stream for as long as its socket is open."""
        self._transport: asyncio.Transport | None = None
        self._identity: Identity | None = None
        self._is_tls = False
        self._is_own = False
        self._paused = False
        """The socket is not read."""
        self._look: asyncio.TimerHandle | None = None
        """When it is next asked whether its peer is still there."""
        self._stuffed = False
        """The transport's buffer is full."""
        self._waiting = 0
        """Received bytes whose consumer has not taken them."""
        self._remote: Address | None = None
        self._local: Address | None = None

    # ------------------------------------------------------------------ facts

    @property
    def identity(self) -> Identity | None:
        """See `net.base.Stream`."""
        return self._identity

    @property
    def remote(self) -> Address | None:
        """See `net.base.Stream`."""
        return self._remote

    @property
    def local(self) -> Address | None:
        """See `net.base.Stream`."""
        return self._local

    @property
    def is_own(self) -> bool:
        """See `net.base.Stream`."""
        return self._is_own

    @property
    def is_leaving(self) -> bool:
        """Whether it was ended in order, and bytes wait that the kernel has not taken yet."""
        transport = self._transport
        return transport is not None and transport.is_closing() and transport.get_write_buffer_size() > 0

    # ------------------------------------------------------------------ from the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands (with TLS: after the handshake)."""
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        if self._live is not None:
            self._live.add(self)
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_HIGH // 4)
        self._remote = _address(transport.get_extra_info("peername"))
        self._local = _address(transport.get_extra_info("sockname"))
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._read_certificate(tls)
        if (sock := transport.get_extra_info("socket")) is not None:
            _tune(sock)

    def _read_certificate(self, tls: ssl.SSLObject) -> None:
        self._is_tls = True
        self._is_own = tls.selected_alpn_protocol() == OWN_ALPN
        certificate = tls.getpeercert(binary_form=True)
        if certificate is not None:
            with contextlib.suppress(CertificateError):  # then it names nobody, and nobody is refused everywhere
                self._identity = identity_of(certificate)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._waiting += len(data)
        self.arrived(data)
        if self._waiting > HIGH and not self._paused and not self._ended and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            if self._look is None and not self._is_tls:
                self._look_later()

    def _look_later(self) -> None:
        self._look = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look_for_reset)

    def _look_for_reset(self) -> None:
        """A socket that is not read tells of a reset only when it is asked; a silent end would be held for ever."""
        self._look = None
        sock = self._transport.get_extra_info("socket") if self._transport is not None and self._paused else None
        if sock is None:
            return
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.broken(f"the connection was lost: {os.strerror(error)}")
        else:
            self._look_later()

    def eof_received(self) -> bool:
        """The peer closed its side; plain TCP stays open the other way."""
        self.finished()
        return not self._is_tls

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        if self._live is not None:
            self._live.discard(self)
        if self._finished and self._sent_end:
            self._check_over()
        else:
            self.broken(_reason(error))
        self._transport = None

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._stuffed = True

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self._stuffed = False
        if self._owed:
            self.was_taken(self._owed)

    # ------------------------------------------------------------------ for FlowStream

    def _transmit(self, data: bytes) -> int:
        if self._transport is None:
            return len(data)
        self._transport.write(data)
        return 0 if self._stuffed else len(data)

    def _credit(self, size: int) -> None:
        self._waiting -= size
        if self._paused and self._waiting <= LOW and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _end(self) -> None:
        if self._transport is None:
            return
        if self._is_tls or self._finished:
            self._transport.close()
        elif self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError as error:  # the peer has reset it, and nobody has read the socket since
                self.abort(_reason(error))

    def _abort(self, reason: str) -> None:  # noqa: ARG002
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and not self._is_tls:
            # Linger of zero seconds: the peer sees a reset, not an end of file that looks like success.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _settle(self) -> None:
        super()._settle()
        if self._transport is not None:
            self._transport.close()


def _tune(sock: socket.socket) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


def _address(name: object) -> Address | None:
    return Address(str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 and name[1] else None


def _reason(error: Exception | None) -> str:
    if error is None:
        return "the connection was closed"
    return f"the connection was lost: {getattr(error, 'strerror', None) or error or type(error).__name__}"
