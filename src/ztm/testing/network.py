"""One simulated host behind the network seam.

Streams, sessions and splices are the very code that runs on real sockets; only the sockets are simulated. Certificates
are checked as TLS would check them, and nothing is encrypted.
"""

import asyncio
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ztm.errors import BrokenStreamError, CertificateError, ConflictError, DeadlineError, UnreachableError
from ztm.model import Address
from ztm.net.aio import FlowNetwork
from ztm.net.base import Accept, Datagrams, Listener, LocalListener, Received, Stream, TlsConfig
from ztm.net.listener import check_peer
from ztm.testing.datagrams import SimDatagrams
from ztm.testing.link import Link, Wire
from ztm.testing.port import SimPort, check_config, judge
from ztm.testing.stream import RESET, SimStream, pair

if TYPE_CHECKING:
    from ztm.testing.world import SimWorld

FIRST_EPHEMERAL = 49152
"""Where ports that were not asked for begin (RFC 6335 section 6)."""
LOOPBACK = "127.0.0.1"
ANY = ("0.0.0.0", "::")
CLIENT_HELLO = b"\x16\x03\x01"
"""How the bytes begin that a plain listener sees when TLS is spoken to it."""


class SimNetwork(FlowNetwork):
    """See `net.base.Network`: one host of a `SimWorld`."""

    def __init__(self, world: "SimWorld", ip: str, *, own: bool = True) -> None:
        self.world = world
        self.ip = ip
        self.own = own
        self._ports: dict[Address, SimPort] = {}
        self._datagrams: dict[Address, SimDatagrams] = {}
        self._streams: set[SimStream] = set()
        self._ephemeral = FIRST_EPHEMERAL

    def now(self) -> float:
        """See `net.base.Network`."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """See `net.base.Network`."""
        return self.world.wall()

    # ------------------------------------------------------------------ TCP

    async def dial(self, address: Address, tls: TlsConfig | None = None, *, timeout: float = 10.0) -> Stream:
        """See `net.base.Network`."""
        if tls is not None:
            check_config(tls)
        to = self._resolve(address)
        try:
            async with asyncio.timeout(timeout):
                stream, port = await self._connect(to)
                if tls is not None:
                    await self._secure(stream, tls, port)
        except TimeoutError as error:
            raise DeadlineError(f"no answer from {address} within {timeout:g} s") from error
        if tls is not None:
            check_peer(stream, tls.admit)
        return stream

    async def _connect(self, to: Address) -> tuple[SimStream, SimPort]:
        """The three-way handshake."""
        there, back = self._wires(to.host)
        try:
            await there.cross()
            host = self._host(to.host)
            if host is None:
                await asyncio.get_running_loop().create_future()  # nobody is there to say no
                raise AssertionError
            port = host.port(to)
            await back.cross()
            if port is None:
                raise UnreachableError(f"cannot connect to {to}: connection refused (nothing listens there)")
        except BaseException:
            there.close()
            back.close()
            raise
        near, far = pair(there, back, Address(self._own_ip(to.host), self._free_port()), to)
        self._keep(near)
        host._keep(far)
        there.send(0, lambda: port.take(far))
        return near, port

    async def _secure(self, near: SimStream, tls: TlsConfig, port: SimPort) -> None:
        """The client's side of a TLS 1.3 handshake: one round trip; what the server thinks of it shows later."""
        try:
            await near.round_trip()
            if port.tls is None:
                near.write_now(CLIENT_HELLO)
                await near.read()
                raise UnreachableError(f"cannot connect to {near.remote}: it does not speak TLS")
            near.secure(judge(port.tls, tls, self.wall(), server=True), is_own=self.own and port.is_own)
        except CertificateError as error:
            near.abort()
            raise CertificateError(f"{near.remote} shows no valid certificate: {error}") from error
        except BrokenStreamError as error:
            raise UnreachableError(f"cannot connect to {near.remote}: {error}") from error
        except BaseException:
            near.abort()
            raise
        near.tell(lambda far: port.judge(far, tls, is_own=near.is_own))

    async def resolve(self, host: str, *, timeout: float = 5.0) -> list[str]:  # noqa: ARG002
        """See `net.base.Network`."""
        return [self._resolve(Address(host, 0)).host]

    async def listen(
        self, address: Address, accept: Accept, tls: TlsConfig | None = None, *, handshakes: int = 256
    ) -> Listener:
        """See `net.base.Network`."""
        if tls is not None:
            check_config(tls)
        bound = self._bind(address, "", {(kept.host, kept.port) for kept in self._ports})
        port = SimPort(self, bound, accept, tls, handshakes)
        self._ports[bound] = port
        return port

    def port(self, to: Address) -> SimPort | None:
        """The listening port that a connection to `to` reaches."""
        found = (self._ports.get(Address(host, to.port)) for host in (to.host, *ANY))
        return next((port for port in found if port is not None), None)

    def unlisten(self, address: Address) -> None:
        """A listening port was closed."""
        self._ports.pop(address, None)

    async def listen_local(self, path: Path, accept: Accept, admit: Callable[[int], bool]) -> LocalListener:  # noqa: ARG002
        """See `net.base.Network`; a simulated host has one user and no files."""
        raise ConflictError(f"cannot listen on {path}: a simulated host has no Unix sockets")

    # ------------------------------------------------------------------ UDP

    async def listen_datagrams(self, address: Address, received: Received) -> Datagrams:
        """See `net.base.Network`."""
        bound = self._bind(address, " (udp)", {(kept.host, kept.port) for kept in self._datagrams})
        self._datagrams[bound] = SimDatagrams(self, bound, None, received)
        return self._datagrams[bound]

    async def dial_datagrams(self, address: Address, received: Received) -> Datagrams:
        """See `net.base.Network`."""
        to = self._resolve(address)
        own = Address(self._own_ip(to.host), self._free_port())
        self._datagrams[own] = SimDatagrams(self, own, to, received)
        return self._datagrams[own]

    def carry_datagram(self, data: bytes, source: Address, to: Address) -> None:
        """Send one datagram on its way; it may be lost."""
        link = self._link(to.host)
        if not link.is_up or link.loses():
            return
        at = link.arrival(len(data), forth=self.ip <= to.host)
        source = Address(self._own_ip(to.host), source.port)
        asyncio.get_running_loop().call_at(at, self._arrive, link, data, source, to)

    def _arrive(self, link: Link, data: bytes, source: Address, to: Address) -> None:
        host = self._host(to.host)
        if host is None or not link.is_up:
            return
        for bound in (to.host, *ANY):
            if socket := host._datagrams.get(Address(bound, to.port)):
                socket.receive(data, source)

    def close_datagrams(self, address: Address) -> None:
        """A UDP socket was closed."""
        self._datagrams.pop(address, None)

    # ------------------------------------------------------------------ faults

    def reset(self, link: Link) -> None:
        """Break this host's ends of all connections over `link`."""
        for stream in [kept for kept in self._streams if kept.link is link]:
            stream.cut(RESET)

    def kill(self) -> None:
        """See `SimWorld.kill`."""
        for port in list(self._ports.values()):
            port.kill()
        for stream in list(self._streams):
            stream.abort("the host was killed")
        for socket in list(self._datagrams.values()):
            socket.close()

    # ------------------------------------------------------------------ addresses

    def _resolve(self, address: Address) -> Address:
        ip = self.world.names.get(address.host, address.host)
        try:
            ipaddress.ip_address(ip)
        except ValueError:
            raise UnreachableError(f"cannot connect to {address}: the name does not resolve") from None
        return Address(ip, address.port)

    def _bind(self, address: Address, kind: str, used: set[tuple[str, int]]) -> Address:
        host = self.world.names.get(address.host, address.host)
        if host not in (self.ip, LOOPBACK, *ANY):
            raise ConflictError(f"cannot listen on {address}{kind}: the address is not one of this machine's")
        rivals = (host, *ANY) if host not in ANY else (self.ip, LOOPBACK, *ANY)
        if any((rival, address.port) in used for rival in rivals):
            raise ConflictError(f"cannot listen on {address}{kind}: the address is in use by another program")
        return Address(host, address.port or self._free_port())

    def _free_port(self) -> int:
        self._ephemeral += 1
        return self._ephemeral

    def _own_ip(self, to: str) -> str:
        return LOOPBACK if to == LOOPBACK else self.ip

    def _host(self, ip: str) -> "SimNetwork | None":
        return self if ip == LOOPBACK else self.world.find(ip)

    def _link(self, ip: str) -> Link:
        return self.world.between(self.ip, self.ip if ip == LOOPBACK else ip)

    def _wires(self, ip: str) -> tuple[Wire, Wire]:
        link, forth = self._link(ip), self.ip <= ip
        return Wire(link, forth=forth), Wire(link, forth=not forth)

    def _keep(self, stream: SimStream) -> None:
        self._streams.add(stream)
        stream.gone = self._streams.discard
