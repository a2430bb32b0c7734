"""Permits as root lists, limits and revokes them, with real hubs and agents."""

import contextlib
import time

import pytest
from targets import Server, connected, echo, is_reset, read_exactly
from world import World, open_tunnel, until


@pytest.mark.long
def test_a_revoked_permit_is_cut_off_within_a_second_and_shown_until_root_invites_again(world: World) -> None:
    hub = world.hub()
    root = world.joined(hub, "home")
    laptop = world.invited(hub, root, "alice", "laptop")
    phone = world.invited(hub, root, "alice", "phone")
    listed = root.ok("permit", "list")
    assert listed.headings == ["ID", "USER", "KEY", "ISSUED", "EXPIRES", "STATE"]
    assert [(row[1], row[-1]) for row in listed.rows] == [("alice", "valid"), ("alice", "valid"), ("root", "valid")]
    permit = laptop.ok("permit", "show", laptop.home / "alice.json", "-o", "json").json["id"]
    assert permit in [row[0] for row in listed.rows]
    assert "only root may list permits" in laptop.fails("permit", "list")
    with Server(echo) as server:
        options = ["--users", "alice"]
        port = open_tunnel(laptop, root, server.port, name="x", options=options, entrance_options=["--exits", "home"])
        with connected(port) as connection:
            connection.sendall(b"hello")
            assert read_exactly(connection, 5) == b"hello"
            said = root.ok("permit", "revoke", permit[:6], "--yes").out
            begin = time.monotonic()
            assert said == f"Revoked permit {permit} of alice in mesh my-mesh: cut off laptop\n"
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
            assert time.monotonic() - begin < 1.0
        until(lambda: laptop.mesh["state"] == "refused", within=5, what="the laptop's agent says so")
        assert "permit revoked" in laptop.ok("get", "mesh").rows[0][-1]
        status = laptop.ztm("status")
        assert status.status == 1
        assert "permit revoked" in status.out
        assert is_reset(port)
    assert phone.mesh["state"] == "connected"
    assert {row[0]: row[-1] for row in root.ok("permit", "list").rows}[permit] == "revoked"
    hub.kill()
    hub.start()
    until(lambda: phone.mesh["state"] == root.mesh["state"] == "connected", within=10, what="the others are back")
    assert "permit revoked" in laptop.fails("join", "again", "--as", "x", "--permit", laptop.home / "alice.json")
    laptop.ok("leave", "again")
    laptop.ok("enable", "mesh", "my-mesh", "--permit", world.permit(root, laptop, "alice"))
    assert {row[0]: row[-1] for row in root.ok("permit", "list").rows}[permit] == "valid"


def test_a_permit_is_made_for_as_many_days_as_root_says(world: World) -> None:
    hub = world.hub()
    root = world.joined(hub, "home")
    alice = world.agent("alice")
    permit = alice.home / "alice.json"
    identity = alice.ok("identity").out
    assert "1 to 365" in root.fails("invite", "alice", "-i", "-", "--expires", "400", status=2, stdin=identity)
    root.ok("invite", "alice", "-i", "-", "-p", permit, "--expires", "7", stdin=identity)
    assert alice.ok("permit", "show", permit, "-o", "json").json["daysLeft"] in (6, 7)
    alice.ok("join", "my-mesh", "--as", "alice", "--permit", permit)
    (row,) = [row for row in root.ok("permit", "list", "-o", "wide").rows if row[1] == "alice"]
    assert "valid root no" in " ".join(row)  # a day before the tenth is written with two blanks
    until(lambda: "is not renewed beyond" in alice.log, what="the agent was told that it ends")
    assert alice.ok("status").status == 0


def test_a_root_permit_made_beside_the_running_hub_is_listed_and_can_be_revoked(world: World) -> None:
    hub = world.hub()
    root = world.joined(hub, "home")
    (own,) = [row[0] for row in root.ok("permit", "list").rows]
    assert "the one in use here" in root.fails("permit", "revoke", own, "--yes")
    spare = hub.home / "spare.json"
    root.ok("root", "--data", hub.data, "--names", f"127.0.0.1:{hub.port}", "--permit", spare)
    other = world.joined(hub, "work", permit=spare)
    (new,) = [row[0] for row in root.ok("permit", "list").rows if row[0] != own]
    assert "cut off work" in root.ok("permit", "revoke", new, "--yes").out
    until(lambda: other.mesh["state"] == "refused", within=5, what="it is cut off")
    assert root.mesh["state"] == "connected"
