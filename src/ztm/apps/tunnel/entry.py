"""One inbound at work: it listens, finds each client an exit from memory, and joins the two.

Nothing is asked of anybody before the client's own bytes leave. It knows nothing of configuration files;
`change` tells it what it shall be.
"""

import asyncio
import contextlib
from collections.abc import Callable

from msgspec import UNSET

from ztm.apps.base import AppContext
from ztm.apps.streams.clients import Client, TcpClient, UdpClient, UdpClients
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.ports import Close, Ports
from ztm.apps.streams.reach import Early, Reach, reason_of
from ztm.apps.streams.traffic import Faults, Traffic
from ztm.apps.tunnel.exit import Exit
from ztm.apps.tunnel.forms import InboundShown
from ztm.apps.tunnel.model import Inbound, Key
from ztm.apps.tunnel.offers import Offers, exits_of
from ztm.core.balance import Balancer
from ztm.errors import NotFoundError, ZtmError
from ztm.model import Address, Peer
from ztm.net.base import Datagrams, Stream
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
        self._peer = Peer(context.user, context.place.id)
        is_udp = inbound.key.protocol == "udp"
        self._ports = Ports(self._open_udp if is_udp else self._open_tcp)
        self._udp = UdpClients(context.network, limits, self._begin_udp)
        self._reach = Reach(
            fill(OUTBOUND, proto=inbound.key.protocol, name=inbound.key.name),
            context,
            limits,
            OPENING if is_udp else b"",
        )
        self._balancer: Balancer[str] = Balancer()
        self._exits: list[str] = []
        self._chosen = asyncio.Event()
        """Set, and replaced, when other exits are known."""
        self.traffic: Traffic[Client] = Traffic()
        self._faults = Faults("inbound", str(inbound.key), context)

    # ------------------------------------------------------------------ what it shall be

    async def open(self, inbound: Inbound) -> list[Address]:
        """Listen where `inbound` says besides where it listens now; the addresses that this added."""
        added = await self._ports.open(inbound.listens)
        for listen in self._ports.shown(added):
            if listen.error is not UNSET:
                self._faults.note(listen.error)
        return added

    async def close(self, addresses: list[Address], reason: str) -> None:
        """Stop listening on `addresses`."""
        await self._ports.close(addresses)
        for address in addresses:
            self._udp.cut(address, reason)

    async def change(self, inbound: Inbound, offers: Offers) -> None:
        """Be `inbound` from now on, whose addresses were opened before. Connections under way go on."""
        self.inbound = inbound
        self.choose(offers)
        await self.close([one for one in self._ports.addresses if one not in inbound.listens], "no longer listening")

    async def shut(self) -> None:
        """Stop listening. What is under way goes on."""
        await self._ports.close(self._ports.addresses)

    async def stop(self, reason: str) -> None:
        """Stop listening, and cut what is under way."""
        await self.close(self._ports.addresses, reason)
        self.traffic.cut(reason)

    def choose(self, offers: Offers) -> None:
        """Take the exits that `offers` name from now on."""
        exits = exits_of(self.inbound, offers, self._context.user)
        if exits != self._exits:
            self._exits = exits
            self._balancer.replace(exits)
            self._chosen.set()
            self._chosen = asyncio.Event()

    @property
    def is_waiting(self) -> bool:
        """Whether an address could not be listened on."""
        return self._ports.failed

    async def retry(self) -> bool:
        """Try those addresses again; whether all are open now."""
        was_waiting = self.is_waiting
        is_open = await self._ports.retry()
        if was_waiting and is_open:
            self.tell()
        return is_open

    def tell(self) -> None:
        """Tell whether it listens everywhere, and if not, why."""
        errors = [one.error for one in self._ports.shown(self.inbound.listens) if one.error is not UNSET]
        state = "failed" if errors else "open"
        self._context.tell("inbound", str(self.inbound.key), state, "; ".join(errors))

    # ------------------------------------------------------------------ clients

    async def _open_tcp(self, address: Address) -> Close:
        return (await self._context.network.listen(address, self._accept)).close

    async def _accept(self, stream: Stream) -> None:
        await self._carry(TcpClient(stream, self._context.network))

    async def _open_udp(self, address: Address) -> Close:
        socket: Datagrams | None = None

        def received(datagram: bytes, sender: Address) -> None:
            if socket is not None:
                self._udp.received(address, socket, datagram, sender)

        opened = socket = await self._context.network.listen_datagrams(address, received)

        async def close() -> None:
            opened.close()

        return close

    def _begin_udp(self, client: UdpClient) -> None:
        self._context.spawn(self._carry_udp(client))

    async def _carry_udp(self, client: UdpClient) -> None:
        try:
            await self._carry(client)
        finally:
            self._udp.forget(client)

    async def _carry(self, client: Client) -> None:
        """Find an exit for a client and stay until both are done with each other."""
        self.traffic.begin(client)
        try:
            refusal = await self._try_exits(client)
        finally:
            self.traffic.end(client)
        if refusal:
            self._faults.note(refusal)
            client.abort(refusal)

    async def _try_exits(self, client: Client) -> str:
        """Join the client with the first exit that accepts; or why none did."""
        network, balancer = self._context.network, self._balancer
        early = Early(client, self._limits.early_bytes)
        reasons = []
        await self._some_exit()
        for endpoint in balancer.order(network.now()):
            balancer.opened(endpoint)
            try:
                await self._join(client, endpoint, early)
            except ZtmError as error:
                if client.is_over:
                    return ""  # the client left; that is no failure of the exit
                balancer.failed(endpoint, network.now())
                reasons.append(reason_of(endpoint, error))
            else:
                return ""
            finally:
                balancer.closed(endpoint)
        return "; ".join(reasons) or self._no_exit()

    async def _join(self, client: Client, endpoint: str, early: Early) -> None:
        """Carry between the client and one exit until the end.

        Raises:
            ZtmError: the exit did not accept; nothing was carried.
        """
        if endpoint == self._context.place.id:
            exit_ = self._exit_here(self.inbound.key)
            if exit_ is None:
                raise NotFoundError("this endpoint has no such outbound")
            await client.join_here(exit_, self._peer, early.data())
            return
        stream = await self._reach.ask(endpoint, early)
        self._balancer.succeeded(endpoint)
        await client.join(stream)

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
            listens=self._ports.shown(inbound.listens),
            exits=list(inbound.exits),
            fromUsers=list(inbound.from_users),
            traffic=self.traffic.shown(),
            lastError=self._faults.last or UNSET,
        )
