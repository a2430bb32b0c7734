"""The seam between the proxy's two halves: a client's wish on one side, an exit that grants it on the other.

Whoever speaks with clients knows no exits; whoever knows exits speaks no SOCKS and no HTTP.
"""

from typing import NamedTuple, Protocol

from ztm.apps.streams.reach import Early
from ztm.net.base import Stream


class Passage(NamedTuple):
    """A stream to a destination that an exit has accepted."""

    stream: Stream
    """Behind it is the destination's own stream of bytes, or frames of datagrams; whoever has it must end it."""
    exit: str
    """The endpoint id of the exit."""


class Way(Protocol):
    """Finds an exit for a destination. `host` is a domain name, or an IP address without brackets."""

    async def open(self, host: str, port: int, early: Early) -> Passage:
        """A stream to ``host:port`` from the best exit that accepts; all that `early` has read was sent on.

        Cancelling it cuts what was begun.

        Raises:
            ForbiddenError: an exit serves the destination, and its rules deny it to this user.
            NotFoundError: no exit serves it, or its name does not resolve there.
            RefusedError: the destination refused.
            DeadlineError: neither did it answer.
            UnreachableError: no exit that serves it can be reached now.
            BrokenStreamError: what `early` reads from broke off; it is what that raised.
        """

    async def open_datagrams(self, host: str, port: int) -> Passage:
        """The same for datagrams: frames of `ztm.wire.datagram` both ways."""
