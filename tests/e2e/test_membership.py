"""Being in meshes, and what the command line says when it changes that: nothing silent, nothing by accident."""

import os
import pty
import subprocess

import pytest
from world import STOP, ZTM, Agent, World, environment, one_line, until


def typed(agent: Agent, answer: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person at a terminal who answers its question."""
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    env = environment(agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}"})
    try:
        return subprocess.run(
            [ZTM, *words], stdin=theirs, capture_output=True, text=True, env=env, timeout=STOP, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)


def test_leaving_asks_a_person_and_takes_no_for_an_answer(world: World) -> None:
    agent = world.joined(world.hub(), "home")
    ran = typed(agent, "n\n", "leave", "my-mesh")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Leave mesh 'my-mesh' (endpoint 'home'), deleting ")
    assert ran.stderr.endswith("ztm: nothing was changed\n")
    assert agent.mesh["state"] == "connected"
    assert typed(agent, "y\n", "leave", "my-mesh").returncode == 0
    assert agent.ok("get", "mesh").rows == []


def test_what_is_left_is_gone_unless_it_is_to_be_kept(world: World) -> None:
    hub = world.hub()
    agent = world.joined(hub, "home")
    directory = agent.data / "meshes" / "my-mesh"
    agent.ok("publish", "file", "/shared/root/a.txt", "-i", "-", stdin="hello")
    said = agent.ok("leave", "my-mesh", "--keep-data").out
    assert "meshes/my-mesh" in said
    assert list(directory.iterdir())
    agent.ok("join", "my-mesh", "--as", "home", "--permit", hub.permit)
    until(lambda: agent.ok("get", "file").rows, what="the file is there again")
    assert agent.ok("leave", "my-mesh").out == ""
    assert not directory.exists()
    assert "mesh 'my-mesh' not found" in agent.fails("leave", "my-mesh")


def test_a_disabled_mesh_stays_offline_until_it_is_enabled(world: World) -> None:
    hub = world.hub()
    agent = world.joined(hub, "home")
    id_ = agent.id
    agent.ok("disable", "mesh", "my-mesh")
    assert agent.ok("get", "mesh").rows[0][-1] == "Offline"
    assert "Status: Offline" in agent.ok("describe", "mesh", "my-mesh").out
    assert "my-mesh" in agent.fails("get", "ep")
    agent.stop()
    agent.start()
    assert agent.ok("get", "mesh").rows[0][-1] == "Offline"
    assert agent.ok("enable", "mesh", "my-mesh").out == f"Connected to mesh my-mesh as home (endpoint {id_})\n"
    assert agent.ok("get", "mesh").rows[0][-1] == "Connected"


def test_an_erased_permit_must_be_given_again(world: World) -> None:
    hub = world.hub()
    agent = world.joined(hub, "home")
    id_ = agent.id
    agent.ok("disable", "mesh", "my-mesh", "--erase-permit")
    assert agent.ok("get", "mesh").rows == [["my-mesh", "home", f"127.0.0.1:{hub.port}", "Offline"]]
    assert "give one with 'ztm enable mesh -p FILE'" in agent.fails("enable", "mesh", "my-mesh")
    agent.ok("enable", "mesh", "my-mesh", "--permit", hub.permit)
    assert agent.id == id_
    assert agent.ok("get", "mesh").rows[0][2] == "root"


@pytest.mark.parametrize("words", ["enable mesh nope", "disable mesh nope", "leave nope", "describe mesh nope"])
def test_a_mesh_that_is_not_joined_is_named(mesh, words: str) -> None:
    assert "mesh 'nope' not found (see 'ztm get mesh')" in mesh.home.fails(*words.split())


def test_joining_fails_where_the_hub_is_another_one_than_the_permits(world: World) -> None:
    hub, other = world.hub(), world.hub("other")
    agent = world.agent("home")
    foreign = agent.home / "foreign.json"
    foreign.write_text(hub.permit.read_text().replace(f":{hub.port}", f":{other.port}"))
    line = one_line(agent.ztm("join", "m", "--as", "home", "--permit", foreign, "--timeout", "3"), 1)
    assert "mesh 'm' is not connected" in line
    assert agent.ok("get", "mesh").rows[0][-1].startswith("ERROR: ")


def test_an_eviction_that_does_nothing_is_an_error_and_one_that_does_is_told_and_undone(world: World) -> None:
    hub = world.hub()
    root = world.joined(hub, "home")
    alice = world.invited(hub, root, "alice")
    assert "no endpoint of that user is known" in root.fails("evict", "nobody")
    assert "root cannot be evicted" in root.fails("evict", "root")
    assert "only root may evict" in alice.fails("evict", "root-to-be")
    assert typed(root, "\n", "evict", "alice").returncode == 1
    assert root.ok("user", "list").out.count(" 2026") == 0
    said = root.ok("evict", "alice").out
    assert said.startswith("Evicted alice from mesh my-mesh: 1 endpoint cut off; ")
    until(lambda: alice.mesh["state"] == "evicted", what="alice's agent knows")
    assert root.ok("get", "user", "alice", "-o", "json").json[0]["eviction"]["username"] == "alice"
    assert root.ok("user", "readmit", "alice").out.startswith("Readmitted alice")
    assert "user 'alice' is not evicted" in root.fails("user", "readmit", "alice")
    assert root.ok("get", "user", "alice", "-o", "json").json[0]["eviction"] is None
    alice.ok("disable", "mesh", "my-mesh")
    alice.ok("enable", "mesh", "my-mesh")


def test_attaching_to_the_hub_that_is_attached_changes_nothing_and_an_unknown_one_is_named(mesh) -> None:
    before = mesh.home.ok("get", "hub", "-o", "json").json
    for word in (f"127.0.0.1:{mesh.hub.port}", before[0]["id"]):
        assert mesh.home.ok("attach", word).out == ""
    assert mesh.home.ok("get", "hub", "-o", "json").json == before
    assert "hub 'nope' not found" in mesh.home.fails("attach", "nope")


def test_there_is_no_trial_service(mesh) -> None:
    assert "no trial service 'openclaw'" in mesh.home.fails("try", "openclaw", "--user-name", "u", "--ep-name", "e")
