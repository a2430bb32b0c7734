"""What the mesh promises when hubs, agents and links fail: a whole mesh on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ztm.agent.state import State
from ztm.errors import BrokenStreamError, UnreachableError
from ztm.model import Address
from ztm.testing import run_virtual
from ztm.testing.mesh import HUB, MESH, SimEndpoint, SimMesh

RECOVERY = 3.0
"""Virtual seconds within which new connections succeed after the fault is over."""
NOTICE = 30.0
"""Virtual seconds within which both ends show a link that fell silent."""
TUNNEL = "tcp/echo"
PORT = 1080


def on_mesh(directory: Path, story: Callable[[SimMesh], Awaitable[None]]) -> None:
    async def main() -> None:
        mesh = SimMesh(directory)
        try:
            await story(mesh)
        finally:
            await mesh.close()

    run_virtual(main())


async def tunnelled(mesh: SimMesh, delay: float = 0.001) -> tuple[SimEndpoint, SimEndpoint]:
    a, b = await mesh.join("a", "b")
    for endpoint in (a, b):
        mesh.world.link(HUB, endpoint.ip, delay=delay)
    await b.open_outbound(TUNNEL, [await b.echo_server()])
    await a.open_inbound(TUNNEL, PORT)
    await echoes(a, within=5.0)
    return a, b


async def echoes(endpoint: SimEndpoint, *, within: float) -> float:
    """Try until a new connection works; the virtual seconds that it took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.timeout(within):
        while await try_echo(endpoint) != b"hello":
            await asyncio.sleep(0.1)
    return loop.time() - begin


async def try_echo(endpoint: SimEndpoint) -> bytes:
    try:
        async with asyncio.timeout(1.0):
            return await endpoint.echo(PORT, b"hello")
    except (TimeoutError, UnreachableError):
        return b""


def test_tunnels_work_again_within_seconds_of_a_killed_hub_listening(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await tunnelled(mesh)
        ids = a.id, b.id
        await mesh.kill_hub()
        await asyncio.sleep(20.0)
        await mesh.start_hub()
        await echoes(a, within=RECOVERY)
        assert (a.id, b.id) == ids

    on_mesh(tmp_path, story)


@pytest.mark.parametrize("which", ["entry", "exit"])
def test_tunnels_work_again_within_seconds_of_a_killed_agent_starting(tmp_path: Path, which: str) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await tunnelled(mesh)
        victim = a if which == "entry" else b
        await victim.kill()
        await asyncio.sleep(5.0)
        await victim.start()
        if victim is b:
            await b.echo_server()
        await echoes(a, within=RECOVERY)

    on_mesh(tmp_path, story)


@pytest.mark.parametrize("seconds", [1.0, 10.0, 25.0, 90.0])
@pytest.mark.parametrize("which", ["entry", "exit"])
def test_new_connections_succeed_within_seconds_of_a_cut_link_healing(
    tmp_path: Path, seconds: float, which: str
) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await tunnelled(mesh)
        ip = a.ip if which == "entry" else b.ip
        mesh.world.cut(HUB, ip)
        await asyncio.sleep(seconds)
        mesh.world.heal(HUB, ip)
        await echoes(a, within=RECOVERY)

    on_mesh(tmp_path, story)


def test_a_silent_link_is_shown_on_both_ends_within_half_a_minute(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await tunnelled(mesh)
        mesh.world.cut(HUB, a.ip)
        await asyncio.sleep(NOTICE)
        assert a.mesh.health.state is State.UNREACHABLE
        assert a.mesh.health.reason
        seen = {found["name"]: found["online"] for found in await b.api("GET", f"/api/meshes/{MESH}/endpoints")}
        assert seen == {"a": False, "b": True}

    on_mesh(tmp_path, story)


def test_a_question_to_a_hub_that_has_stopped_answering_is_answered_at_once_with_the_reason(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, _ = await tunnelled(mesh)
        mesh.world.cut(HUB, a.ip)
        while a.mesh.health.state is State.CONNECTED:
            await a.mesh.standing.turned()
        async with asyncio.timeout(0.5):
            with pytest.raises(UnreachableError, match="stopped answering"):
                await a.api("GET", f"/api/meshes/{MESH}/endpoints")

    on_mesh(tmp_path, story)


@pytest.mark.parametrize("which", ["entry", "exit"])
@pytest.mark.parametrize("seconds", [3.0, 8.0, 12.0, 15.0])
def test_an_open_stream_survives_a_short_cut(tmp_path: Path, seconds: float, which: str) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await tunnelled(mesh)
        await asyncio.sleep(7.0)  # sessions for app streams are open, and pings have begun
        ip = a.ip if which == "entry" else b.ip
        stream = await a.client(PORT)
        await stream.write(b"before")
        assert await stream.read() == b"before"
        mesh.world.cut(HUB, ip)
        await asyncio.sleep(seconds)
        mesh.world.heal(HUB, ip)
        await stream.write(b"after")
        async with asyncio.timeout(RECOVERY):
            assert await stream.read() == b"after"
        await asyncio.sleep(60.0)
        await stream.write(b"later")
        assert await stream.read() == b"later"

    on_mesh(tmp_path, story)


def test_an_open_stream_is_cut_when_the_hub_dies(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, _ = await tunnelled(mesh)
        stream = await a.client(PORT)
        await stream.write(b"x")
        assert await stream.read() == b"x"
        await mesh.kill_hub()
        with pytest.raises(BrokenStreamError):
            async with asyncio.timeout(1.0):
                await stream.read()

    on_mesh(tmp_path, story)


def test_a_new_connection_takes_one_round_trip_of_the_whole_way(tmp_path: Path) -> None:
    """20 ms each way on both legs: 80 ms there and back, and nothing is asked before."""

    async def story(mesh: SimMesh) -> None:
        a, _ = await tunnelled(mesh, delay=0.020)
        await asyncio.sleep(5.0)  # the sessions for app streams are open
        loop = asyncio.get_running_loop()
        begin = loop.time()
        stream = await a.client(PORT)
        await stream.write(b"hello")
        assert await stream.read() == b"hello"
        assert loop.time() - begin < 0.085

    on_mesh(tmp_path, story)


def test_a_client_that_comes_just_before_its_exit_is_known_is_served(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await mesh.join("a", "b")
        target = await b.echo_server()
        await a.open_inbound(TUNNEL, PORT)
        await b.open_outbound(TUNNEL, [target])
        assert await a.echo(PORT, b"hello") == b"hello"

    on_mesh(tmp_path, story)


def test_new_connections_in_steady_state_open_no_sessions(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, _ = await tunnelled(mesh)
        await asyncio.sleep(1.0)
        assert mesh.hub is not None
        held = len(mesh.hub.state.links)
        for _ in range(50):
            assert await a.echo(PORT, b"hello") == b"hello"
        assert len(mesh.hub.state.links) == held
        assert held <= 4  # two control sessions, one session for streams at each end

    on_mesh(tmp_path, story)


def test_nothing_is_left_of_connections_that_leave_at_any_moment(tmp_path: Path) -> None:
    """A client that goes away after any number of milliseconds leaves no stream at either agent or the hub."""

    async def story(mesh: SimMesh) -> None:
        a, _ = await tunnelled(mesh, delay=0.005)
        await asyncio.sleep(1.0)
        for step in range(60):
            stream = await a.client(PORT)
            stream.write_now(b"x" * 1000)
            await asyncio.sleep(step * 0.001)
            stream.abort("gone")
        await asyncio.sleep(1.0)
        assert mesh.hub is not None
        assert mesh.hub.state.relayed == 0
        assert await a.echo(PORT, b"hello") == b"hello"

    on_mesh(tmp_path, story)


def test_an_eviction_cuts_live_streams_within_a_second_and_the_agent_says_so(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        (root,) = await mesh.join("r")
        await asyncio.sleep(2.0)
        (alice,) = await mesh.join("laptop", user="alice")
        await root.open_outbound(TUNNEL, [await root.echo_server()], users=["alice"])
        await alice.tunnel(
            "POST",
            f"inbound/{TUNNEL}",
            {"listens": [{"ip": "127.0.0.1", "port": PORT}], "exits": [root.id], "fromUsers": ["root"]},
        )
        await echoes(alice, within=5.0)
        stream = await alice.client(PORT)
        await stream.write(b"x")
        assert await stream.read() == b"x"
        await root.api("DELETE", f"/api/meshes/{MESH}/users/alice")
        with pytest.raises(BrokenStreamError):
            async with asyncio.timeout(1.0):
                await stream.read()
        await asyncio.sleep(5.0)
        assert alice.mesh.health.state is State.EVICTED

    on_mesh(tmp_path, story)


def test_another_users_outbound_of_the_same_name_is_never_used(tmp_path: Path) -> None:
    async def story(mesh: SimMesh) -> None:
        a, b = await tunnelled(mesh)
        (mallory,) = await mesh.join("m", user="mallory")

        async def trap(stream: object) -> None:
            raise AssertionError("root's connection came to mallory")

        listener = await mallory.network.listen(Address("127.0.0.1", 9000), trap)  # type: ignore[arg-type]
        await mallory.open_outbound(TUNNEL, [listener.address], users=[])
        await asyncio.sleep(3.0)
        for _ in range(20):
            assert await a.echo(PORT, b"hello") == b"hello"
        await b.kill()
        await asyncio.sleep(1.0)
        assert await a.echo(PORT, b"hello") == b""

    on_mesh(tmp_path, story)
