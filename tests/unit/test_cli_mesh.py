"""How meshes, hubs and endpoints are listed and described, and labels (spec cli 8 and 10)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_agent import HOME_ID, HUB_ID, VERSION, WORK_ID, FakeAgent, endpoint_object, mesh_object, running_agent
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]
WORK = endpoint_object(WORK_ID, "work", username="alice", online=False, ping=0)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined(endpoints=(endpoint_object(), WORK))
        running.answer("GET", f"/api/meshes/m/endpoints/{WORK_ID}", WORK)
        hub = {"zone": "default", "ports": ["127.0.0.1:8888"], "version": VERSION, "connected": True}
        running.answer("GET", "/api/meshes/m/hubs", {HUB_ID: hub})
        yield running


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "Connected"),
        ({"state": None}, "Connected"),
        ({"state": None, "connected": False, "errors": [{"message": "No hub found"}]}, "ERROR: No hub found"),
        ({"state": "connecting"}, "Connecting"),
        ({"state": "evicted"}, "ERROR: evicted"),
        ({"state": "unreachable", "lastError": "no route"}, "ERROR: unreachable: no route"),
        ({"state": "evicted", "lastError": "user was evicted"}, "ERROR: user was evicted"),
        ({"state": "offline", "agent": {"id": HOME_ID, "name": "home", "offline": True}}, "Offline"),
    ],
)
def test_the_status_of_a_mesh_is_what_the_agent_knows(
    agent: FakeAgent, capsys: Captured, changes: dict[str, object], status: str
) -> None:
    agent.joined(mesh_object(**changes))
    assert main(["get", "mesh", "--no-headers"]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"127.0.0.1:8888  {status}")


def test_get_mesh_is_the_table_that_scripts_know(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "meshes"]) == 0
    assert capsys.readouterr().out == (
        "NAME  JOINED AS  USER  HUBS            STATUS     \nm     home       root  127.0.0.1:8888  Connected  \n"
    )
    assert main(["get", "mesh", "other"]) == 0
    assert capsys.readouterr().out == "NAME  JOINED AS  USER  HUBS  STATUS  \n"


def test_get_ep_is_the_table_that_scripts_know(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "ep"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"NAME          USER   IP         PORT   STATUS   PING  {'ID':36}  EDITION    VERSION  LABELS  ",
        f"home (local)  root   127.0.0.1  40956  Online   1ms   {HOME_ID}  Community  v1.0.4           ",
        f"work          alice  127.0.0.1  40956  Offline  n/a   {WORK_ID}  Community  v1.0.4           ",
    ]


def test_more_endpoints_than_one_page_are_all_listed(agent: FakeAgent, capsys: Captured) -> None:
    pages = [[endpoint_object(f"id-{n}", f"ep-{n}") for n in page] for page in (range(100), range(100, 150))]
    agent.answers_in_turn("GET", "/api/meshes/m/endpoints", *pages)
    assert main(["get", "ep", "-o", "json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == [f"id-{n}" for n in range(150)]


def test_an_agent_that_ignores_the_offset_is_not_asked_for_ever(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", "/api/meshes/m/endpoints", [endpoint_object(f"id-{n}", f"ep-{n}") for n in range(100)])
    assert main(["get", "ep", "--output=json"]) == 0


def test_get_hub_filters_by_part_of_an_address(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "hub", "127"]) == 0
    row = f"127.0.0.1:8888  default  Yes       Community  v1.0.4   {HUB_ID}  "
    assert capsys.readouterr().out.splitlines()[1] == row
    assert main(["get", "hub", "nope", "--no-headers"]) == 0
    assert capsys.readouterr().out == ""


def test_describe_ep_has_every_label_that_scripts_know(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["describe", "ep", "work"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Endpoint: work",
        f"ID: {WORK_ID}",
        "Username: alice",
        "Hubs:",
        f"  {HUB_ID} 127.0.0.1:8888",
        "IP: 127.0.0.1",
        "Port: 40956",
        "Ping: N/A",
        "Status: Offline",
        "Stats:",
        "  Control Sessions: 1",
        "  Passive Sessions: 0",
        "Labels: (none)",
        "Version:",
        "        EDITION    TAG     COMMIT  DATE  ",
        "  ztm   Community  v1.0.4  n/a     n/a   ",
        "  pipy  n/a        n/a     n/a     n/a   ",
    ]
    assert main(["describe", "ep", "work", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == WORK


def test_describe_mesh_shows_certificates_status_and_errors(agent: FakeAgent, capsys: Captured) -> None:
    errors = [{"time": "T", "message": "No hub found"}]
    agent.joined(mesh_object(state="unreachable", errors=errors))
    assert main(["describe", "mesh", "m"]) == 0
    assert capsys.readouterr().out == (
        f"Mesh: m\nHubs:\n  127.0.0.1:8888\nAgent:\n  Endpoint ID: {HOME_ID}\n  Endpoint Name: home\n"
        "  User Name: root\nCA Certificate:\nCA\n\nUser Certificate:\nCERT\n\n"
        "Status: ERROR: unreachable: No hub found\nErrors:\n  T No hub found\n"
    )


def test_describe_hub_shows_ports_peers_and_load(agent: FakeAgent, capsys: Captured) -> None:
    hub = {"id": HUB_ID, "zone": "default", "ports": [{"name": "127.0.0.1:8888", "ping": 0, "online": True}]}
    load = {"peers": [], "capacity": {"agents": 100, "sessions": 1000}, "load": {"agents": 3, "sessions": 0}}
    agent.answer("GET", f"/api/meshes/m/hubs/{HUB_ID}", {**hub, **load, "connected": True, "version": VERSION})
    assert main(["describe", "hub", "127.0.0.1:8888"]) == 0
    assert capsys.readouterr().out.splitlines()[:10] == [
        f"Hub: {HUB_ID}",
        "Zone: default",
        "Ports:",
        "  NAME            STATUS  PING  ",
        "  127.0.0.1:8888  Online  0ms   ",
        "Peers: (no peers)",
        "Load:",
        "  Agents: 3/100",
        "  Sessions: 0/1000",
        "Attached: Yes",
    ]


def test_an_id_wins_over_a_name_and_two_names_are_ambiguous(agent: FakeAgent, capsys: Captured) -> None:
    agent.joined(endpoints=(endpoint_object(HOME_ID, WORK_ID), WORK, endpoint_object("third", "work")))
    assert main(["describe", "ep", WORK_ID]) == 0
    capsys.readouterr()
    assert main(["describe", "ep", "work"]) == 1
    assert capsys.readouterr().err == f"ztm: ambiguous endpoint name 'work': use one of the ids {WORK_ID}, third\n"


def test_labels_are_deleted_then_added_and_printed_sorted(agent: FakeAgent, capsys: Captured) -> None:
    path = f"/api/meshes/m/endpoints/{WORK_ID}/labels"
    agent.answer("GET", path, ["zone", "gpu"])
    agent.answer("POST", path, None, 201)
    assert main(["ep", "work", "label", "--delete", "gpu", "none", "--add", "a", "zone"]) == 0
    assert agent.sent("POST") == [(path, ["zone", "a"])]
    assert capsys.readouterr().out == "a\nzone\n"
    assert main(["label", "--endpoint", "work", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["gpu", "zone"]
