"""Datagrams through an exit of the proxy: the same questions as for streams, and sessions that end."""

import asyncio
import socket
from dataclasses import replace

import pytest
from app_mesh import LOOPBACK, free_port
from proxy_mesh import QUICK, ProxyMesh, proxies

from ztm.errors import BrokenStreamError, ForbiddenError, NotFoundError
from ztm.model import Address
from ztm.net.base import Datagrams, Stream
from ztm.wire.datagram import Decoder, encode


async def echoing(mesh: ProxyMesh) -> Datagrams:
    """A UDP port that sends back what it gets, with a mark."""
    sockets: list[Datagrams] = []

    def received(data: bytes, sender: Address) -> None:
        sockets[0].send(b"re:" + data, sender)

    sockets.append(await mesh.network.listen_datagrams(Address(LOOPBACK, free_port(socket.SOCK_DGRAM)), received))
    return sockets[0]


async def datagram(stream: Stream) -> bytes:
    decoder = Decoder()
    while True:
        if found := decoder.feed(await stream.read()):
            return found[0]


async def opened(mesh: ProxyMesh, host: str, port: int) -> Stream:
    route = mesh.apps[mesh.place("entry")].proxy.route
    return (await route.open_datagrams(host, port)).stream


@pytest.mark.parametrize("exit_", ["exit", "entry"])
async def test_datagrams_go_both_ways_whole_and_are_audited(exit_: str) -> None:
    async with proxies() as mesh:
        server = await echoing(mesh)
        for name in ("entry", "exit"):
            await mesh.join(name)
        await mesh.configure(exit_, targets=["127.0.0.0/8"])
        stream = await opened(mesh, LOOPBACK, server.address.port)
        for said in (b"x", b"y" * 40_000):
            await stream.write(encode(said))
            assert await datagram(stream) == b"re:" + said
        stream.end()
        await mesh.audited(exit_, 1)
        (trail,) = mesh.trails(exit_)
        assert (trail.action, trail.meter.sent, trail.meter.received) == ("associate", 40_001, 40_007)
        server.close()


async def test_datagrams_are_put_to_the_same_rules_and_cut_when_these_change() -> None:
    async with proxies() as mesh:
        server = await echoing(mesh)
        mesh.names["inside.test"] = mesh.names["fine.test"] = [LOOPBACK]
        for name in ("entry", "exit"):
            await mesh.join(name)
        await mesh.configure("exit", targets=["*"], rules=[{"targets": ["inside.test"], "action": "deny"}])
        with pytest.raises(ForbiddenError):
            await opened(mesh, "inside.test", server.address.port)
        with pytest.raises(NotFoundError):
            await opened(mesh, "nowhere.test", 53)
        stream = await opened(mesh, "fine.test", server.address.port)
        await mesh.configure("exit", targets=["*"], exclusions=["127.0.0.0/8"])
        with pytest.raises(BrokenStreamError):
            await stream.read()
        server.close()


async def test_a_silent_session_ends() -> None:
    async with proxies(limits=replace(QUICK, idle_seconds=0.05)) as mesh:
        server = await echoing(mesh)
        for name in ("entry", "exit"):
            await mesh.join(name)
        await mesh.configure("exit", targets=["127.0.0.0/8"])
        stream = await opened(mesh, LOOPBACK, server.address.port)
        async with asyncio.timeout(5):
            assert await stream.read() == b""
        stream.end()
        await mesh.audited("exit", 1)
        server.close()
