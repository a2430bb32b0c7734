"""A UDP socket of the native plane, which hands each datagram to a call-back."""

import socket
from typing import Any

from ztm_native import Datagrams as Handle

from ztm.model import Address
from ztm.net.base import Received
from ztm.net.native.plane import Plane


class NativeDatagrams:
    """See `net.base.Datagrams`. It owns the socket, which is bound or connected already."""

    def __init__(self, plane: Plane, opened: socket.socket, received: Received, *, is_connected: bool) -> None:
        self._plane = plane
        self._received = received
        self._handle: Handle = plane.core.datagrams(opened.detach(), is_connected)
        self._address = Address(*self._handle.address)
        plane.waiting[self._handle.token] = self
        plane.schedule()

    @property
    def address(self) -> Address:
        """See `net.base.Datagrams`."""
        return self._address

    def happened(self, _kind: int, detail: Any) -> None:
        """A datagram came."""
        data, host, port = detail
        self._received(data, Address(host, port))

    def give_up(self) -> None:
        """See `plane.Waiting`."""
        self._handle.close()

    def send(self, data: bytes, to: Address | None = None) -> None:
        """See `net.base.Datagrams`."""
        if to is None:
            self._handle.send(bytes(data))
        else:
            self._handle.send(bytes(data), to.host, to.port)
        self._plane.schedule()

    def close(self) -> None:
        """See `net.base.Datagrams`."""
        if self._plane.waiting.pop(self._handle.token, None) is not None:
            self._handle.close()
            self._plane.schedule()
