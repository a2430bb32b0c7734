"""A UDP socket of the native plane, which hands each datagram of a sender without a session to a call-back."""

import socket
from typing import Any

from ztm_native import Datagrams as Handle

from ztm.model import Address
from ztm.net.base import Received
from ztm.net.native.plane import Plane
from ztm.net.routes import Routes


class NativeDatagrams:
    """See `net.base.Datagrams`. It owns the socket, which is bound or connected already."""

    def __init__(self, plane: Plane, opened: socket.socket, received: Received, *, is_connected: bool) -> None:
        self._plane = plane
        self.routes = Routes(received)
        """Of sessions that are carried in Python; the core has those of its own."""
        self.handle: Handle = plane.core.datagrams(opened.detach(), is_connected)
        self._address = Address(*self.handle.address)
        plane.waiting[self.handle.token] = self
        plane.schedule()

    @property
    def address(self) -> Address:
        """See `net.base.Datagrams`."""
        return self._address

    def happened(self, _kind: int, detail: Any) -> None:
        """A datagram came."""
        data, host, port = detail
        self.routes.received(data, Address(host, port))

    def give_up(self) -> None:
        """See `plane.Waiting`."""
        self.handle.close()

    def send(self, data: bytes, to: Address | None = None) -> None:
        """See `net.base.Datagrams`."""
        if to is None:
            self.handle.send(bytes(data))
        else:
            self.handle.send(bytes(data), to.host, to.port)
        self._plane.schedule()

    def close(self) -> None:
        """See `net.base.Datagrams`."""
        if self._plane.waiting.pop(self.handle.token, None) is not None:
            self.handle.close()
            self._plane.schedule()
