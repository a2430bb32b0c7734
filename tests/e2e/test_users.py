"""What two users of one mesh may do with one another's things, and what an eviction ends."""

import contextlib
import json
import time

import pytest
from targets import Server, connected, echo, is_reset, read_exactly, say, works
from world import World, await_exit, free_port, open_tunnel, until


def test_root_cannot_operate_another_users_endpoint(mesh) -> None:
    for words in (
        ("tunnel", "get", "inbound"),
        ("tunnel", "open", "outbound", "tcp/x", "--targets", "1"),
        ("tunnel", "open", "inbound", "tcp/x", "--listen", free_port()),
        ("tunnel", "close", "inbound", "tcp/x"),
        ("label", "--add", "x"),
    ):
        assert "alice" in mesh.home.fails("ep", "alice", *words), words
    mesh.home.fails("log", "ep", "alice")
    assert mesh.alice.ok("tunnel", "get", "inbound").rows == []
    assert mesh.alice.ok("label").out == ""


def test_a_user_cannot_operate_roots_endpoints(mesh) -> None:
    mesh.alice.fails("ep", "home", "tunnel", "get", "inbound")
    mesh.alice.fails("ep", "home", "tunnel", "open", "outbound", "tcp/x", "--targets", "1")
    mesh.alice.fails("ep", "home", "label", "--add", "x")
    hub_id = mesh.alice.ok("get", "hub", "-o", "json").json[0]["id"]
    assert "root" in mesh.alice.fails("log", "hub", hub_id)


def test_only_root_invites_and_evicts(mesh) -> None:
    identity = mesh.alice.ok("identity").out
    assert "only root may invite" in mesh.alice.fails("invite", "mallory", "-i", "-", stdin=identity)
    assert "only root may evict" in mesh.alice.fails("evict", "bob")
    assert "root cannot be evicted" in mesh.alice.fails("evict", "root")
    assert "root cannot be evicted" in mesh.home.fails("evict", "root")


@pytest.mark.parametrize("name", ["ca", "hub/x", "a/b", "..", " a", "a\nb", "a" * 300])
def test_names_that_are_no_users_are_not_invited(name: str, mesh) -> None:
    ran = mesh.home.ztm("invite", name, "-i", "-", stdin=mesh.alice.ok("identity").out)
    assert ran.status in (1, 2)
    assert ran.out == ""


def test_an_outbound_is_its_owners_alone_unless_opened(mesh) -> None:
    key, port = "tcp/private", free_port()
    with Server(echo) as server:
        mesh.home.ok("tunnel", "open", "outbound", key, "--targets", server.port)
        mesh.alice.ok("tunnel", "open", "inbound", key, "--listen", port, "--exits", "home")
        assert is_reset(port)
        assert server.accepted == 0
        mesh.home.ok("tunnel", "open", "outbound", key, "--targets", server.port, "--users", "alice")
        until(lambda: works(port), what="alice may pass")
        assert mesh.home.describe("outbound", key)["users"] == ["alice"]
        mesh.home.ok("tunnel", "open", "outbound", key, "--targets", server.port, "--users", "bob")
        until(lambda: is_reset(port), what="alice may not pass any more")
        assert "alice" in mesh.home.ok("tunnel", "describe", "outbound", key).out
        mesh.home.ok("tunnel", "open", "outbound", key, "--targets", server.port, "--users", "*")
        until(lambda: works(port), what="everyone may pass")


def test_an_exit_of_another_user_is_not_taken_unless_it_is_named(mesh) -> None:
    """Another user could offer a tunnel of the same name and read what goes through it."""
    with Server(echo) as trap, Server(echo) as own:
        port = free_port()
        mesh.alice.ok("tunnel", "open", "outbound", "tcp/bank", "--targets", trap.port, "--users", "*")
        mesh.home.ok("tunnel", "open", "inbound", "tcp/bank", "--listen", port)
        await_exit(mesh.home, mesh.alice, "tcp/bank")
        assert is_reset(port)
        mesh.workplace.ok("tunnel", "open", "outbound", "tcp/bank", "--targets", own.port)
        await_exit(mesh.home, mesh.workplace, "tcp/bank")
        until(lambda: works(port), what="the own exit is taken")
        for _ in range(5):
            assert say(port) == b"hello"
        assert trap.accepted == 0
        mesh.home.ok("tunnel", "open", "inbound", "tcp/bank", "--listen", port, "--exits", "alice")
        assert say(port) == b"hello"
        assert trap.accepted == 1


def test_an_outbound_takes_only_the_entrances_it_names(mesh) -> None:
    with Server(echo) as server:
        options = ("--entrances", "home")
        port = open_tunnel(mesh.home, mesh.workplace, server.port, name="from-home", options=options)
        assert say(port) == b"hello"
        other = free_port()
        mesh.alice.ok("tunnel", "open", "inbound", "tcp/from-home", "--listen", other, "--exits", "workplace")
        assert is_reset(other)


def test_an_eviction_cuts_live_streams_within_a_second_and_is_shown_until_undone_by_a_new_permit(world: World) -> None:
    hub = world.hub()
    root = world.joined(hub, "home")
    alice = world.invited(hub, root, "alice")
    with Server(echo) as server:
        port = open_tunnel(
            alice, root, server.port, name="shared", options=["--users", "alice"], entrance_options=["--exits", "home"]
        )
        with connected(port) as connection:
            connection.sendall(b"hello")
            assert read_exactly(connection, 5) == b"hello"
            root.ok("evict", "alice", "--yes")
            begin = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
            assert time.monotonic() - begin < 1.0
        until(lambda: alice.mesh["state"] == "evicted", within=5, what="alice's agent says so")
        assert "evicted" in alice.ok("get", "mesh").rows[0][-1]
        assert "evicted" in alice.fails("get", "ep")
        assert not alice.mesh["connected"]
        until(lambda: is_reset(port), what="no new connection")
        old = json.loads((alice.home / "alice.json").read_text())
        assert "evicted" in alice.fails("join", "again", "--as", "a", "--permit", alice.home / "alice.json")
        alice.ok("leave", "again")

        permit = world.permit(root, alice, "alice")
        assert json.loads(permit.read_text()) != old
        alice.ok("join", "my-mesh", "--as", "alice", "--permit", permit)
        until(lambda: works(port), what="alice is back")


@pytest.mark.long
def test_an_evicted_user_stays_out_over_a_restart_of_the_hub(world: World) -> None:
    hub = world.hub()
    root = world.joined(hub, "home")
    alice = world.invited(hub, root, "alice")
    root.ok("evict", "alice")
    hub.kill()
    hub.start()
    until(lambda: root.mesh["state"] == "connected", within=5, what="root is back")
    alice.stop()
    alice.start()
    until(lambda: alice.mesh["state"] == "evicted", within=10, what="alice is not")
    assert [row[0] for row in root.ok("get", "ep").rows] == ["home (local)"]
