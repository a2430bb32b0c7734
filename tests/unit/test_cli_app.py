"""Apps of an endpoint: shown, started and stopped, installed and published (spec cli 10)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_agent import HOME_ID, WORK_ID, FakeAgent, endpoint_object, running_agent
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]
APPS = f"/api/meshes/m/endpoints/{HOME_ID}/apps"


def app_object(name: str, provider: str = "ztm", tag: str = "", *states: str) -> dict[str, Any]:
    flags = dict.fromkeys(("isBuiltin", "isDownloaded", "isPublished", "isDisabled", "isRunning"), False)
    return {"provider": provider, "name": name, "tag": tag, **flags, **dict.fromkeys(states, True)}


TUNNEL = app_object("tunnel", "ztm", "", "isBuiltin", "isRunning")
HELLO = app_object("hello", "root", "", "isDownloaded")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    monkeypatch.chdir(tmp_path)
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined(endpoints=(endpoint_object(), endpoint_object(WORK_ID, "work", username="alice")))
        running.answer("GET", f"/api/meshes/m/endpoints/{WORK_ID}", endpoint_object(WORK_ID, username="alice"))
        running.answer("GET", APPS, [TUNNEL, HELLO])
        published = [
            {"provider": "root", "name": "hello", "tag": ""},
            {"provider": "alice", "name": "far", "tag": "v2"},
        ]
        running.answer("GET", "/api/meshes/m/apps", published)
        yield running


def test_get_app_is_the_table_that_scripts_know(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["get", "app"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME        TAG  STATE             ",
        "alice/far   v2                     ",
        "root/hello       downloaded        ",
        "ztm/tunnel       builtin, running  ",
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("tunnel", ["ztm/tunnel"]),
        ("ztm/tunnel", ["ztm/tunnel"]),
        ("far@v2", ["alice/far@v2"]),
        ("far", []),
        ("root/tunnel", []),
        ("nope", []),
    ],
)
def test_get_app_selects_by_provider_name_and_tag(
    agent: FakeAgent, capsys: Captured, name: str, found: list[str]
) -> None:
    assert main(["get", "app", name, "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == found


@pytest.mark.parametrize("name", ["a/b/c", "/x", "x@", "@v"])
def test_a_malformed_app_name_is_wrong_usage(agent: FakeAgent, capsys: Captured, name: str) -> None:
    assert main(["describe", "app", name]) == 2
    assert capsys.readouterr().err.startswith(f"ztm: invalid app name '{name}'")


def test_describe_app_has_every_label_that_scripts_know(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["describe", "app", "tunnel"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "App: tunnel",
        "Tag: (untagged)",
        "Provider: ztm",
        "State:",
        "  Builtin   : Yes",
        "  Downloaded: No",
        "  Published : No",
        "  Disabled  : No",
        "  Running   : Yes",
    ]
    assert main(["describe", "app", "hello", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == HELLO


@pytest.mark.parametrize(
    ("verb", "body", "after"),
    [
        ("start", {"isRunning": True}, {"isRunning": True}),
        ("stop", {"isRunning": False}, {}),
        ("enable", {"isDisabled": False}, {}),
        ("disable", {"isDisabled": True}, {"isDisabled": True}),
        ("publish", {"isPublished": True}, {"isPublished": True}),
        ("unpublish", {"isPublished": False}, {}),
        ("download", {}, {}),
    ],
)
def test_each_verb_asks_for_one_state_and_says_nothing_when_it_came_true(
    agent: FakeAgent, capsys: Captured, verb: str, body: dict[str, bool], after: dict[str, bool]
) -> None:
    agent.answer("POST", f"{APPS}/root/hello", {**HELLO, **after}, 201)
    assert main([verb, "app", "hello"]) == 0
    assert agent.sent("POST") == [(f"{APPS}/root/hello", body)]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("verb", ["start", "disable", "publish"])
def test_an_agent_that_answers_success_and_changes_nothing_is_found_out(
    agent: FakeAgent, capsys: Captured, verb: str
) -> None:
    agent.answer("POST", f"{APPS}/root/hello", HELLO, 201)
    assert main([verb, "app", "hello"]) == 1
    assert capsys.readouterr().err.startswith(f"ztm: cannot {verb} app 'root/hello' on endpoint 'home': it is not ")
    agent.answer("POST", f"{APPS}/root/hello", None, 201)
    assert main([verb, "app", "hello"]) == 1
    assert "it is not installed, and not to be had in the mesh" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["start", "stop", "enable", "disable", "download", "erase", "publish", "unpublish"])
def test_an_app_that_is_not_there_is_named(agent: FakeAgent, capsys: Captured, verb: str) -> None:
    assert main([verb, "app", "nope"]) == 1
    assert capsys.readouterr().err == "ztm: app not found: nope (see 'ztm get app')\n"


def test_an_app_of_two_providers_is_ambiguous(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", APPS, [HELLO, app_object("hello", "alice", "", "isDownloaded")])
    assert main(["start", "app", "hello"]) == 1
    assert capsys.readouterr().err == "ztm: ambiguous app name 'hello': use one of alice/hello, root/hello\n"


def test_another_users_endpoint_is_not_permitted_rather_than_empty(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", f"/api/meshes/m/endpoints/{WORK_ID}/apps", [])
    for line in ("ep work describe app tunnel", "ep work get app", "ep work stop app tunnel"):
        assert main(line.split()) == 1
        err = capsys.readouterr().err
        assert err.startswith("ztm: cannot see the apps of endpoint 'work': it belongs to user 'alice'")


def test_what_is_built_in_or_not_installed_cannot_be_erased(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["erase", "app", "tunnel"]) == 1
    assert "it is built in" in capsys.readouterr().err
    assert main(["erase", "app", "alice/far@v2"]) == 1
    assert "it is not installed there" in capsys.readouterr().err
    assert agent.sent("DELETE") == []


def test_erasing_an_app_is_checked_to_have_happened(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("DELETE", f"{APPS}/root/hello", None, 204)
    agent.answer("GET", f"{APPS}/root/hello", HELLO)
    assert main(["erase", "app", "hello"]) == 1
    assert "its agent left it as it is" in capsys.readouterr().err
    agent.answer("GET", f"{APPS}/root/hello", {**HELLO, "isDownloaded": False})
    assert main(["erase", "app", "hello"]) == 0


def test_the_log_of_an_app_that_never_ran_is_a_precise_error(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["log", "app", "hello"]) == 1
    assert "app 'root/hello' has no log on endpoint 'home'" in capsys.readouterr().err
    agent.answer("GET", f"{APPS}/ztm/tunnel/log", [{"time": "T1", "message": "opened"}])
    assert main(["log", "app", "tunnel"]) == 0
    assert capsys.readouterr().out == "T1 opened\n"
