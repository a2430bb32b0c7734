"""A UDP socket that hands each datagram to a call-back."""

import asyncio
import socket
from typing import cast

from ztm.model import Address
from ztm.net.base import Received
from ztm.net.routes import Routes


class UdpSocket(asyncio.DatagramProtocol):
    """See `net.base.Datagrams`."""

    def __init__(self, received: Received) -> None:
        self.routes = Routes(received)
        self._transport: asyncio.DatagramTransport | None = None
        self._full = False

    @property
    def address(self) -> Address:
        """See `net.base.Datagrams`."""
        name = self._transport.get_extra_info("sockname") if self._transport else ("", 0)
        return Address(name[0], name[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A datagram came."""
        self.routes.received(data, Address(addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error came back; UDP promises nothing, so it is not one for us either."""

    def send(self, data: bytes, to: Address | None = None) -> None:
        """See `net.base.Datagrams`."""
        if self._transport is not None and not self._full and not self._transport.is_closing():
            self._transport.sendto(data, (to.host, to.port) if to else None)

    def pause_writing(self) -> None:
        """The kernel takes no more: drop what comes now, as a full network queue would."""
        self._full = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._full = False

    def close(self) -> None:
        """See `net.base.Datagrams`."""
        if self._transport is not None:
            self._transport.close()


async def bound(address: Address) -> socket.socket:
    """A UDP socket that listens; bound here, as uvloop would not say why it cannot be.

    Raises:
        OSError: the address cannot be bound.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, where = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        made.bind(where)
    except OSError:
        made.close()
        raise
    return made


async def connected(address: Address) -> socket.socket:
    """A UDP socket that sends to one address and hears from nobody else.

    Raises:
        OSError: the name does not resolve, or nothing leads there.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    last: OSError = OSError("the name has no addresses")
    for family, kind, protocol, _, where in found:
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            made.connect(where)
        except OSError as error:
            made.close()
            last = error
        else:
            return made
    raise last
