"""Carrying at an exit: a caller that was let in is joined with what was dialled for it, and the books are kept.

It neither decides who may pass nor dials; a session's `Trail` says whose it is and learns how it ended.
"""

from ztm.apps.audit import Trail
from ztm.apps.base import AppContext
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.relay import Relay
from ztm.apps.streams.traffic import Accept, Traffic, Visit
from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.base import Datagrams, Stream


class Carriage:
    """What one exit carries."""

    def __init__(self, context: AppContext) -> None:
        self._network = context.network
        self.traffic: Traffic[Visit] = Traffic()

    async def carry(self, trail: Trail, stream: Stream, accept: Accept) -> None:
        """Accept, and carry bytes between the caller and `stream` until both directions have ended.

        Being cut is an end like others, and the trail's reason. `stream` is over in any case; cancelling cuts both.
        """
        visit = Visit(trail.peer, trail.meter, stream.abort)
        self.traffic.begin(visit)
        try:
            await self._network.splice(accept(), stream, trail.meter)
        except BrokenStreamError as broken:
            trail.reason = str(broken)
        finally:
            self.traffic.end(visit)
            stream.abort("the visit is over")

    def outgoing(self, trail: Trail, limits: StreamLimits) -> "Outgoing":
        """A UDP session of a peer, whose socket is not open yet."""
        return Outgoing(self.traffic, trail, Relay(lambda _: None, self._network.now, limits))

    def outgoing_here(self, trail: Trail, relay: Relay) -> "OutgoingHere":
        """The same for a session that came in at this endpoint, whose entry counts the bytes."""
        return OutgoingHere(self.traffic, trail, relay)


class Outgoing:
    """One UDP session at an exit: give `received` to the socket that is opened for it, then run."""

    def __init__(self, traffic: Traffic[Visit], trail: Trail, relay: Relay) -> None:
        self._traffic = traffic
        self._trail = trail
        self._relay = relay

    def received(self, datagram: bytes, _sender: Address) -> None:
        """Take an answer of the target."""
        if self._relay.offer(datagram):
            self._trail.meter.received += len(datagram)

    async def run(self, socket: Datagrams, accept: Accept) -> None:
        """Accept, and carry until either side ends or all is silent for too long; the socket is closed then."""
        meter = self._trail.meter

        def emit(datagram: bytes) -> None:
            meter.sent += len(datagram)
            socket.send(datagram)

        self._relay.redirect(emit)
        visit = Visit(self._trail.peer, meter, self._relay.abort)
        self._traffic.begin(visit)
        try:
            await self._relay.run(accept())
        finally:
            self._trail.reason = self._relay.ending or self._trail.reason
            self._traffic.end(visit)
            socket.close()


class OutgoingHere:
    """One UDP session between an entry and an exit of the same endpoint."""

    def __init__(self, traffic: Traffic[Visit], trail: Trail, relay: Relay) -> None:
        self._traffic = traffic
        self._trail = trail
        self._relay = relay

    def received(self, datagram: bytes, _sender: Address) -> None:
        """Take an answer of the target."""
        self._relay.emit(datagram)

    async def run(self, socket: Datagrams, early: bytes) -> None:
        """Carry until the client ends or all is silent; `early` are the frames that were read from it before."""
        visit = Visit(self._trail.peer, self._trail.meter, self._relay.abort)
        self._traffic.begin(visit)
        try:
            await self._relay.run_here(socket.send, early)
        finally:
            self._trail.reason = self._relay.ending or self._trail.reason
            self._traffic.end(visit)
            socket.close()
