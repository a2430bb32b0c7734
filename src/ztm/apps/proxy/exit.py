"""The exit at work: who comes is judged, the destination dialled, and only then the caller accepted.

It knows neither HTTP nor exits elsewhere: accepting is a call-back. What is live is cut when it is no longer allowed.

Source: spec apps-network 2.3, 2.5 and 7 rules 1, 5 and 9.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.proxy.gate import Gate, Way
from ztm.apps.proxy.hosts import Host, Ip, target_text
from ztm.apps.proxy.model import Config
from ztm.apps.proxy.requests.book import RequestBook
from ztm.apps.proxy.rules import Members
from ztm.apps.streams.carriage import unasked
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.traffic import Accept, Faults, Traffic, Visit
from ztm.errors import BrokenStreamError, DeadlineError, ForbiddenError, RefusedError, UnreachableError, ZtmError
from ztm.model import Address, Peer
from ztm.net.base import Relaying, Stream
from ztm.net.flow import FlowStream

if TYPE_CHECKING:
    from ztm.apps.proxy.interception.intercept import Interceptor

REACH_SECONDS = 8.0
"""For name and destination together; an entry waits ten for the answer."""
HURRY_SECONDS = 2.0
"""For an address behind which there is another one to try."""
LINGER_SECONDS = 2.0
"""For what was sent last to leave, where TLS was opened."""
NO_LONGER = "the exit's rules no longer allow it"


class Passing(Visit):
    """A stream through the exit."""

    __slots__ = ("host", "inner", "ip")

    def __init__(self, peer: Peer, trail: Trail, cut: Any, host: Host, ip: Ip) -> None:
        super().__init__(peer, trail.meter, cut)
        self.host = host
        self.ip = ip
        self.inner: Host | None = None
        """The name inside of TLS, where it is another one."""


class Exit:
    """The exit of this endpoint."""

    def __init__(self, context: AppContext, limits: StreamLimits, members: Members) -> None:
        self._context = context
        self._network = context.network
        self._limits = limits
        self.gate = Gate(context.user, context.network, members)
        self.book = RequestBook(context)
        self.interceptor: Interceptor | None = None
        self.traffic: Traffic[Passing] = Traffic()
        self.faults = Faults("exit", context.place.name, context)

    def change(self, config: Config) -> None:
        """Serve as `config` says from now on, and cut what it no longer allows."""
        self.gate.config = config
        self.judge_again()

    def judge_again(self) -> None:
        """Cut what is no longer allowed (weakness P7)."""
        self.traffic.cut(NO_LONGER, lambda one: not self._may_still(one))

    def _may_still(self, visit: Passing) -> bool:
        inner = visit.inner
        return self.gate.may(visit.peer, visit.host, visit.ip) and (
            inner is None or self.gate.may_inner(visit.peer, inner, visit.ip)
        )

    def _check_still(self, visit: Passing) -> None:
        """Rules may have changed while the destination was dialled. Raises `ForbiddenError`."""
        if not self._may_still(visit):
            raise ForbiddenError(f"{visit.host}: {NO_LONGER}")

    def close(self, reason: str) -> None:
        """Cut all."""
        self.traffic.cut(reason)

    # ------------------------------------------------------------------ streams

    async def carry(self, peer: Peer, host: Host, port: int, accept: Accept) -> None:
        """Lead `peer` to a destination, and carry until both directions have ended.

        Raises:
            ForbiddenError: it may not go there.
            NotFoundError: the name does not resolve.
            RefusedError: the destination refused, or cannot be reached.
            DeadlineError: it did not answer.
        """
        target = target_text(str(host), port)
        trail = Trail(side="exit", peer=peer, action="connect", subject=target)
        with audited(self._context.audit, trail):
            ip, origin = await self._reach(peer, host, port, target, trail)
            trail.target = str(Address(str(ip), port))
            visit = Passing(peer, trail, origin.abort, host, ip)
            try:
                self._check_still(visit)
                await self._pass(visit, accept(), origin, target, trail)
            finally:
                origin.abort("the visit is over")

    async def _reach(self, peer: Peer, host: Host, port: int, target: str, trail: Trail) -> tuple[Ip, Stream]:
        try:
            async with asyncio.timeout(REACH_SECONDS):
                way = await self._judged(peer, host, target, trail)
                return await self._dial(way, port, target)
        except TimeoutError:
            raise DeadlineError(f"{target} was not reached within {REACH_SECONDS:g} seconds") from None

    async def _judged(self, peer: Peer, host: Host, target: str, trail: Trail) -> Way:
        try:
            way = await self.gate.find(peer, host)
        except ForbiddenError as error:
            trail.rule = str(error)
            self.faults.note(f"{target}: {error}")
            self.book.note_denied(peer, target, str(error))
            raise
        trail.rule = way.rule
        return way

    async def _pass(self, visit: Passing, caller: Stream, origin: Stream, target: str, trail: Trail) -> None:
        """Carry between the two; what goes wrong now is noted, as the caller was told yes."""
        self.traffic.begin(visit)
        try:
            if self.interceptor is None and not self.book.is_open:
                await self._network.splice(caller, origin, visit.meter)
            else:
                await self._look_and_pass(visit, caller, origin, target)
        except BrokenStreamError as broken:
            trail.reason = str(broken)
        except ZtmError as error:
            trail.reason = str(error)
            trail.is_allowed = trail.is_allowed and not isinstance(error, ForbiddenError)
            self.faults.note(f"{target}: {error}")
        finally:
            self.traffic.end(visit)

    async def _look_and_pass(self, visit: Passing, caller: Stream, origin: Stream, target: str) -> None:
        """The same with TLS opened and requests written down, as far as the configuration says."""
        from ztm.apps.proxy.requests.watch import RequestWatch  # an exit that looks at nothing need not load it
        from ztm.net.layer import Tapped

        near, far = caller, origin
        if self.interceptor is not None:
            near, far, _ = await self.interceptor.open(caller, origin, visit.host, self._admit(visit))
        watch = RequestWatch(lambda seen: self.book.note(visit.peer, target, seen))
        if self.book.is_open and isinstance(near, FlowStream):
            near = Tapped(near, watch.feed)
        try:
            await self._network.splice(near, far, visit.meter)
        finally:
            watch.end()
            if far is not origin:
                await _flushed(caller, origin)

    def _admit(self, visit: Passing) -> Any:
        """What a name inside of TLS is put to: none is let through that would not be let through by itself."""

        def admit(name: Host) -> None:
            if name != visit.host:
                self.gate.check_inner(visit.peer, name, visit.ip)
                visit.inner = name

        return admit

    async def _dial(self, way: Way, port: int, target: str) -> tuple[Ip, Stream]:
        """The first of the addresses that answers.

        Raises:
            RefusedError: none does, and at least one refused.
            DeadlineError: none answered in time.
        """
        failures: list[ZtmError] = []
        for number, ip in enumerate(way.addresses, 1):
            is_last = number == len(way.addresses)
            seconds = self._limits.dial_seconds if is_last else min(HURRY_SECONDS, self._limits.dial_seconds)
            try:
                return ip, await self._network.dial(Address(str(ip), port), timeout=seconds)
            except (UnreachableError, DeadlineError) as error:
                failures.append(error)
        reason = f"{target} cannot be reached from this exit: " + "; ".join(str(error) for error in failures)
        self.faults.note(reason)
        is_late = all(isinstance(error, DeadlineError) for error in failures)
        raise (DeadlineError if is_late else RefusedError)(reason)

    # ------------------------------------------------------------------ datagrams

    async def carry_datagrams(self, peer: Peer, host: Host, port: int, accept: Accept) -> None:
        """The same as `carry` for frames of datagrams, until one side ends or all is silent for too long."""
        target = target_text(str(host), port)
        trail = Trail(side="exit", peer=peer, action="associate", subject=target)
        with audited(self._context.audit, trail):
            way = await self._judged(peer, host, target, trail)
            await self._relay(peer, host, (way.addresses[0], port), accept, trail)

    async def _relay(self, peer: Peer, host: Host, to: tuple[Ip, int], accept: Accept, trail: Trail) -> None:
        ip, port = to
        address = Address(str(ip), port)
        trail.target = str(address)
        socket = await self._network.dial_datagrams(address, unasked)
        relaying: Relaying | None = None

        def cut(reason: str) -> None:
            if relaying is not None:
                relaying.abort(reason)

        visit = Passing(peer, trail, cut, host, ip)
        try:
            self._check_still(visit)
            self.traffic.begin(visit)
            try:
                relaying = self._network.relay(socket, None, accept(), self._limits)
                trail.meter.follow(relaying.given, relaying.taken)
                await relaying.ended()
            finally:
                self.traffic.end(visit)
        finally:
            socket.close()


async def _flushed(*streams: Stream) -> None:
    """Let what was sent last leave: with TLS, a side can be over for us before the stream below is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            for stream in streams:
                await stream.ended()
