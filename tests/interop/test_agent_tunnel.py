"""Tunnels between two of our agents through a v1-like hub."""

import asyncio
from pathlib import Path

from tunnel_ends import client, datagrams, greet, talk, target
from v1_mesh import Party, V1Mesh, v1_mesh

from v1_http import PATIENCE


async def knows_exit(made: V1Mesh, party: Party, key: str, user: str = "root") -> None:
    """Wait until an agent has seen in the mesh's files that this tunnel has an exit."""
    path = f"/apps/ztm/tunnel/shared/{user}/{key}/"
    await made.hub.until(lambda: any(one.startswith(path) for one in made.hub.files))
    seen = asyncio.Event()
    stop = party.mesh.files.on_change(seen.set)
    async with asyncio.timeout(PATIENCE):
        while not any(one.startswith(path) for one in party.mesh.files.known()):
            seen.clear()
            await seen.wait()
    stop()


async def pair(made: V1Mesh, key: str, port: int) -> int:
    """A tunnel to `port` from one agent to another; where it listens."""
    near, far = await made.joined("near"), await made.joined("far")
    await far.outbound(key, port)
    await knows_exit(made, near, key)
    return await near.inbound(key)


async def test_tcp_goes_both_ways_with_half_close(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        listen = await pair(made, "tcp/web", port)
        assert await talk(listen, b"hello") == b"hello<end>"
        large = bytes(range(256)) * 8192
        assert await talk(listen, large) == large + b"<end>"


async def test_a_target_that_speaks_first_is_heard(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, target(greet) as port:
        listen = await pair(made, "tcp/ssh", port)
        async with client(listen) as (reader, _):
            assert await reader.readline() == b"SSH-2.0-x\r\n"


async def test_many_connections_at_once_cost_the_source_one_tls_connection(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        listen = await pair(made, "tcp/web", port)
        await talk(listen, b"first")
        await made.hub.until(lambda: sum(not link.is_control and not link.sids for link in made.hub.links) == 1)
        said = [b"%d" % number for number in range(20)]
        assert await asyncio.gather(*(talk(listen, one) for one in said)) == [one + b"<end>" for one in said]
        carrying = [link.apps for link in made.hub.links if link.apps]
        assert sum(carrying) == 21
        assert len(carrying) <= 2  # the first one goes by the control connection


async def test_passive_connections_are_closed_when_their_streams_are_over(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        listen = await pair(made, "tcp/web", port)
        await asyncio.gather(*(talk(listen, b"x") for _ in range(5)))
        passive = [session.link for session in made.hub.sessions.values()]
        assert len(passive) == 5
        await made.hub.until(lambda: all(link.http.closed.is_set() for link in passive))


async def test_udp_goes_both_ways(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, datagrams() as (server, _):
        listen = await pair(made, "udp/dns", server.get_extra_info("sockname")[1])
        async with datagrams(listen) as (socket, client):
            socket.sendto(b"question")
            assert await client.came.get() == b"re:question"
            socket.sendto(b"x" * 20_000)
            assert await client.came.get() == b"re:" + b"x" * 20_000


async def test_a_tunnel_works_again_after_the_hub_has_come_back(tmp_path: Path) -> None:
    async with v1_mesh(tmp_path) as made, target() as port:
        listen = await pair(made, "tcp/web", port)
        assert await talk(listen, b"a") == b"a<end>"
        before = len(made.hub.dialled)
        await made.hub.close()
        await made.hub.open()
        await made.hub.until(
            lambda: sum(one.is_control and not one.http.closed.is_set() for one in made.hub.links) == 2
        )
        assert await talk(listen, b"b") == b"b<end>"
        assert len(made.hub.dialled) - before <= 6
