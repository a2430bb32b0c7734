"""One inbound at work: it finds each client of its entrance an exit from memory, and joins the two.

Nothing is asked of anybody before the client's own bytes leave. It knows nothing of configuration files;
`change` tells it what it shall be.
"""

import asyncio
import contextlib
from collections.abc import Callable

from msgspec import UNSET

from ztm.apps.audit import Trail
from ztm.apps.base import AppContext
from ztm.apps.streams.clients import Client
from ztm.apps.streams.entrance import Entrance, own_peer
from ztm.apps.streams.limits import StreamLimits, idling
from ztm.apps.streams.reach import Early, Reach, reason_of
from ztm.apps.streams.targets import health
from ztm.apps.streams.traffic import Traffic
from ztm.apps.tunnel.exit import Exit
from ztm.apps.tunnel.forms import ExitShown, InboundShown
from ztm.apps.tunnel.model import Inbound, Key
from ztm.apps.tunnel.offers import Offers, exits_of
from ztm.core.balance import Balancer
from ztm.errors import ForbiddenError, NotFoundError, ZtmError
from ztm.model import Address
from ztm.wire.datagram import OPENING
from ztm.wire.paths import OUTBOUND, fill


class Entry:
    """An inbound of this endpoint, listening."""

    def __init__(
        self, inbound: Inbound, context: AppContext, limits: StreamLimits, exit_here: Callable[[Key], Exit | None]
    ) -> None:
        self.inbound = inbound
        self._context = context
        self._limits = limits
        self._exit_here = exit_here
        protocol, name = inbound.key
        limits_here = idling(limits, inbound.idle)
        self._entrance = Entrance("inbound", str(inbound.key), protocol, context, limits_here, self._try_exits)
        path = fill(OUTBOUND, proto=protocol, name=name)
        self._reach = Reach(path, context, limits, OPENING if protocol == "udp" else b"")
        self._balancer: Balancer[str] = Balancer()
        self._exits: list[str] = []
        self._reasons: dict[str, str] = {}
        """Why an exit took no client, for those whose last try failed."""
        self._used: set[str] = set()
        """Exits that took one."""
        self._chosen = asyncio.Event()
        """Set, and replaced, when other exits are known."""

    @property
    def traffic(self) -> Traffic[Client]:
        """What passes."""
        return self._entrance.traffic

    # ------------------------------------------------------------------ what it shall be

    async def open(self, inbound: Inbound) -> list[Address]:
        """Listen where `inbound` says besides where it listens now; the addresses that this added."""
        return await self._entrance.open(inbound.listens)

    async def close(self, addresses: list[Address], reason: str) -> None:
        """Stop listening on `addresses`."""
        await self._entrance.close(addresses, reason)

    async def change(self, inbound: Inbound, offers: Offers) -> None:
        """Be `inbound` from now on, whose addresses were opened before. Connections under way go on."""
        self.inbound = inbound
        self._entrance.udp.limits = idling(self._limits, inbound.idle)
        self.choose(offers)
        await self._entrance.keep(inbound.listens)

    async def shut(self) -> None:
        """Stop listening. What is under way goes on."""
        await self._entrance.shut()

    async def stop(self, reason: str) -> None:
        """Stop listening, and cut what is under way."""
        await self._entrance.stop(reason)

    def choose(self, offers: Offers) -> None:
        """Take the exits that `offers` name from now on."""
        exits = exits_of(self.inbound, offers, self._context.user)
        if exits != self._exits:
            self._exits = exits
            self._balancer.replace(exits)
            self._reasons = {exit_: why for exit_, why in self._reasons.items() if exit_ in exits}
            self._used.intersection_update(exits)
            self._chosen.set()
            self._chosen = asyncio.Event()

    @property
    def is_waiting(self) -> bool:
        """Whether an address could not be listened on."""
        return self._entrance.is_waiting

    async def retry(self) -> bool:
        """Try those addresses again; whether all are open now."""
        return await self._entrance.retry()

    def tell(self) -> None:
        """Tell whether it listens everywhere, and if not, why."""
        self._entrance.tell()

    # ------------------------------------------------------------------ clients

    async def _try_exits(self, client: Client, trail: Trail) -> str:
        """Join the client with the first exit that accepts; or why none did."""
        network, balancer = self._context.network, self._balancer
        early = Early(client, self._limits.early_bytes)
        errors: list[ZtmError] = []
        reasons: list[str] = []
        await self._some_exit()
        for endpoint in balancer.order(network.now()):
            balancer.opened(endpoint)
            trail.target = endpoint
            try:
                await self._join(client, endpoint, early, trail)
            except ZtmError as error:
                if client.is_over or early.broken is not None:
                    trail.reason = "the client left"
                    return ""  # that is no failure of the exit
                self._failed(endpoint, error)
                errors.append(error)
                reasons.append(reason_of(endpoint, error))
            else:
                return ""
            finally:
                balancer.closed(endpoint)
        trail.is_allowed = not errors or not all(isinstance(error, ForbiddenError) for error in errors)
        return "; ".join(reasons) or self._no_exit()

    async def _join(self, client: Client, endpoint: str, early: Early, trail: Trail) -> None:
        """Carry between the client and one exit until the end.

        Raises:
            ZtmError: the exit did not accept; nothing was carried.
        """
        if endpoint == self._context.place.id:
            exit_ = self._exit_here(self.inbound.key)
            if exit_ is None:
                raise NotFoundError("this endpoint has no such outbound")
            await client.join_here(exit_, own_peer(self._context, client.address), early.data())
            self._succeeded(endpoint)
            return
        stream = await self._reach.ask(endpoint, early)
        self._succeeded(endpoint)
        trail.reason = await client.join(stream) or trail.reason

    def _succeeded(self, endpoint: str) -> None:
        self._balancer.succeeded(endpoint)
        self._reasons.pop(endpoint, None)
        self._used.add(endpoint)

    def _failed(self, endpoint: str, error: ZtmError) -> None:
        self._balancer.failed(endpoint, self._context.network.now())
        self._reasons[endpoint] = str(error)
        self._used.discard(endpoint)

    async def _some_exit(self) -> None:
        """Where no exit is known, wait a little: news of one just opened may be on its way."""
        if not self._exits:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.exit_wait):
                    await self._chosen.wait()

    def _no_exit(self) -> str:
        users = ", ".join(dict.fromkeys((self._context.user, *self.inbound.from_users)))
        return f"no exit is known: no endpoint of user {users} has an outbound {self.inbound.key}"

    # ------------------------------------------------------------------ shown

    def shown(self) -> InboundShown:
        """All of it, for its owner."""
        inbound = self.inbound
        return InboundShown(
            protocol=inbound.key.protocol,
            name=inbound.key.name,
            listens=self._entrance.shown(inbound.listens),
            exits=list(inbound.exits),
            fromUsers=list(inbound.from_users),
            health=[self._exit_shown(endpoint) for endpoint in self._exits],
            traffic=self.traffic.shown(),
            idleTimeout=UNSET if inbound.idle is None else inbound.idle,
            lastError=self._entrance.faults.last or UNSET,
        )

    def _exit_shown(self, endpoint: str) -> ExitShown:
        held = self._balancer.held(endpoint, self._context.network.now())
        reason = self._reasons.get(endpoint)
        state = health(held, is_failed=reason is not None, is_reached=endpoint in self._used)
        return ExitShown(endpoint, state, reason or UNSET)
