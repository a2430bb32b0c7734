"""Who takes the datagrams of one socket in Python: the session of their sender, or else the call-back of the socket."""

from collections.abc import Callable

from ztm.model import Address
from ztm.net.base import Received

Take = Callable[[bytes], bool]
"""Takes a datagram of one sender, or drops it; False once it takes nothing any more."""


class Routes:
    """One socket's; `received` gets what no session takes."""

    __slots__ = ("_by_sender", "_received")

    def __init__(self, received: Received) -> None:
        self._received = received
        self._by_sender: dict[Address | None, Take] = {}

    def received(self, datagram: bytes, sender: Address) -> None:
        """A datagram came."""
        if self._by_sender:
            for known in (sender, None):
                take = self._by_sender.get(known)
                if take is not None and take(datagram):
                    return
        self._received(datagram, sender)

    def lead(self, sender: Address | None, take: Take) -> None:
        """Give what `sender` sends, or for None whoever does, to `take`."""
        self._by_sender[sender] = take

    def forget(self, sender: Address | None, take: Take) -> None:
        """`take` takes nothing any more."""
        if self._by_sender.get(sender) == take:
            del self._by_sender[sender]
