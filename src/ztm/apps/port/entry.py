"""One port at work: it takes clients where it listens, and has the endpoint behind it dial its target for each.

It knows nothing of configuration files; `change` tells it what it shall be.
"""

from msgspec import UNSET

from ztm.apps.audit import Trail
from ztm.apps.base import AppContext
from ztm.apps.port.exit import Asked, Exit
from ztm.apps.port.forms import PortShown
from ztm.apps.port.model import Port
from ztm.apps.streams.clients import Client
from ztm.apps.streams.entrance import Entrance, own_peer
from ztm.apps.streams.limits import StreamLimits, idling
from ztm.apps.streams.reach import Early, Reach, reason_of
from ztm.apps.streams.traffic import Accept, Traffic
from ztm.errors import ForbiddenError, ZtmError
from ztm.model import Peer
from ztm.net.base import Meter
from ztm.net.relay import Relay
from ztm.wire.paths import PORT_TARGET, fill


class _Here:
    """This endpoint's own exit, for one target; see `streams.clients.Exit`."""

    def __init__(self, exit_: Exit, port: Port) -> None:
        self._exit = exit_
        self._port = port

    async def carry(self, peer: Peer, accept: Accept, meter: Meter | None = None) -> None:
        """See `streams.clients.Exit`."""
        await self._exit.carry(self._asked(peer), accept, meter)

    async def carry_here(self, peer: Peer, relay: Relay, meter: Meter, early: bytes) -> None:
        """See `streams.clients.Exit`."""
        await self._exit.carry_here(self._asked(peer), relay, meter, early)

    def _asked(self, peer: Peer) -> Asked:
        return Asked(peer, self._port.protocol, self._port.target)


class Entry:
    """A port of this endpoint, listening."""

    def __init__(self, port: Port, context: AppContext, limits: StreamLimits, exit_: Exit) -> None:
        self.port = port
        self._context = context
        self._limits = limits
        self._exit = exit_
        self._reach = self._way(port)
        self.entrance = Entrance("port", str(port.key), port.protocol, context, idling(limits, port.idle), self._carry)

    def _way(self, port: Port) -> Reach:
        return Reach(fill(PORT_TARGET, proto=port.protocol, target=str(port.target)), self._context, self._limits)

    @property
    def traffic(self) -> Traffic[Client]:
        """What passes."""
        return self.entrance.traffic

    def change(self, port: Port) -> None:
        """Be `port` from now on, which listens where this one does. Connections under way go on."""
        self.port = port
        self._reach = self._way(port)
        self.entrance.udp.limits = idling(self._limits, port.idle)

    async def _carry(self, client: Client, trail: Trail) -> str:
        """Join the client with the target; or why that cannot be."""
        via = trail.target = self.port.via
        early = Early(client, self._limits.early_bytes)
        try:
            if via == self._context.place.id:
                here = _Here(self._exit, self.port)
                await client.join_here(here, own_peer(self._context, client.address), b"")
                return ""
            stream = await self._reach.ask(via, early)
        except ZtmError as error:
            if client.is_over or early.broken is not None:
                trail.reason = "the client left"
                return ""  # that is no failure of the exit
            trail.is_allowed = not isinstance(error, ForbiddenError)
            return reason_of(via, error)
        trail.reason = await client.join(stream) or trail.reason
        return ""

    def shown(self) -> PortShown:
        """All of it, for its owner."""
        port = self.port
        listen = self.entrance.shown([port.listen])[0]
        return PortShown(
            listen=str(port.listen),
            via=port.via,
            target=str(port.target),
            protocol=port.protocol,
            idleTimeout=port.idle,
            open=listen.open,
            error=listen.error,
            traffic=self.traffic.shown(),
            lastError=self.entrance.faults.last or UNSET,
        )
