"""One outbound at work: who may pass, and which target is dialled; the bytes behind the answer are `Carriage`'s.

The target is reached before the caller is answered, so that a refusal can still say why
(spec apps-network 7 rule 2). It knows nothing of HTTP: accepting is a call-back.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from msgspec import UNSET

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.streams.carriage import Carriage, unasked
from ztm.apps.streams.forms import TargetShown
from ztm.apps.streams.limits import StreamLimits, idling
from ztm.apps.streams.targets import Targets
from ztm.apps.streams.traffic import Accept, Faults, Traffic, Visit
from ztm.apps.tunnel.forms import OutboundShown
from ztm.apps.tunnel.model import Outbound
from ztm.core.access import Verdict
from ztm.errors import DeadlineError, ForbiddenError, RefusedError
from ztm.model import Address, Peer
from ztm.net.base import Datagrams, Meter, Received, Stream
from ztm.net.relay import Relay


class Exit:
    """An outbound of this endpoint, serving."""

    def __init__(self, outbound: Outbound, context: AppContext, limits: StreamLimits) -> None:
        self.outbound = outbound
        self._owner = context.user
        self._network = context.network
        self._audit = context.audit
        self._limits = limits
        self._subject = f"outbound {outbound.key}"
        self._targets = Targets(outbound.targets, context.network)
        self._carriage = Carriage(context)
        self._faults = Faults("outbound", str(outbound.key), context)

    @property
    def traffic(self) -> Traffic[Visit]:
        """What passes."""
        return self._carriage.traffic

    def change(self, outbound: Outbound) -> None:
        """Serve as `outbound` says from now on, and cut the visits that it does not admit."""
        self.outbound = outbound
        self._targets.replace(outbound.targets)
        self.traffic.cut("the outbound no longer admits this peer", lambda visit: not self.admits(visit.peer))

    def close(self, reason: str) -> None:
        """Cut all visits."""
        self.traffic.cut(reason)

    # ------------------------------------------------------------------ who

    def verdict(self, peer: Peer) -> Verdict:
        """Whether `peer` may use it, and why."""
        return self.outbound.verdict(peer, self._owner)

    def admits(self, peer: Peer) -> bool:
        """Whether `peer` may use it."""
        return self.verdict(peer).is_allowed

    @contextmanager
    def _admitted(self, peer: Peer, meter: Meter) -> Iterator[Trail]:
        """One audited visit of `peer`.

        Raises:
            ForbiddenError: it may not use the outbound.
        """
        trail = Trail(side="exit", peer=peer, action="connect", subject=self._subject, meter=meter)
        with audited(self._audit, trail):
            verdict = self.verdict(peer)
            trail.decide(verdict)
            if not verdict.is_allowed:
                reason = f"user {peer.user} on endpoint {peer.endpoint or '(unknown)'} may not use it"
                self._faults.note(reason)
                raise ForbiddenError(f"{self._subject}: {reason}")
            try:
                yield trail
            except (RefusedError, DeadlineError) as error:
                self._faults.note(str(error))
                raise type(error)(f"{self._subject}: {error}") from error

    # ------------------------------------------------------------------ tcp

    async def carry(self, peer: Peer, accept: Accept, meter: Meter | None = None) -> None:
        """Reach a target for `peer`, accept, and carry bytes until both directions have ended.

        Raises:
            ForbiddenError: the peer may not use it.
            RefusedError: no target can be reached; nothing was accepted.
            DeadlineError: no target answered in time; nothing was accepted.
        """
        with self._admitted(peer, meter or Meter()) as trail:
            async with self._targets.reach(self._dial) as (target, stream):
                trail.target = str(target)
                await self._carriage.carry(trail, stream, accept)

    async def _dial(self, target: Address) -> Stream:
        return await self._network.dial(target, timeout=self._limits.dial_seconds)

    # ------------------------------------------------------------------ udp

    async def carry_datagrams(self, peer: Peer, accept: Accept) -> None:
        """The same as `carry` for frames of datagrams, until one side ends or all is silent for too long."""
        with self._admitted(peer, Meter()) as trail:
            limits = idling(self._limits, self.outbound.idle)
            async with self._targets.reach(self._opening(unasked)) as (target, socket):
                trail.target = str(target)
                await self._carriage.carry_datagrams(trail, socket, accept, limits)

    async def carry_here(self, peer: Peer, relay: Relay, meter: Meter, early: bytes) -> None:
        """The same for a UDP session of an inbound of this endpoint, whose owner counts the bytes.

        `early` are the frames that were read from `relay` before.
        """
        with self._admitted(peer, meter) as trail:
            outgoing = self._carriage.outgoing_here(trail, relay)
            async with self._targets.reach(self._opening(outgoing.received)) as (target, socket):
                trail.target = str(target)
                await outgoing.run(socket, early)

    def _opening(self, received: Received) -> Callable[[Address], Awaitable[Datagrams]]:
        return lambda target: self._network.dial_datagrams(target, received)

    # ------------------------------------------------------------------ shown

    def shown(self) -> OutboundShown:
        """All of it, for its owner."""
        shown = self.shown_to_peers()
        shown.targets = [self._targets.shown(target) for target in self.outbound.targets]
        shown.owner = self._owner
        shown.traffic = self.traffic.shown()
        shown.lastError = self._faults.last or UNSET
        return shown

    def shown_to_peers(self) -> OutboundShown:
        """What whoever may use it is told, as by v1."""
        outbound = self.outbound
        return OutboundShown(
            protocol=outbound.key.protocol,
            name=outbound.key.name,
            targets=[TargetShown(one.host, one.port) for one in outbound.targets],
            entrances=list(outbound.entrances),
            users=list(outbound.users),
            idleTimeout=UNSET if outbound.idle is None else outbound.idle,
        )
