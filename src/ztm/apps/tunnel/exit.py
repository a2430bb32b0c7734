"""One outbound at work: who may pass, which target is dialled, and the bytes behind the answer.

The target is reached before the caller is answered, so that a refusal can still say why
(spec apps-network 7 rule 2). It knows nothing of HTTP: accepting is a call-back.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import UNSET

from ztm.apps.base import AppContext
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.relay import Relay
from ztm.apps.streams.traffic import Accept, Faults, Traffic, Visit
from ztm.apps.tunnel.forms import OutboundShown, TargetShown
from ztm.apps.tunnel.model import Outbound
from ztm.core.balance import Balancer
from ztm.errors import BrokenStreamError, DeadlineError, ForbiddenError, RefusedError, UnreachableError, ZtmError
from ztm.model import Address, Peer
from ztm.net.base import Datagrams, Meter, Received, Stream

T = TypeVar("T")


class Exit:
    """An outbound of this endpoint, serving."""

    def __init__(
        self,
        outbound: Outbound,
        context: AppContext,
        limits: StreamLimits,
    ) -> None:
        self.outbound = outbound
        self._owner = context.user
        self._network = context.network
        self._log = context.log
        self._limits = limits
        self._balancer = Balancer(outbound.targets)
        self._reasons: dict[Address, str] = {}
        """Why a target could not be reached, for those whose last try failed."""
        self.traffic: Traffic[Visit] = Traffic()
        self._faults = Faults("outbound", str(outbound.key), context)

    def change(self, outbound: Outbound) -> None:
        """Serve as `outbound` says from now on, and cut the visits that it does not admit."""
        self.outbound = outbound
        self._balancer.replace(outbound.targets)
        self._reasons = {target: why for target, why in self._reasons.items() if target in outbound.targets}
        self.traffic.cut("the outbound no longer admits this peer", lambda visit: not self.admits(visit.peer))

    def close(self, reason: str) -> None:
        """Cut all visits."""
        self.traffic.cut(reason)

    def admits(self, peer: Peer) -> bool:
        """Whether `peer` may use it."""
        return self.outbound.admits(peer, self._owner)

    def check(self, peer: Peer) -> None:
        """Refuse a peer that may not use it.

        Raises:
            ForbiddenError: it may not.
        """
        if not self.admits(peer):
            reason = f"user {peer.user} on endpoint {peer.endpoint or '(unknown)'} may not use it"
            self._faults.note(reason)
            raise ForbiddenError(f"outbound {self.outbound.key}: {reason}")

    # ------------------------------------------------------------------ tcp

    async def carry(self, peer: Peer, accept: Accept, meter: Meter | None = None) -> None:
        """Reach a target for `peer`, accept, and carry bytes until both directions have ended.

        Raises:
            ForbiddenError: the peer may not use it.
            RefusedError: no target can be reached; nothing was accepted.
            DeadlineError: no target answered in time; nothing was accepted.
        """
        self.check(peer)
        target, stream = await self._reach(self._dial)
        try:
            await self._join(Visit(peer, meter or Meter(), stream.abort), accept(), stream)
        finally:
            stream.abort("the visit is over")
            self._balancer.closed(target)

    async def _join(self, visit: Visit, caller: Stream, stream: Stream) -> None:
        self._log.debug("outbound %s: %s enters from %s", self.outbound.key, visit.peer.user, visit.peer.endpoint)
        self.traffic.begin(visit)
        try:
            await self._network.splice(caller, stream, visit.meter)
        except BrokenStreamError as broken:
            self._log.debug("outbound %s: %s", self.outbound.key, broken)
        finally:
            self.traffic.end(visit)

    async def _dial(self, target: Address) -> Stream:
        return await self._network.dial(target, timeout=self._limits.dial_seconds)

    # ------------------------------------------------------------------ udp

    async def carry_datagrams(self, peer: Peer, accept: Accept) -> None:
        """The same as `carry` for frames of datagrams, until one side ends or all is silent for too long."""
        self.check(peer)
        meter = Meter()

        def emit(datagram: bytes) -> None:
            meter.sent += len(datagram)
            socket.send(datagram)

        def received(datagram: bytes, _sender: Address) -> None:
            if relay.offer(datagram):
                meter.received += len(datagram)

        relay = Relay(emit, self._network.now, self._limits)
        target, socket = await self._open_socket(received)
        visit = Visit(peer, meter, relay.abort)
        self.traffic.begin(visit)
        try:
            await relay.run(accept())
        finally:
            self.traffic.end(visit)
            socket.close()
            self._balancer.closed(target)

    async def carry_here(self, peer: Peer, relay: Relay, meter: Meter, early: bytes) -> None:
        """The same for a UDP session of an inbound of this endpoint, whose owner counts the bytes.

        `early` are the frames that were read from `relay` before.
        """
        self.check(peer)

        def received(datagram: bytes, _sender: Address) -> None:
            relay.emit(datagram)

        target, socket = await self._open_socket(received)
        visit = Visit(peer, meter, relay.abort)
        self.traffic.begin(visit)
        try:
            await relay.run_here(socket.send, early)
        finally:
            self.traffic.end(visit)
            socket.close()
            self._balancer.closed(target)

    async def _open_socket(self, received: Received) -> tuple[Address, Datagrams]:
        async def dial(target: Address) -> Datagrams:
            return await self._network.dial_datagrams(target, received)

        return await self._reach(dial)

    # ------------------------------------------------------------------ both

    async def _reach(self, dial: Callable[[Address], Awaitable[T]]) -> tuple[Address, T]:
        """Dial the targets in the balancer's order until one answers; the balancer counts it as opened.

        Raises:
            RefusedError: none answers, and at least one refused.
            DeadlineError: none answered in time.
        """
        failures: list[ZtmError] = []
        for target in self._balancer.order(self._network.now()):
            self._balancer.opened(target)
            try:
                reached = await dial(target)
            except (UnreachableError, DeadlineError) as error:
                self._balancer.closed(target)
                self._balancer.failed(target, self._network.now())
                self._reasons[target] = str(error)
                failures.append(error)
            except BaseException:
                self._balancer.closed(target)
                raise
            else:
                self._balancer.succeeded(target)
                self._reasons.pop(target, None)
                return target, reached
        reason = "no target could be reached: " + "; ".join(str(error) for error in failures)
        self._faults.note(reason)
        is_late = all(isinstance(error, DeadlineError) for error in failures)
        kind = DeadlineError if is_late else RefusedError
        raise kind(f"outbound {self.outbound.key}: {reason}")

    # ------------------------------------------------------------------ shown

    def shown(self) -> OutboundShown:
        """All of it, for its owner."""
        shown = self.shown_to_peers()
        for target in shown.targets:
            target.error = self._reasons.get(Address(target.host, target.port), UNSET)
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
        )
