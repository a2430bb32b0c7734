"""UDP sessions between any socket and any stream of this package, carried in Python."""

from collections.abc import Callable, Iterable

from ztm.model import Address
from ztm.net.base import DatagramLimits, Datagrams, Stream
from ztm.net.flow import Tally
from ztm.net.relay import Relay
from ztm.net.routes import Routes


class FlowRelaying:
    """See `net.base.Relaying`; `now` is the network's monotonic clock. It carries while `ended` is awaited."""

    def __init__(
        self,
        socket: Datagrams,
        peer: Address | None,
        stream: Stream,
        limits: DatagramLimits,
        early: Iterable[bytes],
        now: Callable[[], float],
    ) -> None:
        self.taken, self.given = Tally(), Tally()
        self._socket = socket
        self._peer = peer
        self._stream = stream
        self._now = now
        self._heard = now()
        self._relay = Relay(self._emit, now, limits)
        for datagram in early:
            self._relay.offer(datagram)
        self._routes = routes_of(socket)
        self._routes.lead(peer, self._take)

    @property
    def is_over(self) -> bool:
        """See `net.base.Relaying`."""
        return self._relay.is_over

    @property
    def silence(self) -> float:
        """See `net.base.Relaying`."""
        return self._now() - self._heard

    @property
    def ending(self) -> str:
        """See `net.base.Relaying`."""
        return self._relay.ending

    def abort(self, reason: str = "") -> None:
        """See `net.base.Relaying`."""
        self._relay.abort(reason)

    async def ended(self) -> None:
        """See `net.base.Relaying`."""
        try:
            await self._relay.run(self._stream)
        finally:
            self._routes.forget(self._peer, self._take)

    def _take(self, datagram: bytes) -> bool:
        if self._relay.is_over:
            return False
        self._heard = self._now()
        if self._relay.offer(datagram):
            self.taken.bytes += len(datagram)
        return True

    def _emit(self, datagram: bytes) -> None:
        self.given.bytes += len(datagram)
        self._socket.send(datagram, self._peer)


def routes_of(socket: Datagrams) -> Routes:
    """The routes of a socket of this package."""
    routes = getattr(socket, "routes", None)
    if not isinstance(routes, Routes):
        raise TypeError(f"not a socket of this network: {type(socket).__name__}")
    return routes
