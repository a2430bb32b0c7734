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


def by_others(name: str, state: str, reason: str = "") -> dict[str, Any]:
    """An app by others whose process is doing so."""
    running = () if state == "failed" else ("isRunning",)
    process = {"state": state, "reason": reason, "restarts": 4, "confinement": "confined"}
    return {**app_object(name, "root", "", "isDownloaded", *running), "version": "1.0", "process": process}


def test_get_app_tells_a_process_that_failed_from_one_that_runs_and_wide_says_why(
    agent: FakeAgent, capsys: Captured
) -> None:
    found = [
        by_others("a", "running"),
        by_others("b", "failed", "it\ncrashed"),
        by_others("c", "restarting", "status 1"),
    ]
    agent.answer("GET", APPS, found)
    agent.answer("GET", "/api/meshes/m/apps", [])
    assert main(["get", "app", "--no-headers"]) == 0
    assert [line.split(None, 1)[1].strip() for line in capsys.readouterr().out.splitlines()] == [
        "downloaded, running",
        "downloaded, failed",
        "downloaded, running, restarting",
    ]
    assert main(["get", "app", "-o", "wide"]) == 0
    head, one, two, three = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "TAG", "STATE", "VERSION", "REASON"]
    assert (one.split()[-1], two.split()[-3:], three.split()[-2:]) == ("1.0", ["1.0", "it", "crashed"], ["status", "1"])


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


# ------------------------------------------------------------------ apps by others

REPORT = {
    "provider": "root", "name": "hello", "tag": "", "version": "2.0.0", "title": "Greets", "publisher": "root",
    "digest": "d" * 64, "permissions": [{"permission": "net", "meaning": "open connections"}],
    "newPermissions": ["net"], "requires": [], "installed": "", "problems": [],
}  # fmt: skip
INSTALLED = {
    **HELLO, "runtime": "python", "version": "1.0.0", "title": "Greets", "publisher": "root", "digest": "d" * 64,
    "permissions": [{"permission": "net", "meaning": "open connections"}], "previous": "0.9.0",
    "process": {"state": "restarting", "reason": "it crashed", "restarts": 3, "confinement": "confined"},
}  # fmt: skip


def test_describe_app_says_in_words_whose_it_is_what_it_may_and_how_it_does(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", APPS, [INSTALLED])
    assert main(["describe", "app", "hello"]) == 0
    assert capsys.readouterr().out.splitlines()[9:] == [
        "Runtime: python",
        "Version: 1.0.0",
        "Title: Greets",
        "Publisher: root",
        f"Digest: {'d' * 64}",
        "Earlier version: 0.9.0",
        "It may:",
        "  net  open connections",
        "Process: restarting (it crashed)",
        "Restarts: 3",
        "Confinement: confined",
    ]


def test_a_download_shows_what_it_asks_for_and_names_the_package_it_is_about(
    agent: FakeAgent, capsys: Captured
) -> None:
    agent.answer("GET", "/api/meshes/m/packages/root/hello", REPORT)
    agent.answer("POST", f"{APPS}/root/hello", INSTALLED, 201)
    assert main(["download", "app", "hello"]) == 1
    assert "--yes" in capsys.readouterr().err
    assert agent.sent("POST") == []
    assert main(["download", "app", "hello", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "Publisher: root" in out
    assert "  net  open connections" in out
    consent = {"consent": {"digest": "d" * 64, "permissions": ["net"]}}
    assert agent.sent("POST") == [(f"{APPS}/root/hello", consent)]


def test_an_update_that_asks_for_nothing_more_needs_no_word(agent: FakeAgent) -> None:
    agent.answer("GET", "/api/meshes/m/packages/root/hello", {**REPORT, "installed": "1.0.0", "newPermissions": []})
    agent.answer("POST", f"{APPS}/root/hello", INSTALLED, 201)
    assert main(["download", "app", "hello"]) == 0


def test_what_cannot_run_here_is_refused_and_an_older_agent_there_is_asked_all_the_same(
    agent: FakeAgent, capsys: Captured
) -> None:
    said = "app root/hello is a PipyJS app; this agent runs only Python apps"
    agent.answer("GET", "/api/meshes/m/packages/root/hello", {"status": 422, "message": said}, 422)
    assert main(["download", "app", "hello", "--yes"]) == 1
    assert capsys.readouterr().err == f"ztm: cannot download app 'root/hello' on endpoint 'home': {said}\n"
    there = f"/api/meshes/m/endpoints/{WORK_ID}/apps"
    agent.answer("GET", there, [TUNNEL])
    agent.answer("POST", f"{there}/root/hello", HELLO, 201)
    assert main(["ep", "work", "download", "app", "root/hello", "--yes"]) == 0
    assert agent.sent("POST") == [(f"{there}/root/hello", {})]


def test_a_rollback_needs_an_earlier_version_and_says_what_it_changed(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["app", "rollback", "hello"]) == 1
    assert "no earlier version" in capsys.readouterr().err
    agent.answer("GET", APPS, [INSTALLED])
    agent.answer("POST", f"{APPS}/root/hello", {**INSTALLED, "version": "0.9.0"}, 201)
    assert main(["app", "rollback", "hello"]) == 0
    assert capsys.readouterr().out == "app root/hello is 0.9.0 again (it was 1.0.0)\n"
    assert agent.sent("POST") == [(f"{APPS}/root/hello", {"isRolledBack": True})]


@pytest.mark.parametrize("words", ["new x", "check .", "pack .", "install .", "run ."])
def test_what_is_done_to_folders_here_names_no_endpoint(agent: FakeAgent, capsys: Captured, words: str) -> None:
    assert main(["ep", "work", "app", *words.split()]) == 2
    assert "concerns this machine's agent only" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["check", "pack", "install", "run"])
def test_a_folder_without_an_app_is_said_to_be_none(
    agent: FakeAgent, capsys: Captured, tmp_path: Path, verb: str
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert main(["app", verb, str(folder)]) == 1
    assert "no app in" in capsys.readouterr().err


def test_the_guide_shows_what_a_new_app_really_is(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "apps.md").read_text()
    assert main(["app", "new", "greet", str(tmp_path / "greet")]) == 0
    for path in (tmp_path / "greet").iterdir():
        assert f"```{'toml' if path.suffix == '.toml' else 'python'}\n{path.read_text()}```" in guide, path.name
