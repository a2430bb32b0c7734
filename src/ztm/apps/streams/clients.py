"""The clients of an entrance, TCP connections and UDP senders, seen alike by whoever finds them an exit.

They carry bytes once an exit has accepted; they choose nothing.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.relay import Relay
from ztm.apps.streams.traffic import Accept
from ztm.errors import BrokenStreamError
from ztm.model import Address, Peer
from ztm.net.base import Datagrams, Meter, Network, Stream


class Exit(Protocol):
    """An exit of this endpoint itself."""

    async def carry(self, peer: Peer, accept: Accept, meter: Meter | None = None) -> None:
        """Reach a target, accept, and carry bytes until the end. Raises `ZtmError`: nothing was accepted."""

    async def carry_here(self, peer: Peer, relay: Relay, meter: Meter, early: bytes) -> None:
        """The same for a UDP session; `early` are the frames that were read from `relay` before."""


class Client(Protocol):
    """One client; its bytes can be read, and put on a stream, in whichever form the mesh carries them."""

    meter: Meter

    @property
    def address(self) -> Address | None:
        """Where it comes from."""

    @property
    def is_over(self) -> bool:
        """Whether the client is gone."""

    async def read(self) -> bytes:
        """The next bytes, ``b""`` at their end; cancelling it loses nothing. Raises `BrokenStreamError`."""

    async def join(self, stream: Stream) -> str:
        """Carry both ways between the client and a stream whose exit has accepted, until the end.

        Gives what it was cut for; an empty text is an end in order.
        """

    async def join_here(self, exit_: Exit, peer: Peer, early: bytes) -> None:
        """Carry to an exit of this endpoint; `early` was read from the client before.

        Raises:
            ZtmError: the exit did not accept; nothing was carried.
        """

    def abort(self, reason: str = "") -> None:
        """Cut the client off."""


class TcpClient:
    """An accepted connection."""

    __slots__ = ("_network", "_stream", "abort", "meter")

    def __init__(self, stream: Stream, network: Network) -> None:
        self._stream = stream
        self._network = network
        self.meter = Meter()
        self.abort = stream.abort

    @property
    def address(self) -> Address | None:
        """See `Client`."""
        return self._stream.remote

    @property
    def is_over(self) -> bool:
        """See `Client`."""
        return self._stream.is_over

    async def read(self) -> bytes:
        """See `Client`. What is read here passes by the splice, which counts the rest."""
        data = await self._stream.read()
        self.meter.sent += len(data)
        return data

    async def join(self, stream: Stream) -> str:
        """See `Client`."""
        try:
            await self._network.splice(self._stream, stream, self.meter)
        except BrokenStreamError as broken:
            return str(broken)  # either side cut it, and the other was cut as well
        return ""

    async def join_here(self, exit_: Exit, peer: Peer, early: bytes) -> None:
        """See `Client`."""

        def accept() -> Stream:
            self._stream.unread(early)
            self.meter.sent -= len(early)  # counted again by the splice
            return self._stream

        await exit_.carry(peer, accept, self.meter)


class UdpClient:
    """A sender of datagrams to one listening socket, for as long as it goes on."""

    __slots__ = ("_relay", "abort", "address", "listen", "meter", "read", "refused_until")

    def __init__(
        self, listen: Address, address: Address, socket: Datagrams, now: Callable[[], float], limits: StreamLimits
    ) -> None:
        self.listen = listen
        self.address = address
        self.refused_until = 0.0
        """On the network's clock; until then its datagrams are dropped, once it is over."""
        self.meter = meter = Meter()

        def emit(datagram: bytes) -> None:
            meter.received += len(datagram)
            socket.send(datagram, address)

        self._relay = relay = Relay(emit, now, limits)
        self.read = relay.read
        self.abort = relay.abort

    @property
    def is_over(self) -> bool:
        """See `Client`."""
        return self._relay.is_over

    def offer(self, datagram: bytes) -> None:
        """Take a datagram that the client sent; it may be dropped."""
        if self._relay.offer(datagram):
            self.meter.sent += len(datagram)

    async def join(self, stream: Stream) -> str:
        """See `Client`."""
        await self._relay.run(stream)
        return self._relay.ending

    async def join_here(self, exit_: Exit, peer: Peer, early: bytes) -> None:
        """See `Client`."""
        await exit_.carry_here(peer, self._relay, self.meter, early)


class UdpClients:
    """The UDP clients of one entrance, at most `StreamLimits.sessions`; the longest silent one makes room."""

    def __init__(self, network: Network, limits: StreamLimits, begin: Callable[[UdpClient], None]) -> None:
        self._network = network
        self.limits = limits
        """Of clients to come; may be replaced."""
        self._begin = begin
        self._clients: OrderedDict[tuple[Address, Address], UdpClient] = OrderedDict()
        """The one that sent last is at the end."""

    def received(self, listen: Address, socket: Datagrams, datagram: bytes, sender: Address) -> None:
        """Hand a datagram to its client, a new one if need be."""
        if not datagram:
            return
        key = (listen, sender)
        client = self._clients.get(key)
        if client is not None and client.is_over and client.refused_until > self._network.now():
            return
        if client is None or client.is_over:
            if len(self._clients) >= self.limits.sessions:
                self._clients.popitem(last=False)[1].abort("too many UDP clients; this one was silent longest")
            self._clients.pop(key, None)  # the new one goes to the end
            client = self._clients[key] = UdpClient(listen, sender, socket, self._network.now, self.limits)
            self._begin(client)
        else:
            self._clients.move_to_end(key)
        client.offer(datagram)

    def refuse(self, client: UdpClient) -> None:
        """No exit took a client: drop what it sends for a moment."""
        client.refused_until = self._network.now() + self.limits.refused_seconds

    def forget(self, client: UdpClient) -> None:
        """A client's session is over."""
        key = (client.listen, client.address)
        if self._clients.get(key) is client:
            del self._clients[key]

    def cut(self, listen: Address, reason: str) -> None:
        """Cut the clients of one listening socket."""
        for client in [one for one in self._clients.values() if one.listen == listen]:
            client.abort(reason)
