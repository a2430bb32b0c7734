"""Commands that go on: what `--watch` and `--follow` show, and when they end."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_agent import HOME_ID, WORK_ID, FakeAgent, endpoint_object, running_agent
from ztm.apps.grammar import Arguments
from ztm.cli import log, objects, stats
from ztm.cli.changes import POLL, REFRESH, Changes
from ztm.cli.context import Context
from ztm.cli.failures import AgentUnreachableError
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]
ENDPOINTS = "/api/meshes/m/endpoints"
LOG = f"{ENDPOINTS}/{HOME_ID}/log"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined()
        yield running


class Clock:
    """Time that passes when somebody sleeps, and ends a command after a number of sleeps as Ctrl-C does."""

    def __init__(self, sleeps: int = 1000) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self._sleeps = sleeps

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        if len(self.slept) > self._sleeps:
            raise KeyboardInterrupt

    def context(self, timeout: float | None = None) -> Context:
        return Context(timeout=timeout, now=lambda: self.time, sleep=self.sleep)


def get(context: Context, kind: str, **options: str) -> int | None:
    given = {"--watch": (), **{f"--{name.replace('_', '-')}": (value,) for name, value in options.items()}}
    return objects.get(context, Arguments({"object type": kind}, given))


def endpoints(**states: bool) -> list[dict[str, Any]]:
    return [endpoint_object(f"id-{name}", name, online=online, heartbeat=1) for name, online in states.items()]


def test_each_row_is_printed_again_when_it_changes_and_what_is_gone_is_named(
    agent: FakeAgent, capsys: Captured
) -> None:
    turns = [endpoints(a=True, b=True), endpoints(a=True, b=True), endpoints(a=True, b=False), endpoints(b=False)]
    agent.answers_in_turn("GET", ENDPOINTS, *turns, endpoints(b=False, c=True))
    assert get(Clock().context(timeout=4.5 * POLL), "ep") == 0
    out, err = capsys.readouterr()
    assert [line.split()[:1] + line.split()[4:5] for line in out.splitlines()] == [
        ["NAME", "STATUS"],
        ["a", "Online"],
        ["b", "Online"],
        ["b", "Offline"],
        ["c", "Online"],
    ]
    assert err == "ztm: gone: a\n"


@pytest.mark.parametrize(("form", "lines"), [("json", 3), ("name", 3)])
def test_scripts_get_one_line_for_each_change(agent: FakeAgent, capsys: Captured, form: str, lines: int) -> None:
    agent.answers_in_turn("GET", ENDPOINTS, endpoints(a=True, b=True), endpoints(a=True, b=False))
    assert get(Clock().context(timeout=3 * POLL), "ep", output=form) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == lines
    if form == "json":
        assert [json.loads(line)["online"] for line in printed] == [True, True, False]


def test_what_no_column_shows_is_no_change(agent: FakeAgent, capsys: Captured) -> None:
    beats = [[endpoint_object(heartbeat=n)] for n in range(5)]
    agent.answers_in_turn("GET", ENDPOINTS, *beats)
    assert get(Clock().context(timeout=4 * POLL), "ep", output="json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_an_agent_without_events_is_asked_every_two_seconds_and_not_for_events_again(agent: FakeAgent) -> None:
    clock = Clock(sleeps=3)
    with pytest.raises(KeyboardInterrupt):
        get(clock.context(), "ep")
    assert clock.slept == [2.0] * 4
    assert len([path for path, _ in agent.sent("GET") if path.startswith("/api/events")]) == 1


def test_an_event_is_reason_to_look_again_at_once(agent: FakeAgent, capsys: Captured) -> None:
    agent.answers_in_turn("GET", ENDPOINTS, endpoints(a=True), endpoints(a=False))
    told = 'retry: 2000\nid: 1\n\nevent: endpoint\ndata: {"type":"endpoint"}\nid: 2\n\n'
    agent.answers["GET", "/api/events"] = [(200, told), (404, None)]
    clock = Clock(sleeps=0)
    with pytest.raises(KeyboardInterrupt):
        get(clock.context(), "ep")
    assert [line.split()[4] for line in capsys.readouterr().out.splitlines()] == ["STATUS", "Online", "Offline"]
    asked = next(path for path, _ in agent.sent("GET") if path.startswith("/api/events"))
    assert asked == "/api/events?types=mesh,endpoint&mesh=m"


def test_a_stream_of_events_that_ends_is_opened_again_after_a_while(agent: FakeAgent) -> None:
    agent.answer("GET", "/api/events", "retry: 2000\n\n")
    clock = Clock()
    with Changes(clock.context(), ("mesh",)) as changes:
        for _ in range(3):
            assert changes.wait()
    assert clock.slept == [POLL] * 3
    assert [path for path, _ in agent.sent("GET")] == ["/api/events?types=mesh"] * 2


def test_the_time_given_ends_a_watch_with_success_and_in_time(agent: FakeAgent) -> None:
    clock = Clock()
    assert get(clock.context(timeout=2.5 * POLL), "ep") == 0
    assert clock.time == 2.5 * POLL
    assert POLL < REFRESH


def test_the_time_given_ends_a_watch_also_while_it_tries_to_get_events_again(agent: FakeAgent) -> None:
    agent.answer("GET", "/api/events", {"message": "too many readers"}, 429)
    clock = Clock()
    assert get(clock.context(timeout=POLL), "ep") == 0
    assert clock.time == POLL


def test_an_interrupt_ends_a_watch_with_130(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ztm.cli.changes.Changes.wait", interrupted)
    assert main(["get", "ep", "--watch"]) == 130


def test_a_hub_that_is_away_for_a_while_does_not_end_a_watch_and_is_told_once(
    agent: FakeAgent, capsys: Captured
) -> None:
    away = (503, {"status": 503, "message": "mesh m is not connected"})
    agent.answers["GET", ENDPOINTS] = [(200, endpoints(a=True)), away, away, (200, endpoints(a=False))]
    assert get(Clock().context(timeout=4 * POLL), "ep") == 0
    out, err = capsys.readouterr()
    assert [line.split()[4] for line in out.splitlines()] == ["STATUS", "Online", "Offline"]
    assert err == "ztm: not up to date: mesh m is not connected\n"


def test_a_watch_whose_first_look_fails_fails(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", ENDPOINTS, {"message": "mesh m is not connected"}, 503)
    assert main(["get", "ep", "-w", "--timeout", "5"]) == 1
    assert capsys.readouterr() == ("", "ztm: mesh m is not connected\n")


def test_a_watch_ends_when_the_agent_does(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    context = clock.context()
    monkeypatch.setattr(clock, "sleep", None)

    def stop(_seconds: float) -> None:
        def gone(_timeout: float) -> None:
            raise AgentUnreachableError("gone")

        monkeypatch.setattr(context.client._line, "_connect", gone)

    context.sleep = stop
    with pytest.raises(AgentUnreachableError):
        get(context, "ep")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A small terminal in the place of standard output."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "5")
    monkeypatch.setenv("COLUMNS", "40")
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    return screen


def frames(screen: Terminal) -> list[list[str]]:
    """The lines of each drawing."""
    return [frame.splitlines() for frame in screen.getvalue().split("\x1b[J")[1:]]


def test_a_terminal_shows_the_table_in_its_place(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    agent.answers_in_turn("GET", ENDPOINTS, endpoints(a=True), endpoints(a=True, b=False), endpoints(b=False))
    assert get(Clock().context(timeout=3 * POLL), "ep") == 0
    drawn = frames(terminal)
    assert [len(frame) - (number < 2) for number, frame in enumerate(drawn)] == [2, 3, 2]
    assert [frame[-1] for frame in drawn[:2]] == ["\x1b[2A", "\x1b[3A"]


def test_what_does_not_fit_on_a_terminal_is_left_out_so_that_it_never_scrolls(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    agent.answer("GET", ENDPOINTS, endpoints(**dict.fromkeys("家abcdefgh", True)))
    assert get(Clock().context(timeout=POLL), "ep") == 0
    lines = frames(terminal)[-1]
    assert len(lines) == 4
    assert lines[-1] == "... and 7 more lines"
    assert all(sum(1 + (character == "家") for character in line) <= 40 for line in lines)


def test_a_terminal_is_told_why_the_table_is_old(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    away = (503, {"status": 503, "message": "mesh m is not connected"})
    agent.answers["GET", ENDPOINTS] = [(200, endpoints(a=True)), away]
    assert get(Clock().context(timeout=2 * POLL), "ep") == 0
    assert frames(terminal)[-1][-1] == "(not up to date: mesh m is not connecte"[:40] + "d"


def test_rates_are_watched_too(agent: FakeAgent, capsys: Captured) -> None:
    rates = [{HOME_ID: {"send": 1024 * n, "receive": 0}} for n in range(3)]
    agent.answers_in_turn("GET", "/api/meshes/m/stats/endpoints", *rates)
    arguments = Arguments({"object type": "ep"}, {"--watch": (), "--no-headers": ()})
    assert stats.stats(Clock().context(timeout=3 * POLL), arguments) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        "0.000KB/s",
        "1.000KB/s",
        "2.000KB/s",
    ]


# ------------------------------------------------------------------ logs


def messages(*numbers: int) -> list[dict[str, str]]:
    return [{"time": f"T{number}", "type": "info", "message": "said"} for number in numbers]


def test_a_followed_log_prints_every_message_once(agent: FakeAgent, capsys: Captured) -> None:
    turns = [messages(1, 2), messages(1, 2), messages(1, 2, 3), messages(3, 4, 5), messages(9)]
    agent.answers_in_turn("GET", LOG, *turns)
    arguments = Arguments({"object type": "ep"}, {"--follow": ()})
    assert log.log(Clock().context(timeout=5 * POLL), arguments) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["T1", "T2", "T3", "T4", "T5", "T9"]


def test_a_followed_log_is_one_json_object_a_line(agent: FakeAgent, capsys: Captured) -> None:
    agent.answers_in_turn("GET", LOG, messages(1), messages(1, 2))
    arguments = Arguments({"object type": "ep"}, {"--follow": (), "--output": ("json",)})
    assert log.log(Clock().context(timeout=2 * POLL), arguments) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == messages(1, 2)


def test_the_same_message_twice_is_two_messages() -> None:
    assert log.fresh(messages(1, 1), messages(1, 1, 1)) == messages(1)
    assert log.fresh([], messages(1)) == messages(1)
    assert log.fresh(messages(1), []) == []


def test_another_endpoints_log_is_followed_without_events(agent: FakeAgent) -> None:
    agent.joined(endpoints=(endpoint_object(), endpoint_object(WORK_ID, "work")))
    agent.answer("GET", f"{ENDPOINTS}/{WORK_ID}/log", messages(1))
    arguments = Arguments({"object type": "ep", "object name": "work"}, {"--follow": ()})
    assert log.log(Clock().context(timeout=POLL), arguments) == 0
    assert not [path for path, _ in agent.sent("GET") if path.startswith("/api/events")]
