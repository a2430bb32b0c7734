"""A listening port of the native plane: connections come with their TLS handshake done, and get a task each."""

import logging
import socket
from collections.abc import Callable
from typing import Any

from ztm_native import UNACCEPTED, TlsContext
from ztm_native import Listener as Handle

from ztm.errors import CertificateError
from ztm.model import Address, Identity
from ztm.net.base import Accept, TlsConfig
from ztm.net.listener import HANDSHAKE, Acceptor, check_peer
from ztm.net.native.connection import NativeConnection
from ztm.net.native.plane import Plane

log = logging.getLogger("ztm.net")

Contexts = Callable[[TlsConfig], TlsContext]
"""Makes the server's context of a configuration, or finds the one made before."""


class NativePort(Acceptor):
    """See `net.base.Listener`. It owns the sockets, which listen already."""

    def __init__(
        self,
        plane: Plane,
        sockets: list[socket.socket],
        accept: Accept,
        tls: TlsConfig | None,
        contexts: Contexts,
        handshakes: int,
    ) -> None:
        super().__init__(accept)
        context = contexts(tls) if tls is not None else None
        self._plane = plane
        self._contexts = contexts
        self._admit: Callable[[Identity], str | None] | None = tls.admit if tls is not None else None
        self._name = sockets[0].getsockname()
        self._handle: Handle = plane.core.listen([each.detach() for each in sockets], context, handshakes, HANDSHAKE)
        plane.waiting[self._handle.token] = self
        plane.schedule()

    @property
    def address(self) -> Address:
        """See `net.base.Listener`."""
        return Address(self._name[0], self._name[1])

    def happened(self, kind: int, detail: Any) -> None:
        """A connection was accepted, or cannot be."""
        if kind == UNACCEPTED:  # out of descriptors, most of the time
            log.warning("cannot accept connections on %s: %s; trying again", self.address, detail)
            return
        stream = NativeConnection(self._plane, detail)
        if self._admit is not None:
            try:
                check_peer(stream, self._admit)
            except CertificateError as error:
                log.info("refused: %s", error)
                return
        self.start(stream)

    def give_up(self) -> None:
        """See `plane.Waiting`."""
        self._handle.close()

    def renew(self, tls: TlsConfig) -> None:
        """See `net.base.Listener`; a plain port has nothing to renew."""
        if self._admit is not None:
            self._handle.renew(self._contexts(tls))

    async def close(self) -> None:
        """See `net.base.Listener`."""
        self.give_up()
        self._plane.take()  # those who were accepted before
        self._plane.waiting.pop(self._handle.token, None)
        self._plane.schedule()
