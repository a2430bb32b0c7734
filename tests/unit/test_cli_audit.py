"""`ztm log audit`: what is asked of the agent, and how records are shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fake_agent import WORK_ID, FakeAgent, endpoint_object, running_agent
from ztm.cli.audit import fresh
from ztm.cli.context import Context
from ztm.cli.log import COMMANDS
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]
OWN = "/api/meshes/m/audit"


def record(subject: str = "outbound tcp/web", **more: Any) -> dict[str, Any]:
    made = {
        "time": "2026-11-23T18:00:00.000Z", "duration": 1.5, "app": "ztm/tunnel", "side": "exit", "user": "alice",
        "endpoint": WORK_ID, "from": "10.1.2.3:777", "action": "connect", "subject": subject,
        "target": "127.0.0.1:80", "allowed": True, "rule": "owner", "sent": 5, "received": 7, "reason": "ended",
    }  # fmt: skip
    return {**made, **more}


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined(endpoints=(endpoint_object(), endpoint_object(WORK_ID, "work")))
        running.answer("GET", OWN, [record(), record("x\x1b[2J", allowed=False, app="eve/chat", reason="only root")])
        yield running


def asked(agent: FakeAgent) -> dict[str, list[str]]:
    """The query of the last request to an audit log."""
    path = next(path for path, _ in reversed(agent.sent("GET")) if "/audit" in path)
    return parse_qs(urlsplit(path).query)


def test_a_table_shows_who_did_what_by_which_app(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["log", "audit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = "TIME SIDE USER APP ACTION SUBJECT TARGET ALLOWED BYTES DURATION REASON"
    assert lines[0].split() == titles.split()
    assert lines[1].split() == [
        *("2026-11-23T18:00:00.000Z", "exit", "alice", "tunnel", "connect", "outbound", "tcp/web", "127.0.0.1:80"),
        *("yes", "12", "1.5s", "ended"),
    ]
    assert "eve/chat" in lines[2]
    assert "\x1b" not in lines[2]
    assert "  no  " in lines[2]
    assert asked(agent) == {"limit": ["100"]}


def test_a_table_names_endpoints_and_leaves_its_heading_out_where_asked(agent: FakeAgent, capsys: Captured) -> None:
    records = [record(target=WORK_ID, reason=f"endpoint {WORK_ID}: refused")]
    agent.answer("GET", OWN, records)
    assert main(["log", "audit", "--no-headers"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[7:] == ["work", "yes", "12", "1.5s", "endpoint", "work:", "refused"]
    assert main(["log", "audit", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == records[0]


def test_the_audit_log_is_shown_where_no_endpoint_can_be_named(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", "/api/meshes/m/endpoints", {"status": 503, "message": "mesh m is not connected"}, 503)
    agent.answer("GET", OWN, [record(target=WORK_ID)])
    assert main(["log", "audit"]) == 0
    assert WORK_ID in capsys.readouterr().out


def test_json_is_one_object_a_line(agent: FakeAgent, capsys: Captured) -> None:
    assert main(["log", "audit", "-o", "json"]) == 0
    assert [json.loads(line)["app"] for line in capsys.readouterr().out.splitlines()] == ["ztm/tunnel", "eve/chat"]


def test_options_are_asked_of_the_agent_that_keeps_the_log(
    agent: FakeAgent, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    agent.answer("GET", f"/api/meshes/m/endpoints/{WORK_ID}/audit", [])
    words = ["--app", "eve/chat", "--user", "bob", "--denied", "--since", "1h", "--limit", "7"]
    assert main(["log", "audit", "work", *words]) == 0
    assert asked(agent) == {
        "app": ["eve/chat"], "user": ["bob"], "allowed": ["false"], "since": ["1799996400.000"], "limit": ["7"]
    }  # fmt: skip
    assert capsys.readouterr().out.split()[:2] == ["TIME", "SIDE"]
    assert main(["ep", "work", "log", "audit", "--since", "2026-11-23"]) == 0
    assert asked(agent)["since"] == ["2026-11-23"]


@pytest.mark.parametrize("words", ["--since soon", "--since 5", "--limit 0", "--limit 1001", "--limit x", "-o nice"])
def test_what_is_malformed_is_said_before_anything_is_asked(agent: FakeAgent, capsys: Captured, words: str) -> None:
    assert main(["log", "audit", *words.split()]) == 2
    assert "invalid" in (said := capsys.readouterr().err) or "unknown output format" in said
    assert not any("/audit" in path for path, _ in agent.sent("GET"))


@pytest.mark.parametrize("words", ["--denied", "--app x", "--since 1h"])
def test_other_logs_have_none_of_its_options(agent: FakeAgent, capsys: Captured, words: str) -> None:
    assert main(["log", "ep", *words.split()]) == 2
    assert "goes with 'log audit' only" in capsys.readouterr().err


def test_an_endpoint_without_an_audit_log_is_said_to_have_none(agent: FakeAgent, capsys: Captured) -> None:
    said = {"status": 404, "message": "endpoint work keeps no audit log: its agent is of another version"}
    agent.answer("GET", f"/api/meshes/m/endpoints/{WORK_ID}/audit", said, 404)
    assert main(["log", "audit", "work"]) == 1
    assert "cannot read the audit log of endpoint 'work': endpoint work keeps no audit log" in capsys.readouterr().err


def test_following_prints_what_is_new_and_no_record_twice(agent: FakeAgent, capsys: Captured) -> None:
    first, second, third = (record(name) for name in ("one", "two", "three"))
    agent.answers_in_turn("GET", OWN, [first, second], [first, second], [first, second, third])
    (command,) = COMMANDS
    time = [0.0]

    def sleep(seconds: float) -> None:
        time[0] += seconds

    context = Context(timeout=6.5, now=lambda: time[0], sleep=sleep)
    from ztm.cli.commands import commands

    _, arguments = commands().parse(["log", "audit", "--follow", "-o", "json", "--limit", "1"])
    assert command.run(context, arguments) == 0
    assert [json.loads(line)["subject"] for line in capsys.readouterr().out.splitlines()] == ["two", "three"]


def test_what_is_new_is_behind_the_last_one_known() -> None:
    a, b, c = (record(name) for name in "abc")
    assert fresh([], [a]) == [a]
    assert fresh([a, b], [a, b]) == []
    assert fresh([a, b], [b, c]) == [c]
    assert fresh([a], [b, c]) == [b, c]
    assert fresh([a], [b, a, a]) == []
