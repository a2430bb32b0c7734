"""The network on the native data plane; what is rare, Unix sockets and names, stays with asyncio.

It decides nothing: who may connect is said by the certificates and by its callers.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Literal

from ztm_native import TlsContext

from ztm.errors import CertificateError, ConflictError, UnreachableError
from ztm.model import Address
from ztm.net.aio import FLUSH, LOOK_AGAIN, AioNetwork
from ztm.net.base import (
    Accept,
    Answer,
    DatagramLimits,
    Datagrams,
    Listener,
    Meter,
    Piping,
    Received,
    Relaying,
    Session,
    SessionLimits,
    Stream,
    TlsConfig,
)
from ztm.net.listener import bind, check_peer
from ztm.net.native.datagrams import NativeDatagrams
from ztm.net.native.dialling import Dialler
from ztm.net.native.joining import NativePipe
from ztm.net.native.plane import forget, plane
from ztm.net.native.port import NativePort
from ztm.net.native.relaying import NativeRelaying
from ztm.net.native.session import NativeSession
from ztm.net.native.stream import NativeStream
from ztm.net.proxy import Proxy
from ztm.net.reasons import why
from ztm.net.udp import bound, connected


class NativeNetwork(AioNetwork):
    """See `net.base.Network`. One per process; it holds the TLS contexts made so far.

    Streams of asyncio, such as those of Unix sockets, can be joined with native ones, and carry sessions, in Python.
    """

    kind = "native"

    def __init__(self, proxy: Proxy | None = None) -> None:
        super().__init__(proxy)
        self._made: dict[tuple[str, str, str, bool], TlsContext] = {}

    # ------------------------------------------------------------------ connections

    async def dial(self, address: Address, tls: TlsConfig | None = None, *, timeout: float = 10.0) -> Stream:
        """See `net.base.Network`."""
        if tls is None:
            return await Dialler(plane(), address, None, None, timeout).connect()
        stream = await Dialler(plane(), address, self._context_of(tls, server=False), self._proxy, timeout).connect()
        check_peer(stream, tls.admit)
        return stream

    async def adopt(self, opened: socket.socket) -> Stream:
        """See `AioNetwork`."""
        if opened.family not in (socket.AF_INET, socket.AF_INET6):
            return await super().adopt(opened)
        where = opened.getpeername()
        return await Dialler(plane(), Address(where[0], where[1]), None, None, FLUSH).adopt(opened)

    async def listen(
        self, address: Address, accept: Accept, tls: TlsConfig | None = None, *, handshakes: int = 256
    ) -> Listener:
        """See `net.base.Network`."""
        if tls is not None:
            self._server(tls)  # before a port is taken
        try:
            sockets = await bind(address)
        except (OSError, UnicodeError) as error:
            raise ConflictError(f"cannot listen on {address}: {why(error)}") from error
        return NativePort(plane(), sockets, accept, tls, self._server, handshakes)

    def check_tls(self, tls: TlsConfig) -> None:
        """See `AioNetwork`."""
        self._server(tls)

    def _server(self, tls: TlsConfig) -> TlsContext:
        return self._context_of(tls, server=True)

    def _context_of(self, tls: TlsConfig, *, server: bool) -> TlsContext:
        """The context of `tls`.

        Raises:
            CertificateError: the CA, certificate or key is malformed, they do not match, or a group is unknown.
        """
        key = (tls.ca, tls.certificate, tls.groups, server)
        if key not in self._made:
            if len(self._made) > 64:  # renewals leave old ones behind
                self._made.clear()
            try:
                self._made[key] = TlsContext(tls.ca, tls.certificate, tls.key, server=server, groups=tls.groups)
            except ValueError as error:
                raise CertificateError(f"the mesh's CA, certificate or key is not usable: {error}") from error
        return self._made[key]

    # ------------------------------------------------------------------ sessions and splices

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
        if not isinstance(stream, NativeStream) or not stream.is_free:
            return super().session(stream, role, answer=answer, limits=limits, own=own)
        limits = limits or SessionLimits()
        handle = stream.plane.core.session(
            stream.handle,
            server=role == "server",
            answers=answer is not None,
            own=own,
            streams=limits.streams,
            held=limits.held,
            header_bytes=limits.header_bytes,
            resets=limits.resets,
            controls=limits.controls,
        )
        return NativeSession(stream, handle, answer, own)

    def pipe(self, source: Stream, sink: Stream, meter: Meter | None = None) -> Piping:
        """See `net.base.Network`."""
        if isinstance(source, NativeStream) and isinstance(sink, NativeStream) and source.is_free and sink.is_free:
            return NativePipe(source, sink, meter)
        return super().pipe(source, sink, meter)

    # ------------------------------------------------------------------ datagrams

    async def listen_datagrams(self, address: Address, received: Received) -> Datagrams:
        """See `net.base.Network`."""
        try:
            opened = await bound(address)
        except (OSError, UnicodeError) as error:
            raise ConflictError(f"cannot listen on {address} (udp): {why(error)}") from error
        return NativeDatagrams(plane(), opened, received, is_connected=False)

    async def dial_datagrams(self, address: Address, received: Received) -> Datagrams:
        """See `net.base.Network`."""
        try:
            opened = await connected(address)
        except (OSError, UnicodeError) as error:
            raise UnreachableError(f"cannot send to {address} (udp): {why(error)}") from error
        return NativeDatagrams(plane(), opened, received, is_connected=True)

    def relay(
        self,
        socket: Datagrams,
        peer: Address | None,
        stream: Stream,
        limits: DatagramLimits,
        early: Sequence[bytes] = (),
    ) -> Relaying:
        """See `net.base.Network`."""
        if isinstance(socket, NativeDatagrams) and isinstance(stream, NativeStream) and stream.is_free:
            return NativeRelaying(stream.plane, socket, peer, stream, limits, early)
        return super().relay(socket, peer, stream, limits, early)

    # ------------------------------------------------------------------ the end

    async def flushed(self, seconds: float = FLUSH) -> None:
        """Wait until the kernel has all that was sent on connections that were ended in order, for `seconds` at most.

        The plane of this event loop is closed by that, and whatever else it carries.
        """
        ending = plane()
        ending.core.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await super().flushed(seconds)
                while any(isinstance(each, NativeStream) and each.is_leaving for each in ending.waiting.values()):
                    await asyncio.sleep(LOOK_AGAIN)
        forget(ending)
        ending.core.close()
