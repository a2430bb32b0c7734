"""Watching a mesh at work: ping, rates and logs (spec cli 11)."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fake_agent import HOME_ID, HUB_ID, VERSION, WORK_ID, FakeAgent, endpoint_object, running_agent
from ztm.cli.context import Context
from ztm.cli.main import main

Captured = pytest.CaptureFixture[str]
WORK = endpoint_object(WORK_ID, "work", username="alice", online=False, ping=0)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    with running_agent(tmp_path, monkeypatch) as running:
        running.leave_pointer("one", "right")
        running.joined(endpoints=(endpoint_object(), WORK))
        running.answer("GET", f"/api/meshes/m/endpoints/{WORK_ID}", WORK)
        hub = {"zone": "default", "ports": ["127.0.0.1:8888"], "version": VERSION, "connected": True}
        running.answer("GET", "/api/meshes/m/hubs", {HUB_ID: hub})
        yield running


HOPS = [
    {"endpoint": {"id": HOME_ID, "name": "home"}, "start": 1795431886946, "end": 1795431886949, "error": None},
    {"hub": {"id": HUB_ID, "names": ["127.0.0.1:8888"]}, "start": 1795431886948, "end": 1795431886948, "error": None},
]


@pytest.mark.parametrize("line", ["ping work", "ping ep work", "ep work ping", "ep m/work ping ep"])
def test_ping_shows_each_hop(agent: FakeAgent, capsys: Captured, line: str) -> None:
    agent.answer("GET", f"/api/meshes/m/ping/endpoints/{WORK_ID}", HOPS)
    assert main(line.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "TYPE", "NAME", "START", "END", "DURATION", "ERROR"]
    assert lines[1].split()[:3] == [HOME_ID, "Endpoint", "home"]
    assert "  0.003s  " in lines[1]
    assert lines[2].split()[:3] == [HUB_ID, "Hub", "127.0.0.1:8888"]
    assert "  0s  " in lines[2]


def test_ping_alone_probes_the_own_endpoint_and_a_failed_hop_exits_1(agent: FakeAgent, capsys: Captured) -> None:
    failed = [HOPS[0], {**HOPS[1], "end": None, "error": "Active session not found"}]
    agent.answer("GET", f"/api/meshes/m/ping/endpoints/{HOME_ID}", failed)
    assert main(["ping"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[2].rstrip().endswith("Active session not found")
    assert err == "ztm: no answer from endpoint 'home': Active session not found\n"


def hops(milliseconds: int | None) -> list[dict[str, object]]:
    start, error = 1795431886946, None if milliseconds is not None else "Response timeout"
    own = {"endpoint": {"id": HOME_ID, "name": "home"}, "start": start, "end": start + (milliseconds or 0)}
    return [{**own, "error": error}, HOPS[1]]


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have commands not sleep; how long they would have."""
    slept: list[float] = []
    monkeypatch.setattr("ztm.cli.shared.Context", partial(Context, sleep=slept.append))
    return slept


def test_several_probes_are_summed_up(agent: FakeAgent, capsys: Captured, no_waiting: list[float]) -> None:
    agent.answers_in_turn("GET", f"/api/meshes/m/ping/endpoints/{WORK_ID}", hops(3), hops(None), hops(6), hops(6))
    assert main(["ping", "work", "-c", "4", "-i", "0.5"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1: answer from work via hub 127.0.0.1:8888: 0.003s",
        "2: no answer from work: Response timeout",
        "3: answer from work via hub 127.0.0.1:8888: 0.006s",
        "4: answer from work via hub 127.0.0.1:8888: 0.006s",
        "work: 4 sent, 3 answered, 25% lost, min/avg/max 0.003s/0.005s/0.006s",
    ]
    assert no_waiting == [0.5] * 3


def test_the_sum_of_probes_is_one_object_in_json(agent: FakeAgent, capsys: Captured, no_waiting: list[float]) -> None:
    agent.answers_in_turn("GET", f"/api/meshes/m/ping/endpoints/{WORK_ID}", hops(3), hops(None))
    assert main(["ping", "ep", "work", "--count", "2", "-o", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["summary"] == {
        "endpoint": WORK_ID,
        "sent": 2,
        "answered": 1,
        "lossPercent": 50.0,
        "min": 3,
        "avg": 3.0,
        "max": 3,
    }
    assert [probe["error"] for probe in said["probes"]] == [None, "Response timeout"]


def test_when_no_probe_is_answered_the_status_is_1(agent: FakeAgent, capsys: Captured, no_waiting: list[float]) -> None:
    agent.answer("GET", f"/api/meshes/m/ping/endpoints/{WORK_ID}", hops(None))
    assert main(["ping", "work", "-c", "2"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "work: 2 sent, 0 answered, 100% lost"
    assert err == "ztm: no answer from endpoint 'work': Response timeout\n"


def test_interrupted_probes_are_summed_up_all_the_same(
    agent: FakeAgent, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.answer("GET", f"/api/meshes/m/ping/endpoints/{WORK_ID}", hops(3))

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ztm.cli.shared.Context", partial(Context, sleep=interrupted))
    assert main(["ping", "work", "-c", "10"]) == 130
    assert capsys.readouterr().out.splitlines()[-1].startswith("work: 1 sent, 1 answered, 0% lost")


@pytest.mark.parametrize("option", ["-c 0", "-c x", "-c 99999999", "-c 2 -i -1", "-c 2 -i soon", "-i nan"])
def test_a_number_of_probes_or_an_interval_that_is_none_is_wrong_usage(agent: FakeAgent, option: str) -> None:
    assert main(["ping", "work", *option.split()]) == 2
    assert agent.requests == []


@pytest.mark.parametrize("line", ["ep work stats ep", "stats ep --endpoint work", "--endpoint=work stats ep"])
def test_rates_honour_the_endpoint_however_it_is_named(agent: FakeAgent, capsys: Captured, line: str) -> None:
    agent.answer("GET", f"/api/meshes/m/stats/endpoints/{WORK_ID}", {"send": 0, "receive": 0, "peers": {}})
    assert main(line.split()) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("(All Peers)")


def test_rates_are_sorted_as_numbers(agent: FakeAgent, capsys: Captured) -> None:
    rates = {HOME_ID: {"send": 10240, "receive": 0}, WORK_ID: {"send": 9 * 1024, "receive": 0}}
    agent.answer("GET", "/api/meshes/m/stats/endpoints", rates)
    assert main(["stats", "ep", "--sort", "send", "--no-headers"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["work", "home"]


def test_stats_of_all_and_of_one(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", "/api/meshes/m/stats/endpoints", {WORK_ID: {"send": 1024, "receive": 0}})
    assert main(["stats", "ep"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "work      1.000KB/s  0.000KB/s  "
    one = {"send": 2048, "receive": 0, "peers": {HOME_ID: {"send": 2048, "receive": 0}}}
    agent.answer("GET", f"/api/meshes/m/stats/endpoints/{WORK_ID}", one)
    assert main(["stats", "ep", "work"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "PEER         SEND       RECEIVE    ",
        "home         2.000KB/s  0.000KB/s  ",
        "(All Peers)  2.000KB/s  0.000KB/s  ",
    ]


def test_log_prints_time_and_message_with_nothing_a_terminal_obeys(agent: FakeAgent, capsys: Captured) -> None:
    agent.answer("GET", f"/api/meshes/m/endpoints/{HOME_ID}/log", [{"time": "T1", "message": "up \x1b[2J"}])
    assert main(["log", "ep"]) == 0
    assert capsys.readouterr().out == "T1 up \\u001b[2J\n"
    agent.answer("GET", f"/api/meshes/m/endpoints/{WORK_ID}/log", None, 403)
    assert main(["log", "ep", "work"]) == 1
    assert capsys.readouterr().err == "ztm: cannot read the log of endpoint 'work': Forbidden\n"
