"""`ztm users`: what is asked of the app, and how users and groups are shown (spec apps-network 5)."""

import json

import pytest
from app_console import CannedApp

from ztm.apps.command import EndpointRef
from ztm.apps.users.cli import COMMANDS, NOTES

HOME = EndpointRef("11111111-1111-4111-8111-111111111111", "home")
DEV = {"id": "g1", "name": "dev", "users": ["alice", "bob"], "unknown": ["bob"]}
WHOLE = {**DEV, "history": [{"time": 1795458771527, "user": "root", "endpoint": "home", "change": "added bob"}]}


def instance(name: str, id_: str = "") -> dict[str, object]:
    return {"id": id_ or name, "name": name}


@pytest.fixture
def app() -> CannedApp:
    made = CannedApp(HOME)
    many = [instance(f"ep-{n}") for n in range(3)]
    users = [
        {"name": "root", "endpoints": {"count": 1, "instances": [instance("home", HOME.id)]}},
        {"name": "alice", "endpoints": {"count": 7, "instances": many}},
    ]
    made.answer("GET", "/api/users", users)
    made.answer("GET", "/api/appinfo", {"endpoint": {"id": HOME.id, "name": "home"}})
    made.answer("GET", "/api/groups", [DEV])
    made.answer("GET", "/api/groups/g1", WHOLE)
    made.answer("POST", "/api/groups/g1", DEV, 201)
    made.answer("POST", "/api/groups/g1?force", DEV, 201)
    made.answer("DELETE", "/api/groups/g1")
    return made


async def run(app: CannedApp, line: str, status: int = 0) -> tuple[str, str]:
    ended, out, err = await app.run("ztm users", line, HOME, COMMANDS, NOTES)
    assert ended == status, err
    return out, err


async def test_users_and_groups_are_two_tables(app: CannedApp) -> None:
    assert [line.rstrip() for line in (await run(app, "list"))[0].splitlines()] == [
        "USERNAME  ENDPOINTS",
        "root      home (local)",
        "alice     ep-0, ep-1, ep-2 ... (and 4 more)",
        "",
        "GROUP  MEMBERS",
        "dev    alice, bob (not in the mesh)",
    ]
    found = json.loads((await run(app, "list -o json"))[0])
    assert [len(found["users"]), found["groups"]] == [2, [DEV]]


async def test_a_group_is_one_member_a_line_and_who_is_not_in_the_mesh_is_marked(app: CannedApp) -> None:
    assert (await run(app, "group dev"))[0] == "alice\nbob (not in the mesh: evicted, or not joined yet)\n"
    assert (await run(app, "group dev -o name"))[0] == "alice\nbob\n"


async def test_the_history_of_a_group_is_a_table(app: CannedApp) -> None:
    heading, row = (await run(app, "group dev --history"))[0].splitlines()
    assert heading.split() == ["TIME", "USER", "ENDPOINT", "CHANGE"]
    assert row.split()[-4:] == ["root", "home", "added", "bob"]


async def test_members_are_added_and_removed_in_one_change(app: CannedApp) -> None:
    assert await run(app, "group dev --add-users carol --remove-users bob --rename-group devs --force") == ("", "")
    assert app.sent("POST") == [("/api/groups/g1?force", {"name": "devs", "users": ["alice", "carol"]})]


async def test_adding_to_an_unknown_group_creates_it(app: CannedApp) -> None:
    _, err = await run(app, "group new --add-users alice", 1)  # the canned app knows no such id
    ((path, body),) = app.sent("POST")
    assert path.startswith("/api/groups/")
    assert len(path.removeprefix("/api/groups/")) == 36
    assert body == {"name": "new", "users": ["alice"]}
    assert err.startswith("ztm: ")


async def test_a_group_is_deleted_by_its_id(app: CannedApp) -> None:
    await run(app, "group dev --delete-group")
    assert app.sent("DELETE") == [("/api/groups/g1", "")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("group nope", "Group not found: nope"),
        ("group nope --delete-group", "Group not found: nope"),
        ("group nope --remove-users bob", "Group not found: nope"),
        ("group nope --rename-group yes", "Group not found: nope"),
        ("group dev --remove-users carol", "not in group dev: carol"),
    ],
)
async def test_what_is_not_there_is_an_error_and_changes_nothing(app: CannedApp, line: str, said: str) -> None:
    assert said in (await run(app, line, 1))[1]
    assert app.sent("POST") == app.sent("DELETE") == []


@pytest.mark.parametrize("line", ["group dev --delete-group --force", "group dev --add-users bob --remove-users bob"])
async def test_options_that_contradict_each_other_are_refused(app: CannedApp, line: str) -> None:
    await run(app, line, 2)
    assert app.sent("POST") == app.sent("DELETE") == []
