"""One end of a simulated TCP connection, plain or with (simulated) TLS.

It holds what a socket holds and no more: `Link.buffer` bytes each way. There is no encryption; that the certificates
were checked is the network's business.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from ztm.errors import BrokenStreamError
from ztm.model import Address, Identity
from ztm.net.flow import FlowStream
from ztm.testing.link import SEGMENT, Link, Wire

CLOSED = "the connection was closed"
RESET = "the connection was lost: Connection reset by peer"


class SimStream(FlowStream):
    """See `net.base.Stream`. With TLS, `end` closes both ways once all is sent, as on real sockets."""

    __slots__ = (
        "_backlog",
        "_identity",
        "_is_own",
        "_is_tls",
        "_local",
        "_remote",
        "_uncredited",
        "_window",
        "_wire",
        "gone",
        "guard",
        "partner",
    )

    def __init__(self, wire: Wire, local: Address, remote: Address) -> None:
        super().__init__()
        self._wire = wire
        self._local = local
        self._remote = remote
        self.partner = self
        """The other end; its wire leads here."""
        self.gone: Callable[[SimStream], None] | None = None
        """Told when the stream is over."""
        self.guard: Callable[[SimStream], None] | None = None
        """Told of the first byte instead of the reader, as long as it is set."""
        self._backlog: deque[bytes] = deque()
        """Bytes that wait for room at the other end."""
        self._window = wire.link.buffer
        """Bytes that the other end has room for."""
        self._uncredited = 0
        self._identity: Identity | None = None
        self._is_tls = False
        self._is_own = False

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

    # ------------------------------------------------------------------ for the network

    def secure(self, identity: Identity, *, is_own: bool) -> None:
        """TLS stands, and the peer has shown that it is `identity`."""
        self._is_tls = True
        self._identity = identity
        self._is_own = is_own

    @property
    def link(self) -> Link:
        """The link that this connection runs over."""
        return self._wire.link

    async def round_trip(self) -> None:
        """Wait until the other end could have heard and answered.

        Raises:
            BrokenStreamError: the connection was cut meanwhile.
        """
        for wire in (self._wire, self.partner._wire):
            crossing = asyncio.ensure_future(wire.cross())
            ending = asyncio.ensure_future(self.ended())
            try:
                await asyncio.wait((crossing, ending), return_when=asyncio.FIRST_COMPLETED)
            finally:
                crossing.cancel()
                ending.cancel()
        if self._reason is not None:
            raise BrokenStreamError(self._reason)

    def tell(self, hear: "Callable[[SimStream], None]") -> None:
        """Let `hear` be called with the other end, after all that was sent has arrived there."""
        self._wire.send(0, lambda: hear(self.partner))

    def cut(self, reason: str) -> None:
        """Break this end alone, at once."""
        self.broken(reason)
        self._backlog.clear()
        self._wire.close()

    # ------------------------------------------------------------------ from the wire

    def receive(self, data: bytes) -> None:
        """Bytes came."""
        if self.guard is not None:
            self.guard(self)
        elif not self._ended:
            self.arrived(data)

    def receive_end(self) -> None:
        """The peer has ended its side."""
        if self._ended:
            return
        self.finished()
        if self._is_tls:
            self._close_wire()
            self.broken(CLOSED)

    def receive_reset(self, reason: str) -> None:
        """The peer has cut the connection."""
        self.cut(reason)

    def receive_credit(self, size: int) -> None:
        """The other end has room again."""
        self._window += size
        freed = 0
        while self._backlog and self._window:
            data = self._backlog.popleft()
            sent = self._carry(data)
            freed += sent
            if sent < len(data):
                self._backlog.appendleft(data[sent:])
        if not self._backlog and self._sent_end:
            self._close_way()
        if freed:
            self.was_taken(freed)

    # ------------------------------------------------------------------ for FlowStream

    def _transmit(self, data: bytes) -> int:
        sent = 0 if self._backlog else self._carry(data)
        self._backlog.extend(data[at : at + SEGMENT] for at in range(sent, len(data), SEGMENT))
        return sent

    def _carry(self, data: bytes) -> int:
        size = min(len(data), self._window)
        self._window -= size
        for at in range(0, size, SEGMENT):
            part = bytes(data[at : min(at + SEGMENT, size)])
            self._wire.send(len(part), lambda part=part: self.partner.receive(part))  # type: ignore[misc]
        return size

    def _credit(self, size: int) -> None:
        self._uncredited += size
        if self._uncredited * 4 >= self._wire.link.buffer:
            given, self._uncredited = self._uncredited, 0
            self._wire.send(0, lambda: self.partner.receive_credit(given))

    def _end(self) -> None:
        if not self._backlog:
            self._close_way()

    def _close_way(self) -> None:
        self._wire.send(0, self.partner.receive_end)

    def _abort(self, reason: str) -> None:  # noqa: ARG002
        self._backlog.clear()
        self._close_wire()

    def _settle(self) -> None:
        super()._settle()
        if self.gone is not None:
            self.gone(self)

    def _close_wire(self) -> None:
        """After what is under way the other end finds the connection closed."""
        text = CLOSED if self._is_tls else RESET
        self._wire.send(0, lambda: self.partner.receive_reset(text))


def pair(there: Wire, back: Wire, near: Address, far: Address) -> tuple[SimStream, SimStream]:
    """Both ends of a new connection; `there` leads from the first to the second."""
    a, b = SimStream(there, near, far), SimStream(back, far, near)
    a.partner, b.partner = b, a
    return a, b
