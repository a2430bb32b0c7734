"""What real processes log: one line an event, at once, with ids, and no secret."""

import json
import re
from pathlib import Path

import leaks
import pytest
from targets import Server, echo, say
from world import Agent, World, free_port, open_tunnel, run_ztm, until

JSON = ["--log-format", "json", "--log-level", "debug"]


def lines(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_of_a_busy_mesh_is_an_object_with_the_ids_of_what_it_is_about(world: World) -> None:
    hub = world.hub(options=JSON)
    home = world.joined(hub, "home", options=JSON)
    alice = world.invited(hub, home, "alice", options=JSON)
    workplace = world.joined(hub, "workplace", options=JSON)
    with Server(echo) as target:
        port = open_tunnel(home, workplace, target.port)
        assert say(port, b"hello") == b"hello"
    hub_log = lines(hub.log)
    nameless = ("root permit", "the network is")  # said before the hub has an id
    hub_ids = {
        line["hub"]
        for line in hub_log
        if line["logger"] == "ztm.hub" and not any(each in line["message"] for each in nameless)
    }
    assert len(hub_ids) == 1
    (joined,) = [
        line for line in hub_log if f"endpoint {alice.id}" in line["message"] and "connected" in line["message"]
    ]
    assert (joined["endpoint"], joined["user"]) == (alice.id, "alice")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", joined["remote"])
    begun = next(line for line in hub_log if line["message"] == "an app stream begins")
    assert (begun["endpoint"], begun["target"], begun["user"]) == (home.id, workplace.id, "root")
    assert begun["stream"].isdigit()
    (connected,) = [line for line in lines(alice.log) if line["message"] == "mesh my-mesh: connected"]
    assert (connected["mesh"], connected["endpoint"]) == ("my-mesh", alice.id)
    assert connected["hub"] in hub_ids
    (opened,) = [line for line in lines(home.log) if line["message"].startswith("inbound tcp/")]
    assert (opened["mesh"], opened["app"]) == ("my-mesh", "ztm/tunnel")
    hub.kill()
    until(lambda: "unreachable" in home.log, what="home lost its hub")
    for process in world.processes:
        assert {line["level"] for line in lines(process.log)} <= {"debug", "info", "warning", "error"}


def test_lines_are_there_at_once_also_when_the_process_is_killed(world: World) -> None:
    hub = world.hub()
    hub.kill()
    assert re.search(r"^\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d \[INF\] Hub \S+ started at ", hub.log, re.MULTILINE)


def test_a_quiet_process_logs_what_is_important_only(world: World) -> None:
    hub = world.hub()
    agent = Agent(world.path / "home", free_port(), name="home", options=["--log-level", "error", "--enable-p2p"])
    world.processes.append(agent)
    agent.start(ready="")
    until(lambda: agent.ztm("get", "mesh").status == 0, what="the agent answers")
    assert agent.ztm("join", "m", "--as", "e", "--permit", hub.permit).status == 0
    assert agent.log == ""


def test_a_hub_without_a_permit_file_logs_no_key_at_any_start_and_issues_none(world: World, tmp_path: Path) -> None:
    hub = world.hub()
    hub.stop()
    address = f"127.0.0.1:{free_port()}"
    data = tmp_path / "data"
    hub.words = ["run", "hub", "--data", str(data), "--listen", address, "--names", address, "--log-level", "debug"]
    for _ in range(2):
        hub.start()
        hub.stop()
        assert "KEY-----" not in hub.log
        assert "MII" not in hub.log
    first = run_ztm(tmp_path, "root", "--data", data, "--names", address)
    assert first.status == 0
    assert json.loads(first.out)["agent"]["privateKey"].splitlines()[1] not in hub.log


def test_direct_connections_that_are_not_built_are_said_so_at_the_start(world: World) -> None:
    agent = world.agent("home", options=["--enable-p2p", "--p2p-port", 5000, "--stun-server", "a.test", "b.test:1"])
    assert "[WRN] --enable-p2p has no effect: direct connections are not built in this version" in agent.log


def test_the_search_for_secrets_finds_them(tmp_path: Path) -> None:
    """The world of every test here is searched as it ends: that search must be able to fail."""
    assert run_ztm(tmp_path, "root", "--data", tmp_path / "hub", "--names", "h:1").status == 0
    (tmp_path / "hub" / "api.token").write_text("a-token\n")
    secrets = leaks.secrets_in([tmp_path / "hub"])
    assert len(secrets) >= 2
    for secret in (*secrets, "-----BEGIN PRIVATE KEY-----"):
        assert leaks.leaks({"a.log": "fine", "b.log": f"x {secret} y"}, secrets) == ["b.log"]


def test_a_world_that_said_a_secret_fails_its_test(tmp_path: Path) -> None:
    world = World(tmp_path)
    agent = world.agent("home")
    agent.kill()
    with agent.logs[0].open("a") as log:
        log.write(agent.token)
    with pytest.raises(AssertionError, match="secrets in logs"):
        world.close()
