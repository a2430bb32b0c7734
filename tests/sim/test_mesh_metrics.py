"""What hub and agents count, on a whole mesh in virtual time."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from ztm.agent.metrics import families as agent_families
from ztm.agent.metrics import ills
from ztm.errors import ZtmError
from ztm.hub.metrics import families as hub_families
from ztm.testing import run_virtual
from ztm.testing.mesh import MESH, SimEndpoint, SimMesh

PORT = 1080


def numbers(families: Iterable[Metric]) -> dict[str, float]:
    """Name, with the value of its label if it has one, to number."""
    return {
        ":".join((sample.name.removeprefix("ztm_"), *sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def of_hub(mesh: SimMesh) -> dict[str, float]:
    assert mesh.hub is not None
    return numbers(hub_families(mesh.hub.state))


def of_agent(endpoint: SimEndpoint) -> dict[str, float]:
    assert endpoint.agent is not None
    return numbers(agent_families(endpoint.agent))


async def tunnelled(mesh: SimMesh) -> tuple[SimEndpoint, SimEndpoint]:
    a, b = await mesh.join("a", "b")
    await b.open_outbound("tcp/echo", [await b.echo_server()])
    await a.open_inbound("tcp/echo", PORT)
    async with asyncio.timeout(10):
        while await a.echo(PORT, b"hello") != b"hello":
            await asyncio.sleep(0.1)
    return a, b


def test_a_hub_counts_what_it_relays_by_direction(tmp_path: Path) -> None:
    async def story() -> None:
        mesh = SimMesh(tmp_path)
        a, b = await tunnelled(mesh)
        before = of_hub(mesh)
        async with asyncio.timeout(10):
            assert await a.echo(PORT, b"x" * 5000) == b"x" * 5000
        after = of_hub(mesh)
        for direction in ("to_target", "from_target"):
            name = f"hub_relayed_bytes_total:{direction}"
            assert after[name] - before[name] == pytest.approx(5000, abs=500), "the bytes, and a head before them"
        assert after["hub_streams_joined_total"] - before["hub_streams_joined_total"] >= 1
        assert (after["hub_endpoints:online"], after["hub_endpoints:offline"]) == (2, 0)
        assert after["hub_sessions:control"] == 2
        assert after["hub_sessions_accepted_total"] == 2
        assert after["hub_ca_days_left"] > 36000
        await b.kill()
        async with asyncio.timeout(120):
            while of_hub(mesh)["hub_endpoints:offline"] != 1:
                await asyncio.sleep(1)
        await mesh.close()

    run_virtual(story())


def test_a_hub_counts_refusals_by_reason(tmp_path: Path) -> None:
    async def story() -> None:
        mesh = SimMesh(tmp_path)
        a, b = await tunnelled(mesh)
        assert mesh.hub is not None
        before = of_hub(mesh)
        await b.tunnel("DELETE", "outbound/tcp/echo")
        with pytest.raises(ZtmError):
            await a.tunnel("GET", "outbound/tcp/echo", at="00000000-0000-4000-8000-000000000000")
        after = of_hub(mesh)
        name = "hub_streams_refused_total:unknown"
        assert after[name] == before[name] + 1
        mesh.hub.state.evict("alice", None)
        assert of_hub(mesh)["hub_evictions"] == 1
        await mesh.close()

    run_virtual(story())


def test_no_label_names_an_endpoint_a_user_or_an_address(tmp_path: Path) -> None:
    async def story() -> None:
        mesh = SimMesh(tmp_path)
        a, b = await tunnelled(mesh)
        found = [*of_hub(mesh), *of_agent(a), *of_agent(b)]
        for secret in (a.id, b.id, "root", "10.0.", "tcp/echo"):
            assert not [name for name in found if secret in name]
        labels = {name.split(":", 1)[1] for name in of_agent(a) if name.startswith(("mesh_", "app_"))}
        assert labels == {MESH}
        await mesh.close()

    run_virtual(story())


def test_an_agent_counts_its_tunnels_and_never_counts_back(tmp_path: Path) -> None:
    async def story() -> None:
        mesh = SimMesh(tmp_path)
        a, b = await tunnelled(mesh)
        await a.echo(PORT, b"x" * 1000)
        before = of_agent(a), of_agent(b)
        assert before[0][f"app_tunnel_inbounds:{MESH}"] == before[1][f"app_tunnel_outbounds:{MESH}"] == 1
        assert before[0][f"app_tunnel_inbound_sent_bytes_total:{MESH}"] >= 1000
        assert before[1][f"app_tunnel_outbound_received_bytes_total:{MESH}"] >= 1000
        await a.tunnel("DELETE", "inbound/tcp/echo")
        await b.tunnel("DELETE", "outbound/tcp/echo")
        after = of_agent(a), of_agent(b)
        assert after[0][f"app_tunnel_inbounds:{MESH}"] == after[1][f"app_tunnel_outbounds:{MESH}"] == 0
        for was, now in zip(before, after, strict=True):
            for name in was:
                assert "_total" not in name or now[name] >= was[name], name
        await mesh.close()

    run_virtual(story())


def test_an_agent_is_well_while_its_meshes_are_connected_or_switched_off(tmp_path: Path) -> None:
    async def story() -> None:
        mesh = SimMesh(tmp_path)
        (a,) = await mesh.join("a")
        assert a.agent is not None
        assert ills(a.agent) == []
        assert of_agent(a)["agent_meshes:connected"] == of_agent(a)[f"mesh_connected:{MESH}"] == 1
        assert of_agent(a)[f"mesh_connects_total:{MESH}"] == 1
        assert of_agent(a)[f"mesh_certificate_days_left:{MESH}"] >= 364
        await mesh.kill_hub()
        async with asyncio.timeout(60):
            while not ills(a.agent):
                await a.mesh.standing.turned()
        assert ills(a.agent)[0].startswith(f"mesh {MESH} is unreachable: ")
        assert of_agent(a)[f"mesh_connected:{MESH}"] == 0
        await mesh.start_hub()
        await mesh.connected()
        assert of_agent(a)[f"mesh_connects_total:{MESH}"] == 2
        await a.api("POST", f"/api/meshes/{MESH}", {"agent": {"offline": True}})
        assert ills(a.agent) == []
        assert of_agent(a)["agent_meshes:offline"] == 1
        await mesh.close()

    run_virtual(story())
