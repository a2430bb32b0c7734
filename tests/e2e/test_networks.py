"""A mesh whose processes use different networks is one mesh: nobody can tell who uses which."""

import importlib.util
import os
import socket
import threading

import pytest
from targets import Server, connected, echo, read_all, read_exactly
from world import Agent, Hub, World, open_tunnel, until

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("ztm_native"), reason="ztm-native is not installed")

MIXES = [
    ("native", "aio", "aio"),
    ("aio", "native", "native"),
    ("native", "native", "aio"),
    ("aio", "aio", "native"),
]
"""The networks of the hub, of the entrance and of the exit."""


def mixed(world: World, networks: tuple[str, str, str], patch: pytest.MonkeyPatch) -> tuple[Hub, Agent, Agent]:
    """A hub and two agents, each on its own network."""
    hub_net, home_net, workplace_net = networks
    patch.setenv("ZTM_NET", hub_net)
    hub = world.hub()
    patch.setenv("ZTM_NET", home_net)
    home = world.joined(hub, "home")
    patch.setenv("ZTM_NET", workplace_net)
    return hub, home, world.joined(hub, "workplace")


@pytest.mark.parametrize("networks", MIXES, ids="-".join)
def test_bytes_cross_a_mesh_of_both_networks_and_each_end_is_passed_on(
    world: World, networks: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, home, workplace = mixed(world, networks, monkeypatch)
    sent = os.urandom(4 << 20)
    with Server(echo) as server, connected(open_tunnel(home, workplace, server.port)) as connection:
        writer = threading.Thread(target=connection.sendall, args=(sent,))
        writer.start()
        got = read_exactly(connection, len(sent))
        writer.join()
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    assert got == sent


@pytest.mark.parametrize("networks", MIXES[:2], ids="-".join)
def test_agents_come_back_to_a_hub_that_was_restarted_on_another_network(
    world: World, networks: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, home, workplace = mixed(world, networks, monkeypatch)
    hub.stop()
    monkeypatch.setenv("ZTM_NET", networks[1])
    hub.start()
    for agent in (home, workplace):
        until(lambda agent=agent: agent.mesh["state"] == "connected", within=30, what=f"{agent.name} is connected")
