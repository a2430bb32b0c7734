"""What every list can do: forms of output, order, selection by labels, and users."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fake_agent import HOME_ID, HUB_ID, VERSION, WORK_ID, FakeAgent, endpoint_object, mesh_object, running_agent
from ztm.apps.order import natural
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]


def labelled(*labels: str) -> dict[str, Any]:
    return {"version": VERSION, "labels": list(labels)}


HOME = endpoint_object(agent=labelled("gpu", "site=paris"), ping=12, heartbeat=1795431886946)
WORK = endpoint_object(WORK_ID, "work", username="alice", online=False, ping=0, agent=labelled("site=rome"))
TWINS = [endpoint_object(f"id-{n}", "twin", agent=labelled("gpu", "site=rome"), ping=n) for n in (2, 100)]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined(endpoints=(HOME, WORK, *TWINS))
        hub = {"zone": "default", "ports": ["127.0.0.1:8888"], "version": VERSION, "connected": True}
        running.answer("GET", "/api/meshes/m/hubs", {HUB_ID: hub})
        yield running


def names(capsys: Captured, *words: str) -> list[str]:
    """What ``-o name`` prints."""
    assert main([*words, "-o", "name"]) == 0
    return capsys.readouterr().out.split()


def test_json_and_yaml_are_the_same_objects_as_the_agent_gives(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "ep", "-o", "json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert main(["get", "ep", "-o", "yaml"]) == 0
    assert as_json == yaml.safe_load(capsys.readouterr().out) == [HOME, WORK, *TWINS]


def test_names_are_words_that_other_commands_take_for_exactly_that_object(agent: FakeAgent, capsys: Captured) -> None:
    assert names(capsys, "get", "ep") == ["home", "work", "id-2", "id-100"]
    assert names(capsys, "get", "mesh") == ["m"]
    assert names(capsys, "get", "hub") == [HUB_ID]


def test_without_headers_and_without_rows_nothing_is_printed(agent: FakeAgent, capsys: Captured) -> None:
    agent.joined(mesh_object("m"))
    assert main(["get", "mesh", "other", "--no-headers"]) == 0
    assert capsys.readouterr().out == ""


def test_wide_adds_columns_behind_those_that_scripts_know(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "ep", "--output", "table"]) == 0
    plain = capsys.readouterr().out.splitlines()
    assert main(["get", "ep", "--output", "wide"]) == 0
    wide = capsys.readouterr().out.splitlines()
    assert all(line.startswith(before.rstrip()) for line, before in zip(wide, plain, strict=True))
    assert wide[0].split()[-6:] == ["LABELS", "HUBS", "LAST", "SEEN", "ALL", "LABELS"]
    assert "127.0.0.1:8888" in wide[1]
    assert main(["get", "mesh", "-o", "wide"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-2:] == ["connected", HOME_ID]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("-l gpu", ["home", "id-2", "id-100"]),
        ("-l site=rome", ["work", "id-2", "id-100"]),
        ("-l gpu site=rome", ["id-2", "id-100"]),
        ("--label=gpu --label=site=paris", ["home"]),
        ("-l site=", ["home", "work", "id-2", "id-100"]),
        ("-l site", []),
        ("-l gp", []),
    ],
)
def test_labels_select_endpoints_that_have_all_of_them(
    agent: FakeAgent, capsys: Captured, words: str, found: list[str]
) -> None:
    assert names(capsys, "get", "ep", *words.split()) == found


@pytest.mark.parametrize(
    ("column", "found"),
    [
        ("name", ["home", "id-2", "id-100", "work"]),
        ("PING", ["id-2", "home", "id-100", "work"]),
        ("Status", ["work", "home", "id-2", "id-100"]),
        ("id", ["57553", "e5d3c", "id-2", "id-10"]),
        ("last seen", ["home", "work", "id-2", "id-100"]),
    ],
)
def test_a_list_is_sorted_by_any_column_numbers_as_numbers_and_what_is_missing_last(
    agent: FakeAgent, capsys: Captured, column: str, found: list[str]
) -> None:
    if column == "id":
        assert main(["get", "ep", "--sort", column, "-o", "json"]) == 0
        assert [one["id"][:5] for one in json.loads(capsys.readouterr().out)] == found
    else:
        assert names(capsys, "get", "ep", "--sort", column) == found


def test_sorting_by_a_column_that_is_not_there_names_those_that_are(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "ep", "--sort", "pin"]) == 2
    assert "no column 'pin' to sort by (did you mean 'PING'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("get mesh -l gpu", "option --label goes with type endpoint only, not with mesh"),
        ("get ep --hash", "option --hash goes with type file only, not with endpoint"),
        ("get endpont", "invalid object type 'endpont' for command 'get' (did you mean 'endpoint'"),
    ],
)
def test_options_that_make_no_sense_together_are_wrong_usage(
    agent: FakeAgent, capsys: Captured, words: str, said: str
) -> None:
    assert main(words.split()) == 2
    assert said in capsys.readouterr().err
    assert agent.requests == []


_cells = st.none() | st.text() | st.integers() | st.floats(allow_nan=False)


@given(st.lists(_cells))
def test_any_cells_can_be_put_in_order(cells: list[object]) -> None:
    in_order = sorted(cells, key=natural)
    missing = [cell in (None, "", "n/a") for cell in in_order]
    assert missing == sorted(missing)


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_numbers_within_names_are_compared_as_numbers(numbers: list[int]) -> None:
    in_order = sorted((f"ep-{number}" for number in numbers), key=natural)
    assert in_order == [f"ep-{number}" for number in sorted(numbers)]


# ------------------------------------------------------------------ users


def user_object(name: str, *endpoints: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    count = len(endpoints) if count is None else count
    return {"name": name, "endpoints": {"count": count, "instances": list(endpoints)}}


@pytest.fixture
def users(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> FakeAgent:
    monkeypatch.setenv("TZ", "UTC")
    agent.answer("GET", "/api/meshes/m/users", [user_object("root", HOME, *TWINS), user_object("alice", WORK)])
    evictions = [
        {"username": "alice", "time": 1795431886000, "expiration": 1795931886000},
        {"username": "mallory", "time": 1795431887000, "expiration": 1795931887000},
    ]
    agent.answer("GET", "/api/meshes/m/evictions", evictions)
    return agent


@pytest.mark.parametrize("line", ["user list", "get user", "get users"])
def test_users_are_listed_with_endpoints_and_evictions(users: FakeAgent, capsys: Captured, line: str) -> None:
    assert main(line.split()) == 0
    rows = [row.split("  ") for row in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0] == ["NAME", "ENDPOINTS", "ONLINE", "EVICTED"]
    assert cells[1] == ["root", "3", "3"]
    assert cells[2][:3] == ["alice", "1", "0"]
    assert cells[3][:3] == ["mallory", "0", "0"]
    assert all(len(row) == 4 and row[3].endswith(" 2026") for row in cells[2:4])
    assert names(capsys, *line.split()) == ["root", "alice", "mallory"]


def test_one_user_is_selected_and_described(users: FakeAgent, capsys: Captured) -> None:
    users.answer("GET", "/api/meshes/m/users", [user_object("alice", WORK)])
    assert main(["describe", "user", "alice"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "User: alice"
    assert lines[1].startswith("Evicted: since ")
    assert lines[2:4] == ["Endpoints:", f"  NAME  {'ID':36}  STATUS   "]
    users.answer("GET", "/api/meshes/m/users", [])
    assert main(["describe", "user", "nobody"]) == 1
    assert capsys.readouterr().err == "ztm: user 'nobody' not found (see 'ztm user list')\n"


def test_endpoints_beyond_those_in_the_list_of_users_are_counted_too(users: FakeAgent, capsys: Captured) -> None:
    many = [endpoint_object(f"id-{n}", f"ep-{n}", online=n % 2 == 0) for n in range(8)]
    users.answer("GET", "/api/meshes/m/users", [user_object("root", *many[:5], count=8)])
    users.answer("GET", "/api/meshes/m/endpoints", many)
    assert main(["user", "list", "-o", "json"]) == 0
    root = json.loads(capsys.readouterr().out)[0]
    assert (root["endpoints"]["count"], root["endpoints"]["online"]) == (8, 4)
    assert "user=root" in users.sent("GET")[-1][0]


def test_where_nobody_tells_of_evictions_nothing_is_claimed_about_them(users: FakeAgent, capsys: Captured) -> None:
    users.answer("GET", "/api/meshes/m/evictions", None, 404)
    assert main(["user", "list", "--no-headers"]) == 0
    assert [row.split()[-1] for row in capsys.readouterr().out.splitlines()] == ["n/a", "n/a"]
