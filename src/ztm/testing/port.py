"""A listening port of a simulated host, and the server's half of simulated TLS.

Only certificates are judged, by the same rules as real TLS applies; nothing is encrypted.
"""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ztm import pki
from ztm.errors import CertificateError
from ztm.model import Address, Identity
from ztm.net.base import Accept, TlsConfig
from ztm.net.listener import HANDSHAKE, Acceptor, check_peer
from ztm.testing.stream import SimStream

if TYPE_CHECKING:
    from ztm.testing.network import SimNetwork


def check_config(tls: TlsConfig) -> None:
    """Pass if TLS could be made of `tls`.

    Raises:
        CertificateError: the CA, certificate or key is malformed, they do not match, or key exchanges are named,
            of which there are none here.
    """
    if tls.groups:
        raise CertificateError("simulated TLS cannot be told the key exchange")
    pki.check_ca(tls.ca)
    if not pki.key_matches(tls.key, tls.certificate):
        raise CertificateError("the mesh's CA, certificate or key is not usable: the key is not the certificate's")


def judge(shown: TlsConfig, judging: TlsConfig, wall: float, *, server: bool) -> Identity:
    """Whom the side with `judging` sees, when the other side (the server's, if so said) shows its certificate.

    Raises:
        CertificateError: the certificate proves nothing to that side.
    """
    return pki.verify(shown.certificate, judging.ca, datetime.fromtimestamp(wall, UTC), server=server)


class SimPort(Acceptor):
    """See `net.base.Listener`."""

    def __init__(
        self, host: "SimNetwork", address: Address, accept: Accept, tls: TlsConfig | None, handshakes: int
    ) -> None:
        super().__init__(accept)
        self.tls = tls
        self._host = host
        self._address = address
        self._room = handshakes
        self._greeted: dict[SimStream, asyncio.TimerHandle] = {}
        """Connections that have not shown a certificate, and when they are cut."""
        self._is_closed = False

    @property
    def address(self) -> Address:
        """See `net.base.Listener`."""
        return self._address

    @property
    def is_own(self) -> bool:
        """Whether the host is of this implementation."""
        return self._host.own

    def take(self, stream: SimStream) -> None:
        """A connection stands; with TLS it has to show a certificate first."""
        if self._is_closed or (self.tls is not None and len(self._greeted) >= self._room):
            stream.abort()
        elif self.tls is None:
            self.start(stream)
        else:
            timer = asyncio.get_running_loop().call_later(HANDSHAKE, self._refuse, stream)
            self._greeted[stream] = timer
            stream.guard = self._refuse

    def judge(self, stream: SimStream, shown: TlsConfig, *, is_own: bool) -> None:
        """The client has shown its certificate: accept it, or close the connection, as TLS 1.3 servers do."""
        timer = self._greeted.pop(stream, None)
        if timer is None or self.tls is None or stream.is_over:
            return
        timer.cancel()
        stream.guard = None
        try:
            stream.secure(judge(shown, self.tls, self._host.wall(), server=False), is_own=is_own)
            check_peer(stream, self.tls.admit)
        except CertificateError as error:
            stream.abort(str(error))
            return
        self.start(stream)

    def _refuse(self, stream: SimStream) -> None:
        """It spoke without TLS, or too slowly."""
        timer = self._greeted.pop(stream, None)
        if timer is not None:
            timer.cancel()
        stream.abort("no TLS")

    def renew(self, tls: TlsConfig) -> None:
        """See `net.base.Listener`."""
        if self.tls is not None:
            check_config(tls)
            self.tls = replace(tls, admit=self.tls.admit)

    async def close(self) -> None:
        """See `net.base.Listener`."""
        self._is_closed = True
        self._host.unlisten(self._address)

    def kill(self) -> None:
        """The process ended: nothing that it accepted goes on."""
        self._is_closed = True
        self._host.unlisten(self._address)
        for stream in list(self._greeted):
            self._refuse(stream)
        self.cancel()
