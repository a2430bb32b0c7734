"""`ztm port`: what is asked of the app, and how its ports and access list are shown (spec apps-network 6)."""

import json
from typing import Any

import pytest
from app_console import CannedApp

from fake_agent import HOME_ID, WORK_ID
from ztm.apps.command import EndpointRef
from ztm.apps.port.cli import COMMANDS, NOTES

HOME_EP, WORK_EP = EndpointRef(HOME_ID, "home"), EndpointRef(WORK_ID, "work")
HOME, WORK = f"/api/endpoints/{HOME_ID}", f"/api/endpoints/{WORK_ID}"
PORT: dict[str, Any] = {"protocol": "tcp", "listen": "127.0.0.1:8080", "via": WORK_ID, "target": "db:5432"}
RULE: dict[str, Any] = {"protocol": "tcp", "address": "10.0.0.0/8", "users": ["bob", "carol"]}


@pytest.fixture
def app() -> CannedApp:
    return CannedApp(HOME_EP, WORK_EP)


async def run(app: CannedApp, line: str, status: int = 0, at: EndpointRef = HOME_EP) -> tuple[str, str]:
    ended, out, err = await app.run("ztm port", line, at, COMMANDS, NOTES)
    assert ended == status, err
    return out, err


def stored(app: CannedApp, config: dict[str, Any], shown: list[dict[str, Any]] | None = None, at: str = HOME) -> None:
    """The app holds `config`, and takes changes."""
    app.answer("GET", f"{at}/config", config)
    app.answer("POST", f"{at}/config", [], 201)
    app.answer("GET", f"{at}/ports", shown or [])


async def test_ports_are_listed_with_where_they_lead_and_what_is_wrong(app: CannedApp) -> None:
    last = {"time": "T", "message": "exit refused"}
    busy = {**PORT, "listen": "127.0.0.1:81", "via": "gone", "open": False, "error": "in use"}
    app.answer("GET", f"{HOME}/ports", [{**PORT, "open": True, "lastError": last}, busy])
    assert (await run(app, "get port"))[0] == (
        "PROTOCOL  LISTEN          VIA   TARGET   STATUS  ERROR           \n"
        "tcp       127.0.0.1:8080  work  db:5432  Open    T exit refused  \n"
        "tcp       127.0.0.1:81    gone  db:5432  Error   in use          \n"
    )
    assert json.loads((await run(app, "get ports -o json"))[0])[1]["error"] == "in use"


async def test_the_access_list_says_for_whom_and_for_which_port(app: CannedApp) -> None:
    entries = [RULE, {"address": "db", "port": 5432, "users": ["*"]}, {**RULE, "users": [], "ownerToo": True}]
    app.answer("GET", f"{WORK}/config", {"ports": [], "acl": entries})
    lines = (await run(app, "get acl", at=WORK_EP))[0].splitlines()
    assert [line.rstrip().split(maxsplit=3) for line in lines] == [
        ["PROTOCOL", "ADDRESS", "PORT", "USERS"],
        ["tcp", "10.0.0.0/8", "(all)", "bob, carol"],
        ["tcp", "db", "5432", "(all users)"],
        ["tcp", "10.0.0.0/8", "(all)", "(nobody) (holds the owner too)"],
    ]


@pytest.mark.parametrize("via", ["work", WORK_ID])
async def test_set_port_adds_one_and_leaves_the_others(app: CannedApp, via: str) -> None:
    stored(app, {"ports": [PORT], "acl": [RULE]})
    assert await run(app, f"set port --listen 81 --via {via} --target 22") == ("", "")
    added = {"protocol": "tcp", "listen": "127.0.0.1:81", "via": WORK_ID, "target": "127.0.0.1:22"}
    assert app.sent("POST") == [(f"{HOME}/config", {"ports": [PORT, added], "acl": [RULE]})]


async def test_set_port_replaces_the_one_of_the_same_protocol_and_address(app: CannedApp) -> None:
    stored(app, {"ports": [PORT, {**PORT, "protocol": "udp"}], "acl": []})
    await run(app, "set port --protocol udp --listen 127.0.0.1:8080 --via home --target [::1]:53 --idle-timeout 5")
    new = {"protocol": "udp", "listen": "127.0.0.1:8080", "via": HOME_ID, "target": "[::1]:53", "idleTimeout": 5}
    assert app.sent("POST") == [(f"{HOME}/config", {"ports": [PORT, new], "acl": []})]


async def test_a_port_in_use_is_a_failure(app: CannedApp) -> None:
    stored(app, {"ports": [], "acl": []}, [{**PORT, "open": False, "error": "in use"}])
    out, err = await run(app, "set port --listen 8080 --via work --target db:5432", 1)
    assert (out, err) == ("", "ztm: port tcp/127.0.0.1:8080 is stored, but not open: in use\n")


async def test_set_acl_has_one_entry_for_each_port_of_an_address(app: CannedApp) -> None:
    stored(app, {"ports": [PORT], "acl": [RULE]})
    await run(app, "set acl --address 10.0.0.0/8 --port 80 --users dave")
    added = {"protocol": "tcp", "address": "10.0.0.0/8", "port": 80, "users": ["dave"]}
    assert app.sent("POST")[-1] == (f"{HOME}/config", {"ports": [PORT], "acl": [RULE, added]})
    await run(app, "set acl --address 10.0.0.0/8 --users dave")
    assert app.sent("POST")[-1][1]["acl"] == [{**RULE, "users": ["dave"]}]


async def test_the_owner_can_be_held_to_the_list_and_an_agent_that_cannot_is_told_of(app: CannedApp) -> None:
    stored(app, {})
    await run(app, "set acl --address 0.0.0.0/0 --owner-too")
    entry = {"protocol": "tcp", "address": "0.0.0.0/0", "users": [], "ownerToo": True}
    assert app.sent("POST") == [(f"{HOME}/config", {"ports": [], "acl": [entry]})]
    app.answer("POST", f"{HOME}/config", None, 201)  # as v1 answers
    _, err = await run(app, "set acl --address 0.0.0.0/0 --owner-too", 1)
    assert "does not hold its owner" in err


async def test_delete_removes_one_and_leaves_the_others(app: CannedApp) -> None:
    other, second = {**PORT, "listen": "127.0.0.1:81"}, {**RULE, "port": 80}
    stored(app, {"ports": [PORT, other], "acl": [RULE, second, {**RULE, "address": "db"}]}, at=WORK)
    await run(app, "delete port --listen 8080", at=WORK_EP)
    assert app.sent("POST")[-1][1]["ports"] == [other]
    await run(app, "delete acl --address 10.0.0.0/8 --port 80", at=WORK_EP)
    assert app.sent("POST")[-1][1]["acl"] == [RULE, {**RULE, "address": "db"}]
    await run(app, "delete acl --address 10.0.0.0/8", at=WORK_EP)
    assert app.sent("POST")[-1][1]["acl"] == [{**RULE, "address": "db"}]


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("delete port --listen 1", 1, "port tcp/127.0.0.1:1 not found on endpoint 'home'"),
        ("delete acl --address db", 1, "no acl entry for tcp/db on endpoint 'home'"),
        ("set port --listen 1 --via nope --target 1", 1, "endpoint 'nope' not found"),
        ("set port --via work --target 1", 2, "address to listen on not specified"),
        ("set port --listen 1 --target 1", 2, "endpoint not specified"),
        ("set port --listen 1 --via work", 2, "target not specified"),
        ("set port --listen x --via work --target 1", 2, "not a port"),
        ("set acl --address db", 2, "option '--users' is required"),
        ("set acl --users bob", 2, "address not specified"),
    ],
)
async def test_what_cannot_be_done_is_said_and_nothing_is_changed(
    app: CannedApp, line: str, status: int, said: str
) -> None:
    stored(app, {"ports": [], "acl": []})
    assert said in (await run(app, line, status))[1]
    assert app.sent("POST") == []


async def test_help_says_how_the_owner_is_held_to_the_list(app: CannedApp) -> None:
    out, _ = await run(app, "help set acl")
    assert "--owner-too" in out
    assert "Its owner" in " ".join(out.split())
