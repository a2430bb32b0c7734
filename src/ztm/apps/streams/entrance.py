"""The listening side of whatever leads clients to an exit: TCP connections and UDP senders of some addresses.

Each client is counted, audited and handed to `carry`, which finds it an exit; nothing here chooses or asks one.
An address that cannot be had stays listed with its reason, and stands in the way of nothing (weaknesses T6, O4).
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from msgspec import UNSET

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.streams.clients import Client, TcpClient, UdpClient, UdpClients
from ztm.apps.streams.forms import ListenShown
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.ports import Close, Ports
from ztm.apps.streams.traffic import Faults, Traffic
from ztm.model import Address, Peer
from ztm.net.base import Datagrams, Stream

Carry = Callable[[Client, Trail], Awaitable[str]]
"""Joins a client with an exit, and stays until both are done; gives why none took it, or an empty text.

It says in the trail which exit it was, and by which rule.
"""


class Entrance:
    """Addresses listened on for one thing, called `kind` and `name` in logs, events and the audit log.

    `protocol` is ``tcp`` or ``udp``.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        protocol: str,
        context: AppContext,
        limits: StreamLimits,
        carry: Carry,
    ) -> None:
        self._kind = kind
        self._name = name
        self._context = context
        self._carry_on = carry
        self._ports = Ports(self._open_udp if protocol == "udp" else self._open_tcp)
        self.udp = UdpClients(context.network, limits, self._begin_udp)
        self.traffic: Traffic[Client] = Traffic()
        self.faults = Faults(kind, name, context)

    # ------------------------------------------------------------------ addresses

    async def open(self, addresses: Iterable[Address]) -> list[Address]:
        """Listen on `addresses` besides those that are known; gives those that this added, open or not."""
        added = await self._ports.open(addresses)
        for listen in self._ports.shown(added):
            if listen.error is not UNSET:
                self.faults.note(listen.error)
        return added

    async def close(self, addresses: Iterable[Address], reason: str) -> None:
        """Stop listening on `addresses`, and cut their UDP sessions. Never fails."""
        closed = list(addresses)
        await self._ports.close(closed)
        for address in closed:
            self.udp.cut(address, reason)

    async def keep(self, addresses: Sequence[Address]) -> None:
        """Stop listening on all others. Connections under way go on."""
        await self.close([one for one in self._ports.addresses if one not in addresses], "no longer listening")

    async def shut(self) -> None:
        """Stop listening. What is under way goes on."""
        await self._ports.close(self._ports.addresses)

    async def stop(self, reason: str) -> None:
        """Stop listening, and cut what is under way."""
        await self.close(self._ports.addresses, reason)
        self.traffic.cut(reason)

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
        errors = [one.error for one in self._ports.shown(self._ports.addresses) if one.error is not UNSET]
        self._context.tell(self._kind, self._name, "failed" if errors else "open", "; ".join(errors))

    def shown(self, addresses: Iterable[Address]) -> list[ListenShown]:
        """How `addresses` stand."""
        return self._ports.shown(addresses)

    # ------------------------------------------------------------------ clients

    async def _open_tcp(self, address: Address) -> Close:
        return (await self._context.network.listen(address, self._accept)).close

    async def _accept(self, stream: Stream) -> None:
        await self._carry(TcpClient(stream, self._context.network))

    async def _open_udp(self, address: Address) -> Close:
        socket: Datagrams | None = None

        def received(datagram: bytes, sender: Address) -> None:
            if socket is not None:
                self.udp.received(address, socket, datagram, sender)

        opened = socket = await self._context.network.listen_datagrams(address, received)

        async def close() -> None:
            opened.close()

        return close

    def _begin_udp(self, client: UdpClient) -> None:
        self._context.spawn(self._carry_udp(client))

    async def _carry_udp(self, client: UdpClient) -> None:
        is_refused = False
        try:
            is_refused = await self._carry(client)
        finally:
            if is_refused:
                self.udp.refuse(client)
            else:
                self.udp.forget(client)

    async def _carry(self, client: Client) -> bool:
        """Have a client carried, and stay until it is over; whether no exit took it."""
        self.traffic.begin(client)
        trail = Trail(
            side="entry",
            peer=own_peer(self._context, client.address),
            action="connect",
            subject=f"{self._kind} {self._name}",
            rule="local client",
            meter=client.meter,
        )
        try:
            with audited(self._context.audit, trail):
                refusal = await self._carry_on(client, trail)
                trail.reason = refusal or trail.reason
        finally:
            self.traffic.end(client)
        if refusal:
            self.faults.note(refusal)
            client.abort(refusal)
        return bool(refusal)


def own_peer(context: AppContext, address: Address | None = None) -> Peer:
    """The own user at this endpoint, as an exit and the audit log see a client of `address`."""
    ip, port = (address.host, address.port) if address is not None else ("", 0)
    return Peer(context.user, context.place.id, ip, port)
