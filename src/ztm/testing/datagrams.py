"""A UDP socket of a simulated host.

It promises as little as UDP: what is sent while the link is cut, or is too large, is gone.
"""

from typing import TYPE_CHECKING

from ztm.model import Address
from ztm.net.base import Received
from ztm.net.routes import Routes

if TYPE_CHECKING:
    from ztm.testing.network import SimNetwork

MAX_DATAGRAM = 65507
"""Bytes that fit into one UDP datagram over IPv4."""


class SimDatagrams:
    """See `net.base.Datagrams`."""

    def __init__(self, host: "SimNetwork", address: Address, peer: Address | None, received: Received) -> None:
        self._host = host
        self._address = address
        self._peer = peer
        self.routes = Routes(received)
        self._is_closed = False

    @property
    def address(self) -> Address:
        """See `net.base.Datagrams`."""
        return self._address

    def send(self, data: bytes, to: Address | None = None) -> None:
        """See `net.base.Datagrams`."""
        to = to or self._peer
        if to is not None and not self._is_closed and len(data) <= MAX_DATAGRAM:
            self._host.carry_datagram(bytes(data), self._address, to)

    def receive(self, data: bytes, source: Address) -> None:
        """A datagram came; a dialled socket takes only its peer's."""
        if self._peer in (None, source):
            self.routes.received(data, source)

    def close(self) -> None:
        """See `net.base.Datagrams`."""
        self._is_closed = True
        self._host.close_datagrams(self._address)
