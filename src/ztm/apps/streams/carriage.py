"""Carrying at an exit: a caller that was let in is joined with what was dialled for it, and the books are kept.

It neither decides who may pass nor dials; a session's `Trail` says whose it is and learns how it ended.
"""

from ztm.apps.audit import Trail
from ztm.apps.base import AppContext
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.traffic import Accept, Traffic, Visit
from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.base import Datagrams, Stream
from ztm.net.relay import Relay


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

    async def carry_datagrams(self, trail: Trail, socket: Datagrams, accept: Accept, limits: StreamLimits) -> None:
        """The same for a socket, dialled with `unasked`, until either side ends or all is silent for too long."""
        try:
            relaying = self._network.relay(socket, None, accept(), limits)
            trail.meter.follow(relaying.given, relaying.taken)
            visit = Visit(trail.peer, trail.meter, relaying.abort)
            self.traffic.begin(visit)
            try:
                await relaying.ended()
            finally:
                trail.reason = relaying.ending or trail.reason
                self.traffic.end(visit)
        finally:
            socket.close()

    def outgoing_here(self, trail: Trail, relay: Relay) -> "OutgoingHere":
        """A UDP session that came in at this endpoint, whose entry counts the bytes."""
        return OutgoingHere(self.traffic, trail, relay)


def unasked(_datagram: bytes, _sender: Address) -> None:
    """Drop what a target sends before anything was sent to it."""


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
