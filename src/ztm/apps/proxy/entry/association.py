"""A SOCKS5 client's UDP port: its datagrams to many destinations, each by a way of its own.

It takes datagrams from the client's address alone, holds a bounded number of destinations, and lives no longer than
the client's TCP connection. It puts no fragments together.

Source: RFC 1928 sections 6 and 7.
"""

import asyncio
from collections import OrderedDict

from ztm.apps.proxy.entry import socks5, socks_datagram
from ztm.apps.proxy.entry.client import Client, stopped
from ztm.apps.proxy.entry.destination import Destination
from ztm.apps.proxy.entry.socks5 import Reply
from ztm.errors import ConflictError, UsageError, ZtmError
from ztm.model import Address
from ztm.net.base import Datagrams, Meter
from ztm.net.relay import Relay

_Key = tuple[str, int]
"""Host and port as the client wrote them."""


class _Line:
    """What goes to one destination."""

    __slots__ = ("meter", "refused_until", "relay", "task")

    def __init__(self, relay: Relay, meter: Meter) -> None:
        self.relay = relay
        self.meter = meter
        self.task: asyncio.Task[None] | None = None
        self.refused_until = 0.0
        """On the monotonic clock; datagrams are dropped until then."""


class Association:
    """One UDP port for one client; `port` is the one that it says it will send from, or 0."""

    def __init__(self, client: Client, port: int) -> None:
        self._client = client
        self._network = client.house.network
        self._limits = client.limits
        self._sender_port = port
        self._socket: Datagrams | None = None
        self._lines: OrderedDict[_Key, _Line] = OrderedDict()
        """The one used last is at the end."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Tell the client its port, and serve it until the TCP connection ends.

        Raises:
            ConflictError: there is no port to be had.
            BrokenStreamError: the client is gone.
        """
        local = self._client.stream.local
        if local is None:
            raise ConflictError("this connection has no address on which a UDP port could be opened")
        self._socket = await self._network.listen_datagrams(Address(local.host, 0), self._received)
        try:
            bound = self._socket.address
            self._client.stream.write_now(socks5.answer(Reply.DONE, local.host, bound.port))
            while await self._client.stream.read():
                pass  # nothing is said here any more
        finally:
            self._socket.close()
            await stopped(*self._tasks)

    def _received(self, data: bytes, sender: Address) -> None:
        if sender.host != self._client.remote.host or self._sender_port not in (0, sender.port):
            return
        datagram = socks_datagram.read(data)
        if datagram is None:
            return
        self._sender_port = sender.port  # whoever came first: others on that machine are not this client
        line = self._line((datagram.host, datagram.port))
        if line is not None and line.relay.offer(datagram.payload):
            line.meter.sent += len(datagram.payload)

    def _line(self, key: _Key) -> _Line | None:
        """The line to a destination, a new one if need be; None while it is refused."""
        line = self._lines.get(key)
        if line is not None and not line.relay.is_over:
            self._lines.move_to_end(key)
            return line
        if line is not None and line.refused_until > self._network.now():
            return None
        try:
            destination = Destination.of(*key)
        except UsageError:
            return None
        self._make_room(key)
        line = self._lines[key] = self._new_line(key)
        line.task = asyncio.get_running_loop().create_task(self._carry(key, line, destination))
        self._tasks.add(line.task)
        line.task.add_done_callback(self._tasks.discard)
        return line

    def _make_room(self, key: _Key) -> None:
        self._lines.pop(key, None)
        if len(self._lines) >= self._limits.destinations:
            oldest = self._lines.popitem(last=False)[1].task
            if oldest is not None:
                oldest.cancel()

    def _new_line(self, key: _Key) -> _Line:
        head, meter = socks_datagram.head(*key), Meter()

        def emit(payload: bytes) -> None:
            if self._socket is not None:
                meter.received += len(payload)
                self._socket.send(head + payload, Address(self._client.remote.host, self._sender_port))

        return _Line(Relay(emit, self._network.now, self._limits.datagrams), meter)

    async def _carry(self, key: _Key, line: _Line, destination: Destination) -> None:
        """Be one line until it is idle, cut or refused."""
        try:
            with self._client.session("associate", destination, line.meter) as trail:
                passage = await self._client.house.way.open_datagrams(destination.host, destination.port)
                trail.target = passage.exit
                try:
                    await line.relay.run(passage.stream)
                finally:
                    passage.stream.abort("the association is over")
        except ZtmError as error:
            self._client.say(f"no datagrams to {destination}: {error}")
            line.refused_until = self._network.now() + self._limits.retry_seconds
        finally:
            line.relay.abort("it is over")
            if not line.refused_until and self._lines.get(key) is line:
                del self._lines[key]
