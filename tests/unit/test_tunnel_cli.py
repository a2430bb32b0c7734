"""`ztm tunnel describe` and `open`: who is allowed, how ends are doing, and how long UDP may be silent."""

from typing import Any

import pytest
from app_console import CannedApp

from fake_agent import HOME_ID, WORK_ID
from ztm.apps.command import EndpointRef
from ztm.apps.tunnel.cli import COMMANDS, NOTES

HOME_EP, WORK_EP = EndpointRef(HOME_ID, "home"), EndpointRef(WORK_ID, "work")
HOME, WORK = f"/api/endpoints/{HOME_ID}", f"/api/endpoints/{WORK_ID}"
TRAFFIC = {"open": 1, "total": 2, "sent": 3, "received": 4}
INBOUND: dict[str, Any] = {
    "protocol": "tcp", "name": "web", "listens": [{"ip": "127.0.0.1", "port": 80, "open": True}], "exits": [],
    "fromUsers": [], "health": [{"id": WORK_ID, "state": "held off 7 s", "error": "connection refused"}],
    "traffic": TRAFFIC,
}  # fmt: skip
OUTBOUND: dict[str, Any] = {
    "protocol": "tcp", "name": "web", "entrances": [], "users": ["alice"], "owner": "alice", "traffic": TRAFFIC,
    "targets": [
        {"host": "db", "port": 5, "state": "held off 3 s", "error": "no answer"},
        {"host": "db", "port": 6, "state": "healthy"},
        {"host": "db", "port": 7},
    ],
}  # fmt: skip


@pytest.fixture
def app() -> CannedApp:
    return CannedApp(HOME_EP, WORK_EP)


async def run(app: CannedApp, line: str, status: int = 0) -> tuple[str, str]:
    ended, out, err = await app.run("ztm tunnel", line, HOME_EP, COMMANDS, NOTES)
    assert ended == status, err
    return out, err


async def test_describe_inbound_tells_how_its_exits_are_doing(app: CannedApp) -> None:
    app.answer("GET", f"{HOME}/inbound/tcp/web", INBOUND)
    assert (await run(app, "describe inbound tcp/web"))[0].splitlines() == [
        "Inbound tcp/web",
        f"Endpoint: home ({HOME_ID})",
        "Listens:",
        "  127.0.0.1:80",
        "Exits:",
        "  (all endpoints)",
        "Health:",
        f"  work ({WORK_ID}): held off 7 s: connection refused",
        "Traffic: 1 open, 2 in all, 3 bytes sent, 4 received",
    ]
    app.answer("GET", f"{HOME}/inbound/tcp/web", {**INBOUND, "health": []})
    assert "  (no exit is known)" in (await run(app, "describe inbound tcp/web"))[0].splitlines()


async def test_describe_outbound_tells_how_its_targets_are_doing_and_that_it_is_the_owners(app: CannedApp) -> None:
    app.answer("GET", f"{HOME}/outbound/tcp/web", OUTBOUND)
    assert (await run(app, "describe outbound tcp/web"))[0].splitlines() == [
        "Outbound tcp/web",
        f"Endpoint: home ({HOME_ID})",
        "Targets:",
        "  db:5 (held off 3 s: no answer)",
        "  db:6 (healthy)",
        "  db:7",
        "Entrances:",
        "  (all endpoints)",
        "Users:",
        "  (owner only)",
        "Traffic: 1 open, 2 in all, 3 bytes sent, 4 received",
    ]


@pytest.mark.parametrize(
    ("users", "shown"), [([], ["(all users)"]), (["alice", "bob"], ["alice", "bob"]), (["bob"], ["bob"])]
)
async def test_describe_outbound_tells_who_else_is_allowed(app: CannedApp, users: list[str], shown: list[str]) -> None:
    app.answer("GET", f"{HOME}/outbound/tcp/web", {**OUTBOUND, "users": users})
    lines = (await run(app, "describe outbound tcp/web"))[0].splitlines()
    start = lines.index("Users:") + 1
    assert [line.strip() for line in lines[start : start + len(shown)]] == shown


async def test_who_is_allowed_and_trusted_is_in_the_wide_tables(app: CannedApp) -> None:
    app.answer("GET", f"{HOME}/outbound", [OUTBOUND, {**OUTBOUND, "users": []}, {**OUTBOUND, "users": ["bob", "al"]}])
    rows = (await run(app, "get outbound -o wide"))[0].splitlines()
    assert rows[0].split() == ["NAME", "TARGETS", "ENTRANCES", "USERS", "OPEN", "TOTAL", "SENT", "RECEIVED"]
    assert [shown in row for shown, row in zip(("(owner only)", "(all users)", "bob, al"), rows[1:], strict=True)]
    assert "(healthy)" not in rows[1]
    app.answer("GET", f"{HOME}/inbound", [INBOUND, {**INBOUND, "fromUsers": ["*"]}])
    rows = (await run(app, "get inbound -o wide"))[0].splitlines()
    assert "(own user)" in rows[1]
    assert "*" in rows[2]


async def test_describe_tunnel_asks_its_ends_and_says_which_do_not_answer(app: CannedApp) -> None:
    ends = {"inbound": [{"id": HOME_ID, "name": "home"}], "outbound": [{"id": WORK_ID, "name": "work"}]}
    app.answer("GET", "/api/tunnels/tcp/web", {"protocol": "tcp", "name": "web", **ends})
    app.answer("GET", f"{HOME}/inbound/tcp/web", INBOUND)
    app.answer("GET", f"{WORK}/outbound/tcp/web", {"status": 403, "message": "another user's"}, 403)
    assert (await run(app, "describe tunnel tcp/web"))[0].splitlines() == [
        "Tunnel tcp/web",
        "Inbound:",
        f"  home ({HOME_ID})",
        "    Listens:",
        "      127.0.0.1:80",
        "    Exits:",
        "      (all endpoints)",
        "    Health:",
        f"      work ({WORK_ID}): held off 7 s: connection refused",
        "    Traffic: 1 open, 2 in all, 3 bytes sent, 4 received",
        "Outbound:",
        f"  work ({WORK_ID})",
        "    (another user's)",
    ]


async def test_the_idle_time_is_sent_and_shown(app: CannedApp) -> None:
    app.answer("POST", f"{HOME}/inbound/udp/dns", None, 201)
    app.answer("POST", f"{HOME}/outbound/udp/dns", None, 201)
    await run(app, "open inbound udp/dns --listen 53 --idle-timeout 5")
    await run(app, "open outbound udp/dns --targets 53 --idle-timeout 7")
    assert [body["idleTimeout"] for _, body in app.sent("POST")] == [5, 7]
    app.answer("GET", f"{HOME}/outbound/udp/dns", {**OUTBOUND, "idleTimeout": 7})
    assert "Idle Timeout: 7 s" in (await run(app, "describe outbound udp/dns"))[0].splitlines()


async def test_an_idle_time_is_a_whole_number_of_seconds(app: CannedApp) -> None:
    _, err = await run(app, "open inbound udp/dns --listen 53 --idle-timeout soon", 2)
    assert "--idle-timeout" in err
