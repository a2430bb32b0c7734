"""Switching the attached hub on request: it takes place, or nothing has changed."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ztm.agent.state import State
from ztm.errors import NotFoundError, UnreachableError
from ztm.hub.config import HubConfig
from ztm.hub.hub import Hub
from ztm.model import Address, HubInfo
from ztm.testing.mesh import HUB, HUB_PORT, MESH, SimEndpoint, SimMesh

SECOND = Address("10.0.0.2", HUB_PORT)


class TwoHubs(SimMesh):
    """A mesh with two hubs of one authority, of which endpoints are told the first."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        shutil.copytree(directory / "hub", directory / "second")
        config = HubConfig(data=directory / "second", listen=Address("0.0.0.0", HUB_PORT), names=(SECOND,))
        self.second = Hub(config, self.world.host(SECOND.host))

    async def announce(self, endpoint: SimEndpoint, *ports: Address) -> str:
        """Tell an endpoint of the second hub, as a hub does; its id."""
        second = self.second.state.id
        endpoint.mesh.learn_hub(HubInfo(second, ports or (SECOND,), "default"))
        return second

    async def close(self) -> None:
        await super().close()
        await self.second.close()


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[TwoHubs]:
    """Both hubs run."""
    made = TwoHubs(tmp_path)
    await made.start_hub()
    await made.second.start()
    yield made
    await made.close()


async def attach(endpoint: SimEndpoint, hub: str) -> None:
    await endpoint.api("POST", f"/api/meshes/{MESH}/hubs/{hub}", {"connected": True})


async def test_a_switch_is_done_when_it_is_answered(hubs: TwoHubs) -> None:
    (home,) = await hubs.join("home")
    first = home.mesh.hub_id
    second = await hubs.announce(home, Address("10.0.0.9", 1), SECOND)
    await attach(home, second)
    assert home.mesh.hub_id == second
    assert home.mesh.health.state is State.CONNECTED
    shown = await home.api("GET", f"/api/meshes/{MESH}/hubs")
    assert {hub: view.get("connected", False) for hub, view in shown.items()} == {first: False, second: True}
    assert (await home.api("GET", f"/api/meshes/{MESH}/endpoints"))[0]["hubs"] == [second]
    await attach(home, first)
    assert home.mesh.hub_id == first


async def test_app_streams_go_on_over_the_hub_that_was_left(hubs: TwoHubs) -> None:
    home, work = await hubs.join("home", "work")
    await work.open_outbound("tcp/echo", [await work.echo_server()])
    await home.open_inbound("tcp/echo", 1080)
    async with asyncio.timeout(10.0):
        while await home.echo(1080, b"hello") != b"hello":
            await asyncio.sleep(0.1)
    stream = await home.client(1080)
    await stream.write(b"before")
    assert await stream.read() == b"before"
    await attach(home, await hubs.announce(home))
    await stream.write(b"after")
    assert await stream.read() == b"after"
    stream.abort("enough")


async def test_a_hub_that_does_not_answer_leaves_the_present_link_as_it_is(hubs: TwoHubs) -> None:
    (home,) = await hubs.join("home")
    link, second = home.mesh.link(), await hubs.announce(home)
    await hubs.second.close()
    with pytest.raises(NotFoundError, match="answers at none of its addresses"):
        await attach(home, second)
    with pytest.raises(UnreachableError):
        await home.mesh.attach(SECOND)
    assert home.mesh.link() is link


async def test_the_other_hub_is_gone_back_to_when_the_new_one_dies(hubs: TwoHubs) -> None:
    (home,) = await hubs.join("home")
    first = home.mesh.hub_id
    await attach(home, await hubs.announce(home))
    hubs.world.host(SECOND.host).kill()
    async with asyncio.timeout(30.0):
        while home.mesh.hub_id != first or home.mesh.health.state is not State.CONNECTED:
            await asyncio.sleep(0.1)


async def test_a_mesh_without_a_hub_takes_the_one_that_is_asked_for(hubs: TwoHubs) -> None:
    (home,) = await hubs.join("home")
    second = await hubs.announce(home)
    hubs.world.host(HUB).kill()
    await attach(home, second)
    assert home.mesh.hub_id == second
    await hubs.connected()


async def test_of_many_switches_at_once_each_takes_place(hubs: TwoHubs) -> None:
    (home,) = await hubs.join("home")
    first, second = home.mesh.hub_id, await hubs.announce(home)
    await asyncio.gather(*(attach(home, hub) for hub in (second, first, second, first) * 3))
    assert home.mesh.hub_id in (first, second)
    await hubs.connected()
    assert not home.mesh._keeper._offer.is_set()
