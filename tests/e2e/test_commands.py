"""Every command that a user types by hand: what it prints, as a table and as JSON, and its exit status."""

import json
import stat
from pathlib import Path

import pytest
from targets import Server, echo, say
from world import Agent, Hub, World, free_port, one_line, open_tunnel, run_ztm, until


def test_join_waits_until_the_hub_has_accepted_the_endpoint(world: World) -> None:
    hub = world.hub()
    agent = world.agent("home")
    ran = agent.ok("join", "my-mesh", "--as", "home", "--permit", hub.permit)
    assert ran.out == f"Connected to mesh my-mesh as home (endpoint {agent.id})\n"
    assert agent.ok("get", "mesh").rows == [["my-mesh", "home", "root", f"127.0.0.1:{hub.port}", "Connected"]]
    agent.ok("leave", "my-mesh")
    assert agent.ok("get", "mesh").rows == []
    assert "my-mesh" in agent.fails("leave", "my-mesh")
    assert not (agent.data / "meshes" / "my-mesh").exists()


def test_an_agent_joins_at_its_start_when_told_to(world: World) -> None:
    hub = world.hub()
    agent = world.agent("home", options=["--join", "m", "--join-as", "home", "--permit", hub.permit])
    until(lambda: agent.mesh["state"] == "connected", what="connected")


def test_meshes_endpoints_and_hubs_are_listed_as_tables_and_as_json(mesh) -> None:
    listed = mesh.home.ok("get", "ep")
    assert listed.headings == [
        *("NAME", "USER", "IP", "PORT", "STATUS", "PING", "ID", "EDITION", "VERSION", "LABELS"),
    ]
    assert [row[:3] + row[4:5] for row in listed.rows] == [
        ["home (local)", "root", "127.0.0.1", "Online"],
        ["workplace", "root", "127.0.0.1", "Online"],
        ["alice", "alice", "127.0.0.1", "Online"],
    ]
    as_json = mesh.alice.ok("get", "endpoints", "-o", "json").json
    assert [(one["name"], one["isLocal"]) for one in as_json] == [
        ("home", False),
        ("workplace", False),
        ("alice", True),
    ]
    hubs = mesh.home.ok("get", "hub")
    assert hubs.headings == ["NAMES", "ZONE", "ATTACHED", "EDITION", "VERSION", "ID"]
    assert hubs.rows[0][:3] == [f"127.0.0.1:{mesh.hub.port}", "default", "Yes"]
    assert mesh.home.ok("get", "hub", "-o", "json").json[0]["connected"] is True
    assert mesh.home.ok("get", "mesh", "--no-headers").out.count("\n") == 1


def test_one_object_is_described(mesh) -> None:
    text = mesh.home.ok("describe", "ep", "workplace").out
    assert text.startswith(f"Endpoint: workplace\nID: {mesh.workplace.id}\nUsername: root\n")
    assert "Control Sessions: 1" in text
    assert mesh.home.ok("describe", "ep", "alice", "-o", "json").json["username"] == "alice"
    hub_id = mesh.home.ok("get", "hub", "-o", "json").json[0]["id"]
    hub = mesh.home.ok("describe", "hub", hub_id).out
    assert f"Hub: {hub_id}" in hub
    assert "Attached: Yes" in hub
    assert "Agents: 3/100" in hub
    text = mesh.home.ok("describe", "mesh", "my-mesh").out
    assert "Status: Connected" in text
    assert "BEGIN CERTIFICATE" in text
    assert "PRIVATE KEY" not in text


def test_a_ping_shows_each_hop(mesh) -> None:
    ran = mesh.home.ok("ping", "ep", "workplace")
    assert ran.headings == ["ID", "TYPE", "NAME", "START", "END", "DURATION", "ERROR"]
    assert [row[1:3] for row in ran.rows] == [
        ["Endpoint", "home"],
        ["Hub", f"127.0.0.1:{mesh.hub.port}"],
        ["Endpoint", "workplace"],
    ]
    assert len(mesh.home.ok("ping", "ep", "alice", "-o", "json").json) == 3
    assert "nobody" in mesh.home.fails("ping", "ep", "nobody")


def test_labels_logs_and_rates_are_shown(mesh) -> None:
    assert mesh.home.ok("label", "--add", "blue", "red").out == "blue\nred\n"
    assert mesh.home.ok("ep", "workplace", "label", "--add", "green").out == "green\n"
    until(lambda: mesh.home.ok("get", "ep", "green").rows, what="the label is seen in the mesh")
    assert mesh.home.ok("label", "--delete", "blue", "red").out == ""
    assert mesh.home.ok("log", "ep").out
    assert mesh.home.ok("log", "ep", "workplace").out
    hub_id = mesh.home.ok("get", "hub", "-o", "json").json[0]["id"]
    assert "connected from" in mesh.home.ok("log", "hub", hub_id).out
    assert mesh.home.ok("stats", "ep").headings == ["ENDPOINT", "SEND", "RECEIVE"]
    assert mesh.home.ok("stats", "ep", "home").rows[-1][0] == "(All Peers)"


def test_a_user_is_invited_by_the_printed_identity_and_the_permit_is_private(mesh, tmp_path: Path) -> None:
    identity = mesh.alice.ok("identity").out
    assert identity.startswith("-----BEGIN PUBLIC KEY-----\n")
    permit = tmp_path / "bob.json"
    mesh.home.ok("invite", "bob", "--identity", "-", "--permit", permit, stdin=identity)
    assert stat.S_IMODE(permit.stat().st_mode) == 0o600
    said = json.loads(permit.read_text())
    assert said["bootstraps"] == [f"127.0.0.1:{mesh.hub.port}"]
    assert set(said["agent"]) == {"certificate"}
    printed = mesh.home.ok("invite", "bob", "-i", "-", stdin=identity).out
    assert json.loads(printed)["ca"] == said["ca"]
    assert "not an identity" in mesh.home.fails("invite", "bob", "-i", "-", stdin="garbage")
    assert "root" in mesh.home.fails("invite", "root", "-i", "-", stdin=identity)


def test_tunnel_ends_are_listed_described_and_closed(mesh) -> None:
    with Server(echo) as server:
        port = open_tunnel(mesh.home, mesh.workplace, server.port, name="listed")
        assert say(port) == b"hello"
        inbound = mesh.home.ok("tunnel", "get", "inbound")
        assert inbound.headings == ["NAME", "LISTENS", "EXITS"]
        assert ["tcp/listed", f"127.0.0.1:{port}", "(all endpoints)"] in inbound.rows
        outbound = mesh.home.ok("ep", "workplace", "tunnel", "get", "outbound")
        assert outbound.headings == ["NAME", "TARGETS", "ENTRANCES"]
        assert ["tcp/listed", f"127.0.0.1:{server.port}", "(all endpoints)"] in outbound.rows
        assert ["tcp/listed", "home", "workplace"] in mesh.alice.ok("tunnel", "get", "tunnel").rows
        described = mesh.home.ok("tunnel", "describe", "inbound", "tcp/listed").out
        assert described.startswith("Inbound tcp/listed\n")
        assert f"  127.0.0.1:{port}" in described
        described = mesh.workplace.ok("tunnel", "describe", "outbound", "tcp/listed").out
        assert f"  127.0.0.1:{server.port}" in described
        described = mesh.home.ok("tunnel", "describe", "tunnel", "tcp/listed").out
        assert f"Inbound:\n  home ({mesh.home.id})\n" in described
        assert f"Outbound:\n  workplace ({mesh.workplace.id})\n" in described
        assert "(owner only)" in described
    mesh.home.ok("tunnel", "close", "inbound", "tcp/listed")
    mesh.home.ok("ep", "workplace", "tunnel", "close", "outbound", "tcp/listed")
    with pytest.raises(ConnectionRefusedError):
        say(port)
    assert "not found" in mesh.home.fails("tunnel", "close", "inbound", "tcp/listed")
    assert "not found" in mesh.home.fails("tunnel", "describe", "outbound", "tcp/listed")


@pytest.mark.parametrize(
    "words",
    [
        "help",
        "help join",
        "--help",
        "-h",
        "join --help",
        "join my-mesh -h",
        "tunnel help open",
        "tunnel open --help",
        "tunnel help",
        "help tunnel",
        "run hub --help",
    ],
)
def test_help_needs_no_agent(words: str, tmp_path: Path) -> None:
    ran = run_ztm(tmp_path, *words.split())
    assert (ran.status, ran.err) == (0, "")
    assert "Usage:" in ran.out or "Commands:" in ran.out


def test_the_version_needs_no_agent(tmp_path: Path) -> None:
    assert run_ztm(tmp_path, "version").out.startswith("ZTM:\n")
    ran = run_ztm(tmp_path, "version", "--json")
    assert set(ran.json["ztm"]) == {"edition", "tag", "commit", "date"}
    assert run_ztm(tmp_path, "--version").out == run_ztm(tmp_path, "version").out


@pytest.mark.parametrize(
    "words",
    [
        "",
        "gte ep",
        "get",
        "get bogus",
        "join",
        "join my-mesh",
        "join my/mesh --as home --permit x.json",
        "join my-mesh --as ho/me --permit x.json",
        "join my-mesh --as home --permit x.json --timeout soon",
        "get ep --bogus",
        "run hub",
        "run hub --names h:1 --max-agents abc",
        "run agent --join m",
        "run agent --listen 127.0.0.1:99999",
        "tunnel open inbound tcp/web",
        "tunnel open inbound web --listen 1",
        "tunnel open inbound tcp/a/b --listen 1",
        "tunnel open outbound tcp/web --targets nowhere:port",
        "tunnel open sideways tcp/web",
    ],
)
def test_a_mistyped_command_ends_with_status_2_and_one_line(words: str, mesh) -> None:
    mesh.home.fails(*words.split(), status=2)


@pytest.mark.parametrize(
    "words",
    ["get mesh", "get ep", "identity", "leave m", "tunnel get inbound", "ping ep x", "evict bob", "ep x label"],
)
def test_without_an_agent_commands_end_with_status_3(words: str, tmp_path: Path) -> None:
    nowhere = {"ZTM_AGENT": f"127.0.0.1:{free_port()}"}
    line = one_line(run_ztm(tmp_path, *words.split(), env=nowhere), 3)
    assert "ztm run agent" in line


def test_what_does_not_exist_is_named(mesh) -> None:
    assert "mesh 'nope' not found" in mesh.home.fails("describe", "mesh", "nope")
    assert "mesh 'nope' not found" in mesh.home.fails("mesh", "nope", "get", "ep")
    assert "endpoint 'nope' not found" in mesh.home.fails("describe", "ep", "nope")
    assert "endpoint 'nope' not found" in mesh.home.fails("ep", "nope", "tunnel", "get", "inbound")
    assert "hub 'nope' not found" in mesh.home.fails("describe", "hub", "nope")
    assert "not found" in mesh.home.fails("tunnel", "describe", "tunnel", "tcp/nope")


def test_without_a_mesh_commands_say_so(world: World) -> None:
    agent = world.agent("home")
    assert "haven't joined a mesh" in agent.fails("get", "ep")
    assert agent.ok("get", "mesh").rows == []


def test_a_second_agent_on_the_same_port_says_one_line(mesh, tmp_path: Path) -> None:
    words = ("run", "agent", "--data", tmp_path / "d", "--listen", f"127.0.0.1:{mesh.home.port}")
    line = one_line(run_ztm(tmp_path, *words), 1)
    assert str(mesh.home.port) in line
    assert "in use" in line


def test_a_second_hub_on_the_same_port_says_one_line(mesh, tmp_path: Path) -> None:
    address = f"127.0.0.1:{mesh.hub.port}"
    words = ("run", "hub", "--data", tmp_path / "d", "--listen", address, "--names", address)
    line = one_line(run_ztm(tmp_path, *words), 1)
    assert str(mesh.hub.port) in line
    assert "in use" in line


@pytest.mark.parametrize("what", ["hub", "agent"])
def test_a_data_directory_that_is_a_file_is_refused_and_left_alone(what: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    names = ["--names", "127.0.0.1:1"] if what == "hub" else []
    ran = run_ztm(tmp_path / "h", "run", what, "--data", file, "--listen", f"127.0.0.1:{free_port()}", *names)
    assert "already exists as a regular file" in one_line(ran, ran.status)
    assert ran.status in (1, 2)
    assert file.read_text() == "precious"


def test_a_second_agent_or_hub_on_the_same_data_directory_is_refused(mesh, tmp_path: Path) -> None:
    words = ("run", "agent", "--data", mesh.home.data, "--listen", f"127.0.0.1:{free_port()}")
    assert "another agent is using the data directory" in one_line(run_ztm(tmp_path, *words), 1)
    address = f"127.0.0.1:{free_port()}"
    words = ("run", "hub", "--data", mesh.hub.data, "--listen", address, "--names", address)
    assert "another hub is using the data directory" in one_line(run_ztm(tmp_path, *words), 1)
    assert mesh.home.ok("get", "mesh").rows[0][-1] == "Connected"


def test_joining_while_the_hub_is_down_says_why_and_the_agent_keeps_trying(world: World) -> None:
    hub = world.hub()
    agent = world.agent("home")
    hub.kill()
    ran = agent.ztm("join", "my-mesh", "--as", "home", "--permit", hub.permit, "--timeout", 1)
    line = one_line(ran, 1)
    assert f"127.0.0.1:{hub.port}" in line
    assert "refused" in line
    assert ran.seconds < 6
    assert agent.ok("get", "mesh").rows[0][-1].startswith("ERROR: ")
    assert "not connected" in agent.fails("get", "ep")
    hub.start()
    until(lambda: agent.mesh["state"] == "connected", within=5, what="connected")


def test_a_stopped_process_ends_promptly_with_status_0(world: World) -> None:
    hub = world.hub()
    agent: Agent = world.joined(hub, "home")
    assert agent.stop() == 0
    assert "Traceback" not in agent.log
    hub_again: Hub = hub
    assert hub_again.stop() == 0
    assert "Traceback" not in hub.log
