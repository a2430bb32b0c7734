"""`ztm tunnel`: what is asked of the app, and how its tunnels are shown (spec apps-network 1)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_agent import HOME_ID, WORK_ID, FakeAgent, endpoint_object, running_agent
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]
APP = "/api/meshes/m/apps/ztm/tunnel/api"
HOME, WORK = f"{APP}/endpoints/{HOME_ID}", f"{APP}/endpoints/{WORK_ID}"
INBOUND = {
    "protocol": "tcp",
    "name": "web",
    "listens": [
        {"ip": "127.0.0.1", "port": 8080, "open": True},
        {"ip": "::1", "port": 81, "open": False, "error": "address in use"},
    ],
    "exits": [WORK_ID],
}
OUTBOUND = {"protocol": "udp", "name": "a b", "targets": [{"host": "db", "port": 5}], "entrances": [], "users": []}


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined(endpoints=(endpoint_object(), endpoint_object(WORK_ID, "work")))
        yield running


def run(capsys: Captured, line: str, status: int = 0) -> tuple[str, str]:
    assert main(line.split()) == status
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_inbounds_are_listed_with_exits_by_name_and_what_is_not_open(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", f"{HOME}/inbound", [INBOUND])
    assert run(capsys, "tunnel get in")[0] == (
        "NAME     LISTENS                                              EXITS  \n"
        "tcp/web  127.0.0.1:8080, [::1]:81 (not open: address in use)  work   \n"
    )
    assert json.loads(run(capsys, "ztm/tunnel get inbound -o json")[0]) == [INBOUND]


def test_outbounds_of_another_endpoint_are_asked_for_by_its_id(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", f"{WORK}/outbound", [OUTBOUND])
    assert run(capsys, "ep work tunnel get outbound")[0] == (
        "NAME     TARGETS  ENTRANCES        \nudp/a b  db:5     (all endpoints)  \n"
    )


def test_tunnels_are_listed_with_the_endpoints_of_both_ends(agent: FakeAgent, capsys: Captured) -> None:
    ends = {"inbound": [{"id": HOME_ID, "name": "home"}], "outbound": [{"id": WORK_ID, "name": "work"}, {"id": "gone"}]}
    agent.answer("GET", f"{APP}/tunnels", [{"protocol": "tcp", "name": "web", **ends}])
    assert run(capsys, "tunnel get tunnels")[0] == ("NAME     INBOUND  OUTBOUND    \ntcp/web  home     work, gone  \n")


def test_describe_inbound_tells_what_is_wrong(agent: FakeAgent, capsys: Captured) -> None:
    last = {"time": "T", "message": "no exit is online"}
    agent.answer("GET", f"{HOME}/inbound/tcp/web", {**INBOUND, "lastError": last})
    assert run(capsys, "tunnel describe inbound tcp/web")[0].splitlines() == [
        "Inbound tcp/web",
        f"Endpoint: home ({HOME_ID})",
        "Listens:",
        "  127.0.0.1:8080",
        "  [::1]:81 (not open: address in use)",
        "Exits:",
        f"  work ({WORK_ID})",
        "Last Error: T no exit is online",
    ]


def test_describe_outbound_shows_targets_entrances_and_users(agent: FakeAgent, capsys: Captured) -> None:
    targets = [{"host": "db", "port": 5, "error": "connection refused"}]
    agent.answer("GET", f"{HOME}/outbound/udp/x", {**OUTBOUND, "targets": targets, "users": ["alice"]})
    assert run(capsys, "tunnel describe out udp/x")[0].splitlines() == [
        "Outbound udp/x",
        f"Endpoint: home ({HOME_ID})",
        "Targets:",
        "  db:5 (failed: connection refused)",
        "Entrances:",
        "  (all endpoints)",
        "Users:",
        "  alice",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tunnel describe inbound tcp/web", "inbound 'tcp/web' not found on endpoint 'home'"),
        ("tunnel describe outbound tcp/web", "outbound 'tcp/web' not found on endpoint 'home'"),
        ("tunnel describe tunnel tcp/web", "tunnel 'tcp/web' not found in mesh 'm'"),
        ("tunnel close outbound tcp/web", "outbound 'tcp/web' not found"),
        ("tunnel open inbound tcp/web --listen 1 --exits nope", "endpoint 'nope' not found"),
        ("ep nope tunnel get inbound", "endpoint 'nope' not found"),
    ],
)
def test_what_does_not_exist_is_named_and_exits_1(agent: FakeAgent, capsys: Captured, line: str, said: str) -> None:
    agent.answer("GET", f"{HOME}/outbound/tcp/web", None)
    agent.answer("GET", f"{APP}/tunnels/tcp/web", {"protocol": "tcp", "name": "web", "inbound": [], "outbound": []})
    assert run(capsys, line, 1)[1].startswith(f"ztm: {said}")


def test_open_inbound_sends_addresses_and_the_ids_of_its_exits(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("POST", f"{HOME}/inbound/tcp/web", None, 201)
    line = f"tunnel open inbound tcp/web --listen 8080 0.0.0.0:81 [::1]:82 --exits work {HOME_ID}"
    assert run(capsys, line) == ("", "")
    listens = [{"ip": "127.0.0.1", "port": 8080}, {"ip": "0.0.0.0", "port": 81}, {"ip": "::1", "port": 82}]
    assert agent.sent("POST") == [(f"{HOME}/inbound/tcp/web", {"listens": listens, "exits": [WORK_ID, HOME_ID]})]


def test_a_port_in_use_is_a_failure(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("POST", f"{HOME}/inbound/tcp/web", INBOUND, 201)
    out, err = run(capsys, "tunnel open inbound tcp/web --listen 8080 [::1]:81", 1)
    assert (out, err) == ("", "ztm: inbound 'tcp/web' is stored, but [::1]:81 (not open: address in use)\n")


@pytest.mark.parametrize(
    ("users", "sent"),
    [("", {}), ("--users alice bob", {"users": ["alice", "bob"]}), ("--users *", {"users": []})],
)
def test_open_outbound_sends_users_only_as_given(
    agent: FakeAgent, capsys: Captured, users: str, sent: dict[str, object]
) -> None:
    agent.answer("POST", f"{WORK}/outbound/tcp/web", None, 201)
    assert run(capsys, f"ep m/work tunnel open out tcp/web --targets db:5432 8080 --entrances home {users}") == ("", "")
    targets = [{"host": "db", "port": 5432}, {"host": "127.0.0.1", "port": 8080}]
    body = {"targets": targets, "entrances": [HOME_ID], **sent}
    assert agent.sent("POST") == [(f"{WORK}/outbound/tcp/web", body)]


def test_a_name_is_one_encoded_segment(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", f"{HOME}/inbound/tcp/a%3Fb", INBOUND)
    agent.answer("DELETE", f"{HOME}/inbound/tcp/a%3Fb", None, 204)
    assert run(capsys, "tunnel close inbound tcp/a?b") == ("", "")
    assert agent.sent("DELETE") == [(f"{HOME}/inbound/tcp/a%3Fb", "")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tunnel", "no command given. Type 'ztm tunnel help' for help info."),
        ("tunnel bogus", "unknown command: bogus. Type 'ztm tunnel help' for help info."),
        ("tunnel open bogus", "unknown command: bogus"),
        ("tunnel get bogus", "invalid object type 'bogus' for command 'get' (inbound, outbound, tunnel)"),
        ("tunnel close tunnel tcp/x", "invalid object type 'tunnel' for command 'close' (inbound, outbound)"),
        ("tunnel open inbound t1 --listen 1", "invalid inbound name 't1' (write tcp/NAME or udp/NAME)"),
        ("tunnel open inbound tcp/a/b --listen 1", "invalid character '/' in inbound name 'a/b'"),
        ("tunnel open inbound tcp/x", "option '--listen' is required"),
        ("tunnel open outbound tcp/x", "option '--targets' is required"),
        ("tunnel open inbound tcp/x --listen localhost:1", "malformed IP address 'localhost'"),
        ("tunnel open inbound tcp/x --listen 99999", "not a port: '99999'"),
        ("tunnel open outbound tcp/x --targets ::1:80", "not an address"),
        ("tunnel open outbound tcp/x --targets 1 --listen 2", "unknown option: --listen"),
    ],
)
def test_wrong_usage_exits_2_before_anything_is_asked(agent: FakeAgent, capsys: Captured, line: str, said: str) -> None:
    out, err = run(capsys, line, 2)
    assert out == ""
    assert err.startswith(f"ztm: {said}")
    assert agent.requests == []


@pytest.mark.parametrize("line", ["tunnel help", "tunnel -h", "help tunnel", "ep work tunnel help"])
def test_help_of_the_app_needs_no_agent(agent: FakeAgent, capsys: Captured, line: str) -> None:
    out, _ = run(capsys, line)
    assert "  ztm tunnel open inbound   <proto/name> " in out
    assert agent.requests == []


@pytest.mark.parametrize(
    "line", ["tunnel help open", "tunnel open -h", "help tunnel open", "tunnel open inbound --help"]
)
def test_help_of_one_command_of_the_app(agent: FakeAgent, capsys: Captured, line: str) -> None:
    out, _ = run(capsys, line)
    assert "Usage: ztm tunnel open inbound <proto/name> [options...]" in out
    assert "Commands:" not in out
