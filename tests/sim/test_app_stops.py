"""Stopping an app in a whole mesh: its streams end on both sides, others go on, and its first use costs no waiting."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from local_api import Api, home_of

from ztm.errors import BrokenStreamError
from ztm.testing.mesh import SimMesh
from ztm.wire.records import AppChange


@pytest.fixture
async def mesh(tmp_path: Path) -> SimMesh:
    """A mesh of the test's own."""
    return SimMesh(tmp_path)


async def ends(api: Api, port: int) -> float:
    """Virtual seconds until a stream that says nothing ends."""
    loop = asyncio.get_running_loop()
    stream = await api.endpoint.client(port)
    await stream.write(b"hi")
    assert await stream.read() == b"hi"
    began = loop.time()
    with contextlib.suppress(BrokenStreamError):
        await stream.read()
    return loop.time() - began


@pytest.mark.parametrize("change", [AppChange(is_running=False), AppChange(is_disabled=True)])
@pytest.mark.parametrize("side", ["entrance", "exit"])
async def test_a_stopped_tunnel_carries_nothing_more(mesh: SimMesh, side: str, change: AppChange) -> None:
    home, work = await home_of(mesh), await home_of(mesh, "work")
    echo = await work.endpoint.echo_server()
    await work.endpoint.open_outbound("tcp/echo", [echo])
    await home.endpoint.open_inbound("tcp/echo", 1080)
    async with asyncio.timeout(60):
        while await home.endpoint.echo(1080, b"x") != b"x":
            await asyncio.sleep(0.1)
    ending = asyncio.ensure_future(ends(home, 1080))
    await asyncio.sleep(1)
    at = home if side == "entrance" else work
    await at.endpoint.mesh.host.change("ztm", "tunnel", change)
    assert await ending < 2.0
    assert not at.endpoint.mesh.host.app("ztm", "tunnel").is_running
    await mesh.close()


async def test_the_first_use_of_a_built_in_app_waits_for_nothing(mesh: SimMesh) -> None:
    """v1 sleeps for a second (F12); on virtual time whatever waits is seen."""
    home = await home_of(mesh)
    assert not home.endpoint.mesh.host.app("ztm", "tunnel").is_running
    loop = asyncio.get_running_loop()
    times = []
    for _ in range(2):
        began = loop.time()
        await home.ok("GET", "/apps/ztm/tunnel/api/appinfo")
        times.append(loop.time() - began)
    assert times[0] == times[1]
    assert home.endpoint.mesh.host.app("ztm", "tunnel").is_running
    await mesh.close()
