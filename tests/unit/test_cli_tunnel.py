"""`ztm tunnel`: what is asked of the app, and how its tunnels are shown (spec apps-network 1)."""

import json

import pytest
from app_console import CannedApp

from fake_agent import HOME_ID, WORK_ID
from ztm.apps.command import EndpointRef
from ztm.apps.tunnel.cli import COMMANDS, NOTES
from ztm.cli.main import main

HOME_EP, WORK_EP = EndpointRef(HOME_ID, "home"), EndpointRef(WORK_ID, "work")
HOME, WORK = f"/api/endpoints/{HOME_ID}", f"/api/endpoints/{WORK_ID}"
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
def app() -> CannedApp:
    return CannedApp(HOME_EP, WORK_EP)


async def run(app: CannedApp, line: str, status: int = 0, at: EndpointRef = HOME_EP) -> tuple[str, str]:
    program, _, words = line.partition("tunnel")
    ended, out, err = await app.run(f"ztm {program}tunnel", words, at, COMMANDS, NOTES)
    assert ended == status, err
    return out, err


async def test_inbounds_are_listed_with_exits_by_name_and_what_is_not_open(app: CannedApp) -> None:
    app.answer("GET", f"{HOME}/inbound", [INBOUND])
    assert (await run(app, "tunnel get in"))[0] == (
        "NAME     LISTENS                                              EXITS  \n"
        "tcp/web  127.0.0.1:8080, [::1]:81 (not open: address in use)  work   \n"
    )
    assert json.loads((await run(app, "ztm/tunnel get inbound -o json"))[0]) == [INBOUND]


async def test_outbounds_of_another_endpoint_are_asked_for_by_its_id(app: CannedApp) -> None:
    app.answer("GET", f"{WORK}/outbound", [OUTBOUND])
    assert (await run(app, "tunnel get outbound", at=WORK_EP))[0] == (
        "NAME     TARGETS  ENTRANCES        \nudp/a b  db:5     (all endpoints)  \n"
    )


async def test_tunnels_are_listed_with_the_endpoints_of_both_ends(app: CannedApp) -> None:
    ends = {"inbound": [{"id": HOME_ID, "name": "home"}], "outbound": [{"id": WORK_ID, "name": "work"}, {"id": "gone"}]}
    app.answer("GET", "/api/tunnels", [{"protocol": "tcp", "name": "web", **ends}])
    assert (await run(app, "tunnel get tunnels"))[0] == (
        "NAME     INBOUND  OUTBOUND    \ntcp/web  home     work, gone  \n"
    )


async def test_describe_inbound_tells_what_is_wrong(app: CannedApp) -> None:
    last = {"time": "T", "message": "no exit is online"}
    app.answer("GET", f"{HOME}/inbound/tcp/web", {**INBOUND, "lastError": last})
    assert (await run(app, "tunnel describe inbound tcp/web"))[0].splitlines() == [
        "Inbound tcp/web",
        f"Endpoint: home ({HOME_ID})",
        "Listens:",
        "  127.0.0.1:8080",
        "  [::1]:81 (not open: address in use)",
        "Exits:",
        f"  work ({WORK_ID})",
        "Last Error: T no exit is online",
    ]


async def test_describe_outbound_shows_targets_entrances_and_users(app: CannedApp) -> None:
    targets = [{"host": "db", "port": 5, "error": "connection refused"}]
    app.answer("GET", f"{HOME}/outbound/udp/x", {**OUTBOUND, "targets": targets, "users": ["alice"]})
    assert (await run(app, "tunnel describe out udp/x"))[0].splitlines() == [
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
    ],
)
async def test_what_does_not_exist_is_named_and_exits_1(app: CannedApp, line: str, said: str) -> None:
    app.answer("GET", f"{HOME}/outbound/tcp/web", None)
    app.answer("GET", "/api/tunnels/tcp/web", {"protocol": "tcp", "name": "web", "inbound": [], "outbound": []})
    assert (await run(app, line, 1))[1].startswith(f"ztm: {said}")


async def test_open_inbound_sends_addresses_and_the_ids_of_its_exits(app: CannedApp) -> None:
    app.answer("POST", f"{HOME}/inbound/tcp/web", None, 201)
    line = f"tunnel open inbound tcp/web --listen 8080 0.0.0.0:81 [::1]:82 --exits work {HOME_ID}"
    assert await run(app, line) == ("", "")
    listens = [{"ip": "127.0.0.1", "port": 8080}, {"ip": "0.0.0.0", "port": 81}, {"ip": "::1", "port": 82}]
    assert app.sent("POST") == [(f"{HOME}/inbound/tcp/web", {"listens": listens, "exits": [WORK_ID, HOME_ID]})]


async def test_a_port_in_use_is_a_failure(app: CannedApp) -> None:
    app.answer("POST", f"{HOME}/inbound/tcp/web", INBOUND, 201)
    out, err = await run(app, "tunnel open inbound tcp/web --listen 8080 [::1]:81", 1)
    assert (out, err) == ("", "ztm: inbound 'tcp/web' is stored, but [::1]:81 (not open: address in use)\n")


@pytest.mark.parametrize(
    ("users", "sent"),
    [("", {}), ("--users alice bob", {"users": ["alice", "bob"]}), ("--users *", {"users": []})],
)
async def test_open_outbound_sends_users_only_as_given(app: CannedApp, users: str, sent: dict[str, object]) -> None:
    app.answer("POST", f"{WORK}/outbound/tcp/web", None, 201)
    line = f"tunnel open out tcp/web --targets db:5432 8080 --entrances home {users}"
    assert await run(app, line, at=WORK_EP) == ("", "")
    targets = [{"host": "db", "port": 5432}, {"host": "127.0.0.1", "port": 8080}]
    body = {"targets": targets, "entrances": [HOME_ID], **sent}
    assert app.sent("POST") == [(f"{WORK}/outbound/tcp/web", body)]


async def test_a_name_is_one_encoded_segment(app: CannedApp) -> None:
    app.answer("GET", f"{HOME}/inbound/tcp/a%3Fb", INBOUND)
    app.answer("DELETE", f"{HOME}/inbound/tcp/a%3Fb", None, 204)
    assert await run(app, "tunnel close inbound tcp/a?b") == ("", "")
    assert app.sent("DELETE") == [(f"{HOME}/inbound/tcp/a%3Fb", "")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tunnel", "no command given. Type 'ztm tunnel help' for help info."),
        ("tunnel bogus", "unknown command: bogus. Type 'ztm tunnel help' for help info."),
        ("tunnel open bogus", "invalid object type 'bogus' for command 'open' (inbound, outbound)"),
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
async def test_wrong_usage_exits_2_before_anything_is_asked(app: CannedApp, line: str, said: str) -> None:
    out, err = await run(app, line, 2)
    assert out == ""
    assert err.startswith(f"ztm: {said}")
    assert app.requests == []


@pytest.mark.parametrize("line", ["tunnel help", "tunnel -h"])
async def test_help_of_the_app_asks_nothing(app: CannedApp, line: str) -> None:
    out, _ = await run(app, line)
    assert "  ztm tunnel open inbound   <proto/name> " in out
    assert app.requests == []


@pytest.mark.parametrize("line", ["tunnel help open", "tunnel open -h", "tunnel open inbound --help"])
async def test_help_of_one_command_of_the_app(app: CannedApp, line: str) -> None:
    out, _ = await run(app, line)
    assert "Usage: ztm tunnel open inbound <proto/name> [options...]" in out
    assert "Commands:" not in out


@pytest.mark.parametrize(
    "line", ["tunnel help open", "help tunnel open", "ep work tunnel help open", "ztm/tunnel help open"]
)
def test_help_of_a_built_in_app_needs_no_agent(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 0
    assert "tunnel open inbound <proto/name> [options...]" in capsys.readouterr().out
