"""The exit of the port app: dials the targets that peers name, for those whom the access list allows.

A name is resolved once: what is judged is what is dialled (weakness O7). The target is reached before the caller is
answered. It knows nothing of HTTP: accepting is a call-back.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.port.rules import Rule, Rules, is_ip
from ztm.apps.streams.carriage import Carriage, unasked
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.targets import unreached
from ztm.apps.streams.traffic import Accept, Faults, Traffic, Visit
from ztm.errors import DeadlineError, ForbiddenError, UnreachableError, ZtmError
from ztm.model import Address, Peer
from ztm.net.base import Datagrams, Meter, Stream
from ztm.net.relay import Relay

T = TypeVar("T")

MAX_TRIES = 4
"""Addresses of one name that are dialled at most."""


class Asked(NamedTuple):
    """What a peer asks for."""

    peer: Peer
    protocol: str
    target: Address


class Exit:
    """What this endpoint dials for ports of others, and of its own."""

    def __init__(self, context: AppContext, limits: StreamLimits) -> None:
        self._context = context
        self._network = context.network
        self._limits = limits
        self._rules = Rules((), context.user)
        self._faults = Faults("port", "exit", context)
        self._tcp, self._udp = Carriage(context), Carriage(context)
        self.traffic: Mapping[str, Traffic[Visit]] = {"tcp": self._tcp.traffic, "udp": self._udp.traffic}
        """What passes, by protocol."""
        self._inside: dict[Meter, tuple[Asked, str]] = {}
        """What each visit asked for, and the address dialled for it."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The access list."""
        return self._rules.rules

    def change(self, rules: list[Rule]) -> None:
        """Allow what `rules` say from now on, and cut what they no longer do."""
        self._rules = Rules(rules, self._context.user)
        for traffic in self.traffic.values():
            traffic.cut("the access list no longer allows it", lambda visit: not self._is_still_allowed(visit.meter))

    def _is_still_allowed(self, meter: Meter) -> bool:
        asked, ip = self._inside[meter]
        return self._rules.judge(asked.peer.user, asked.protocol, asked.target, ip).is_allowed

    def close(self, reason: str) -> None:
        """Cut all visits."""
        for traffic in self.traffic.values():
            traffic.cut(reason)

    # ------------------------------------------------------------------ carrying

    async def carry(self, asked: Asked, accept: Accept, meter: Meter | None = None) -> None:
        """Reach the target by TCP, accept, and carry bytes until both directions have ended.

        Raises:
            ForbiddenError: the peer may not reach it.
            RefusedError: it cannot be reached.
            DeadlineError: it does not answer in time.
        """
        with self._audited(asked, meter or Meter()) as trail:
            address, stream = await self._reach(asked, trail, self._dial)
            with self._noted(trail, asked, address):
                await self._tcp.carry(trail, stream, accept)

    async def carry_datagrams(self, asked: Asked, accept: Accept) -> None:
        """The same by UDP, until one side ends or all is silent for too long."""
        with self._audited(asked, Meter()) as trail:

            async def dial(address: Address) -> Datagrams:
                return await self._network.dial_datagrams(address, unasked)

            address, socket = await self._reach(asked, trail, dial)
            with self._noted(trail, asked, address):
                await self._udp.carry_datagrams(trail, socket, accept, self._limits)

    async def carry_here(self, asked: Asked, relay: Relay, meter: Meter, early: bytes) -> None:
        """The same for a UDP session of a port of this endpoint, whose entry counts the bytes."""
        with self._audited(asked, meter) as trail:
            outgoing = self._udp.outgoing_here(trail, relay)

            async def dial(address: Address) -> Datagrams:
                return await self._network.dial_datagrams(address, outgoing.received)

            address, socket = await self._reach(asked, trail, dial)
            with self._noted(trail, asked, address):
                await outgoing.run(socket, early)

    @contextmanager
    def _audited(self, asked: Asked, meter: Meter) -> Iterator[Trail]:
        subject = f"{asked.protocol} {asked.target}"
        trail = Trail(side="exit", peer=asked.peer, action="connect", subject=subject, meter=meter)
        with audited(self._context.audit, trail):
            yield trail

    @contextmanager
    def _noted(self, trail: Trail, asked: Asked, address: Address) -> Iterator[None]:
        self._inside[trail.meter] = (asked, address.host)
        try:
            yield
        finally:
            del self._inside[trail.meter]

    async def _dial(self, address: Address) -> Stream:
        return await self._network.dial(address, timeout=self._limits.dial_seconds)

    # ------------------------------------------------------------------ deciding

    async def _reach(self, asked: Asked, trail: Trail, dial: Callable[[Address], Awaitable[T]]) -> tuple[Address, T]:
        """Dial the first address that is allowed and answers."""
        failures: list[ZtmError] = []
        for address in await self._allowed(asked, trail):
            trail.target = str(address)
            try:
                return address, await dial(address)
            except (UnreachableError, DeadlineError) as error:
                failures.append(error)
        failure = unreached(failures)
        self._faults.note(str(failure))
        raise failure

    async def _allowed(self, asked: Asked, trail: Trail) -> list[Address]:
        """The addresses that may be dialled for a target: those that it leads to now and that are allowed.

        Where no address matters, because the owner is not held to the list, it is the target itself.

        Raises:
            ForbiddenError: none is.
            RefusedError: the name does not resolve, for those who may know.
            DeadlineError: the same, in time.
        """
        peer, protocol, target = asked
        if not self._rules.needs_address(peer.user, protocol, target.port):
            self._decide(asked, trail)
            return [target]
        try:
            ips = await self._addresses(target.host)
        except (UnreachableError, DeadlineError) as error:
            self._decide(asked, trail)
            raise unreached([error]) from error
        allowed = [ip for ip in ips if self._rules.judge(peer.user, protocol, target, ip).is_allowed]
        self._decide(asked, trail, (allowed or ips or [""])[0])
        return [Address(ip, target.port) for ip in allowed[:MAX_TRIES]]

    async def _addresses(self, host: str) -> list[str]:
        if is_ip(host):
            return [host]
        return await self._network.resolve(host, timeout=self._limits.dial_seconds)

    def _decide(self, asked: Asked, trail: Trail, ip: str = "") -> None:
        verdict = self._rules.judge(asked.peer.user, asked.protocol, asked.target, ip)
        trail.decide(verdict)
        if not verdict.is_allowed:
            where = f"{asked.protocol} {asked.target}"
            endpoint = asked.peer.endpoint or "(unknown)"
            reason = f"user {asked.peer.user or '(unknown)'} on endpoint {endpoint} may not reach {where} here"
            self._faults.note(f"{reason}: {verdict.rule}")
            raise ForbiddenError(f"{reason}: {verdict.rule} (see 'ztm port set acl')")
