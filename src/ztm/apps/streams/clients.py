"""The clients of an entrance, TCP connections and UDP senders, seen alike by whoever finds them an exit.

They carry bytes once an exit has accepted; they choose nothing.
"""

from collections.abc import Callable
from typing import Protocol

from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.traffic import Accept
from ztm.errors import BrokenStreamError
from ztm.model import Address, Peer
from ztm.net.base import Datagrams, Meter, Network, Relaying, Stream
from ztm.net.relay import Relay


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
    """A sender of datagrams to one listening socket, for as long as it goes on.

    What it sends waits here until an exit has accepted; then the network carries it.
    """

    __slots__ = (
        "_heard",
        "_limits",
        "_network",
        "_relay",
        "_relaying",
        "_socket",
        "address",
        "listen",
        "meter",
        "read",
        "refused_until",
    )

    def __init__(
        self, listen: Address, address: Address, socket: Datagrams, network: Network, limits: StreamLimits
    ) -> None:
        self.listen = listen
        self.address = address
        self.refused_until = 0.0
        """On the network's clock; until then its datagrams are dropped, once it is over."""
        self.meter = meter = Meter()
        self._socket = socket
        self._network = network
        self._limits = limits
        self._heard = network.now()
        self._relaying: Relaying | None = None

        def emit(datagram: bytes) -> None:
            meter.received += len(datagram)
            socket.send(datagram, address)

        self._relay = relay = Relay(emit, network.now, limits)
        self.read = relay.read

    @property
    def is_over(self) -> bool:
        """See `Client`."""
        return self._relay.is_over if self._relaying is None else self._relaying.is_over

    @property
    def silence(self) -> float:
        """Seconds since it sent last."""
        return self._network.now() - self._heard if self._relaying is None else self._relaying.silence

    def offer(self, datagram: bytes) -> None:
        """Take a datagram that the client sent; it may be dropped."""
        self._heard = self._network.now()
        if self._relay.offer(datagram):
            self.meter.sent += len(datagram)

    def abort(self, reason: str = "") -> None:
        """See `Client`."""
        (self._relay if self._relaying is None else self._relaying).abort(reason)

    async def join(self, stream: Stream) -> str:
        """See `Client`."""
        if self._relay.is_over:  # it was cut before
            stream.abort(self._relay.ending)
            return self._relay.ending
        early = self._relay.drain()
        self._relaying = relaying = self._network.relay(self._socket, self.address, stream, self._limits, early)
        self.meter.follow(relaying.taken, relaying.given)
        await relaying.ended()
        return relaying.ending

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
        self._clients: dict[tuple[Address, Address], UdpClient] = {}

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
                self._evict()
            client = self._clients[key] = UdpClient(listen, sender, socket, self._network, self.limits)
            self._begin(client)
        client.offer(datagram)

    def _evict(self) -> None:
        """Make room for one more. Only the network knows who sent when, as it carries the datagrams."""
        key = max(self._clients, key=lambda each: self._clients[each].silence)
        self._clients.pop(key).abort("too many UDP clients; this one was silent longest")

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
