"""Meshes by post-quantum algorithms, by the names that the options take (native network only)."""

import importlib.util
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from targets import Server, connected, echo, read_all, read_exactly
from world import Agent, Hub, World, one_line, open_tunnel, run_ztm, until

from ztm import pki

native = pytest.mark.skipif(
    importlib.util.find_spec("ztm_native") is None or os.environ.get("ZTM_NET") == "aio",
    reason="Python's ssl cannot be told the key exchange, and has ML-DSA only where OpenSSL is new",
)
EXCHANGES = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
SIZE = 1 << 20


def exchange(name: str) -> dict[str, Any]:
    """A process that uses this key exchange and no other."""
    return {"options": ["--pqc-key-exchange", name]}


def join(hub: Hub, name: str) -> list[object]:
    """The words that join by root's permit; soon told if that fails."""
    return ["join", "my-mesh", "--as", name, "--permit", hub.permit, "--timeout", "3"]


def carry(entrance: Agent, exit_: Agent) -> None:
    """A tunnel carries bytes both ways, and the end."""
    sent = os.urandom(SIZE)
    with Server(echo) as server, connected(open_tunnel(entrance, exit_, server.port)) as connection:
        writer = threading.Thread(target=connection.sendall, args=(sent,))
        writer.start()
        got = read_exactly(connection, len(sent))
        writer.join()
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    assert got == sent


def kind_of_key(permit: Path) -> str:
    """What the holder of a permit signs with."""
    return pki.certified_kind(pki.parse_permit(permit.read_text(), datetime.now(UTC)).certificate)


@native
@pytest.mark.parametrize("name", EXCHANGES)
def test_a_mesh_by_one_key_exchange_carries_bytes(world: World, name: str) -> None:
    hub = world.hub(**exchange(name))
    home, workplace = (world.joined(hub, agent, **exchange(name)) for agent in ("home", "workplace"))
    carry(home, workplace)


@native
@pytest.mark.parametrize(
    "options", [{}, exchange("ML-KEM-1024"), {"prefix": ["env", "ZTM_NET=aio"]}], ids=["usual", "another", "portable"]
)
def test_who_lacks_the_hubs_key_exchange_is_not_connected_and_nobody_falls_back(
    world: World, options: dict[str, Any]
) -> None:
    hub = world.hub(**exchange("ML-KEM-768"))
    stranger = world.agent("stranger", **options)
    said = stranger.fails(*join(hub, "stranger"))
    assert "--pqc-key-exchange" in said
    assert stranger.mesh["connected"] is False
    world.joined(hub, "friend", **exchange("ML-KEM-768"))


@native
def test_who_insists_on_a_key_exchange_is_not_connected_to_a_hub_without_it(world: World) -> None:
    hub = world.hub()
    strict = world.agent("strict", **exchange("ML-KEM-768"))
    assert "--pqc-key-exchange" in strict.fails(*join(hub, "strict"))
    assert strict.mesh["connected"] is False


@native
@pytest.mark.parametrize("kind", ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"])
def test_a_mesh_whose_keys_are_of_a_post_quantum_kind_carries_bytes_of_root_and_of_others(
    world: World, kind: str
) -> None:
    options = {"options": ["--pqc-signature", kind, "--pqc-key-exchange", "ML-KEM-768"]}
    hub = world.hub(**options)
    home = world.joined(hub, "home", **options)
    alice = world.agent("alice", **options)
    permit = world.permit(home, alice, "alice")
    alice.ok("join", "my-mesh", "--as", "alice", "--permit", permit)
    carry(home, world.joined(hub, "workplace", **options))
    assert (kind_of_key(hub.permit), kind_of_key(permit)) == (kind, kind)
    assert alice.mesh["connected"] is True


@native
def test_a_hub_goes_on_with_post_quantum_keys_after_a_restart(world: World) -> None:
    options = {"options": ["--pqc-signature", "ML-DSA-65", "--pqc-key-exchange", "ML-KEM-1024"]}
    hub = world.hub(**options)
    home, workplace = (world.joined(hub, name, **options) for name in ("home", "workplace"))
    hub.stop()
    hub.start()
    for agent in (home, workplace):
        until(lambda agent=agent: agent.mesh["connected"], within=30, what=f"{agent.name} is back")
    carry(home, workplace)


def test_a_network_that_cannot_be_told_the_key_exchange_is_named_and_nothing_starts(tmp_path: Path) -> None:
    words = ["run", "hub", "--names", "127.0.0.1:1", "--data", tmp_path / "data", "--pqc-key-exchange", "ML-KEM-768"]
    said = one_line(run_ztm(tmp_path, *words, env={"ZTM_NET": "aio"}), 1)
    assert "ML-KEM-768 is not available: Python's ssl module" in said
    assert not (tmp_path / "data").exists()
