"""`ztm status`: what is shown of agent and meshes, what is called wrong, and the exit status of each."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fake_agent import HOME_ID, HUB_ID, FakeAgent, mesh_object, running_agent
from ztm import pki
from ztm.cli.checkup.report import measured
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]
NOW = datetime.now(UTC)
AUTHORITY = pki.Authority.create(NOW)
TUNNELS = f"/api/meshes/m/apps/ztm/tunnel/api/endpoints/{HOME_ID}"
OPEN = {"protocol": "tcp", "name": "web", "listens": [{"ip": "127.0.0.1", "port": 80, "open": True}]}


def certificate(days: int, began: int = 0) -> str:
    begin = NOW - timedelta(days=began)
    return AUTHORITY.sign_user("root", pki.public_key(pki.new_key()), NOW, days, not_before=begin)


def joined(agent: FakeAgent, days: int = 200, began: int = 0, **changes: Any) -> None:
    mesh = mesh_object(**changes)
    mesh["agent"] = {**mesh["agent"], "certificate": certificate(days, began)}
    agent.joined(mesh)


def hops(skew: int) -> list[dict[str, Any]]:
    own = {"endpoint": {"id": HOME_ID, "name": "home"}, "start": 1000, "end": 1020, "error": None}
    hub = {"hub": {"id": HUB_ID, "names": []}, "start": 1005 + skew, "end": 1015 + skew, "error": None}
    return [own, hub]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.token = ""
        running.answer("GET", "/api/version", {"ztm": {"edition": "Python", "tag": "v9"}, "pipy": {}})
        running.answer("GET", "/api/meshes/m/hubs", {HUB_ID: {"ports": ["hub:8888"], "connected": True}})
        running.answer("GET", f"/api/meshes/m/ping/endpoints/{HOME_ID}", hops(0))
        apps = [{"provider": "ztm", "name": "tunnel", "isRunning": True}, {"provider": "ztm", "name": "x"}]
        running.answer("GET", f"/api/meshes/m/endpoints/{HOME_ID}/apps", apps)
        running.answer("GET", f"{TUNNELS}/inbound", [OPEN])
        running.answer("GET", f"{TUNNELS}/outbound", [])
        yield running


def report(capsys: Captured, *words: str, status: int = 0) -> dict[str, Any]:
    assert main([*words, "status", "-o", "json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def wrong(capsys: Captured) -> str:
    """The only thing that is wrong."""
    (problem,) = report(capsys, status=1)["problems"]
    return f"{problem['level']}: {problem['what']} > {problem['do']}"


def test_all_is_well_is_said_and_exits_0(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent)
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert f"ztm v9 at 127.0.0.1:{agent.port} (from ZTM_AGENT)" in out
    row = [cell.strip() for cell in out.splitlines()[4].split("  ") if cell.strip()]
    assert row[:6] == ["m", "connected", "home", "root", "hub:8888", "10ms"]
    assert row[7:] == ["tunnel", "1 open"]
    assert out.endswith("All is well.\n")


def test_a_script_is_given_every_fact(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent)
    found = report(capsys)
    (mesh,) = found["meshes"]
    assert (mesh["state"], mesh["endpoint"]["id"], mesh["hub"]["id"]) == ("connected", HOME_ID, HUB_ID)
    assert mesh["certificate"]["daysLeft"] in (199, 200)
    assert (mesh["clockSkewMs"], mesh["apps"], mesh["tunnels"]) == (0, ["ztm/tunnel"], {"open": 1, "failed": []})


def test_an_agent_that_cannot_be_reached_exits_3_and_what_is_known_is_shown(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("ZTM_AGENT", "127.0.0.1:1")
    assert main(["status"]) == 3
    out = capsys.readouterr().out
    assert "Command line: ztm v" in out
    assert "not reachable at 127.0.0.1:1 (from ZTM_AGENT)" in out
    assert "ztm run agent" in out


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_a_malformed_address_of_the_agent_is_wrong_usage(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: Captured, command: str
) -> None:
    monkeypatch.setenv("ZTM_AGENT", "http://x")
    assert main([command]) == 2
    assert "(set by ZTM_AGENT)" in capsys.readouterr().err


def test_an_agent_of_another_user_exits_1(agent: FakeAgent, capsys: Captured) -> None:
    agent.token = "right"
    assert "runs as another user" in report(capsys, status=1)["agent"]["error"]


def test_no_mesh_is_wrong_and_says_what_to_do(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", "/api/meshes", [])
    assert wrong(capsys) == "warn: this agent has joined no mesh > ztm help join"


def test_a_mesh_that_is_not_connected_says_why_and_what_to_do(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent, state="unreachable", connected=False, lastError="connection refused")
    assert "fail: mesh 'm' is not connected: unreachable: connection refused > ztm mesh m doctor" in wrong(capsys)


def test_an_evicted_user_needs_a_new_permit(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent, state="evicted", connected=False, lastError="user root is evicted")
    assert "ztm enable mesh m --permit FILE" in wrong(capsys)


@pytest.mark.parametrize(
    ("days", "began", "said"),
    [
        (365, 336, "warn: mesh 'm': the certificate of root has 2"),
        (10, 30, "fail: mesh 'm': the certificate of root has"),
    ],
)
def test_a_certificate_that_ends_soon_or_has_ended_is_wrong(
    agent: FakeAgent, capsys: Captured, days: int, began: int, said: str
) -> None:
    joined(agent, days, began)
    assert wrong(capsys).startswith(said)


def test_a_certificate_made_for_a_week_is_not_wrong_from_its_first_day(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent, 7, 2)
    assert report(capsys)["problems"] == []
    joined(agent, 7, 6)
    assert "was not renewed" in wrong(capsys)


@pytest.mark.parametrize(("skew", "said"), [(90_000, "90 s behind the hub's"), (-90_000, "90 s ahead of the hub's")])
def test_a_wrong_clock_is_noticed(agent: FakeAgent, capsys: Captured, skew: int, said: str) -> None:
    joined(agent)
    agent.answer("GET", f"/api/meshes/m/ping/endpoints/{HOME_ID}", hops(skew))
    assert said in wrong(capsys)


def test_a_tunnel_that_does_not_work_is_named_with_its_reason(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent)
    listen = {"ip": "127.0.0.1", "port": 80, "open": False, "error": "in use"}
    agent.answer("GET", f"{TUNNELS}/inbound", [OPEN, {**OPEN, "name": "a b", "listens": [listen]}])
    found = wrong(capsys)
    assert "inbound tcp/a b does not work: 127.0.0.1:80: in use" in found
    assert found.endswith("> ztm mesh m tunnel describe inbound 'tcp/a b'")


def test_an_exit_works_while_one_of_its_targets_does(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent)
    targets = [{"host": "h", "port": 1, "error": "refused"}, {"host": "h", "port": 2}]
    agent.answer("GET", f"{TUNNELS}/outbound", [{"protocol": "tcp", "name": "x", "targets": targets}])
    assert report(capsys)["meshes"][0]["tunnels"] == {"open": 2, "failed": []}


def test_what_is_unsafe_in_how_the_agent_was_started_is_shown(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent)
    agent.answer("GET", "/api/version", {"ztm": {"tag": "v9"}, "warnings": ["the local API needs no token"]})
    assert wrong(capsys).startswith("warn: the local API needs no token")


def test_a_disabled_mesh_is_a_warning_with_the_command_that_enables_it(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent, state="offline", connected=False)
    assert wrong(capsys) == "warn: mesh 'm' is disabled > ztm enable mesh m"


def test_an_agent_of_v1_is_shown_as_far_as_it_tells(agent: FakeAgent, capsys: Captured) -> None:
    mesh = mesh_object()
    for key in ("state", "lastError"):
        del mesh[key]
    agent.joined(mesh)
    for path in (f"/api/meshes/m/endpoints/{HOME_ID}/apps", f"{TUNNELS}/inbound", f"{TUNNELS}/outbound"):
        agent.answer("GET", path, None, status=500)
    found = report(capsys)
    assert (found["meshes"][0]["state"], found["meshes"][0]["apps"]) == ("connected", None)


def test_one_mesh_may_be_asked_for_and_an_unknown_one_is_an_error(agent: FakeAgent, capsys: Captured) -> None:
    joined(agent)
    assert len(report(capsys, "mesh", "m")["meshes"]) == 1
    assert main(["mesh", "nope", "status"]) == 1
    assert "mesh 'nope' not found" in capsys.readouterr().err


def test_several_meshes_are_shown_in_their_order(agent: FakeAgent, capsys: Captured) -> None:
    agent.joined(mesh_object("b", state="offline"), mesh_object("a", state="offline"))
    assert [mesh["name"] for mesh in report(capsys, status=1)["meshes"]] == ["b", "a"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], (None, None)),
        (hops(0)[:1], (None, None)),
        ([{**hops(0)[0], "end": None}, hops(0)[1]], (None, None)),
        (hops(0), (10, 0)),
        (hops(500), (10, 500)),
    ],
)
def test_the_clock_is_compared_in_the_middle_of_a_ping(found: list[Any], expected: tuple[int, int]) -> None:
    assert measured(found) == expected
