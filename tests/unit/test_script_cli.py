"""`ztm script`: what is run where, from the words typed; and one script on many endpoints (spec apps-network 4.1)."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from app_console import CannedApp, MemoryConsole

from ztm.apps.base import AppContext
from ztm.apps.command import Call, EndpointRef
from ztm.apps.commandline import run_command
from ztm.apps.script.cli import NOTES, table, whole
from ztm.apps.script.client import Client, Kept
from ztm.apps.script.limits import ScriptLimits
from ztm.apps.script.many import chosen, run_on_all
from ztm.apps.script.model import MAX_SCRIPT, Order
from ztm.errors import ConflictError, ForbiddenError, NotFoundError, UnreachableError, ZtmError
from ztm.model import Endpoint

HOME, WORK = EndpointRef("11111111-1111-4111-8111-111111111111", "home"), EndpointRef("2" * 8, "work")


def endpoint(name: str, *labels: str, user: str = "alice", online: bool = True) -> Endpoint:
    return Endpoint(f"id-{name}", name, user, labels=labels, online=online)


FLEET = [
    endpoint("web-1", "web"),
    endpoint("web-2", "web", "env=prod"),
    endpoint("db"),
    endpoint("off", "web", online=False),
    endpoint("bobs", "web", user="bob"),
]


class FakeRunner:
    """Keeps what is to be run, and does what `work` says."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, Order, bytes]] = []
        self.fails: dict[str, ZtmError] = {}
        self.status: dict[str, int] = {}
        self.present = self.most = 0

    async def run(self, place: str, order: Order, script: bytes, client: Client) -> int:
        self.runs.append((place, order, script))
        self.present += 1
        self.most = max(self.most, self.present)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.present -= 1
        if place in self.fails:
            raise self.fails[place]
        await client.out(b"hello from " + place.encode() + b"\n\n")
        while data := await client.read():
            await client.out(data)
        await client.err(b"oh\n")
        return self.status.get(place, 0)


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def app() -> CannedApp:
    return CannedApp(HOME, WORK)


async def ran(
    runner: FakeRunner,
    words: Sequence[str],
    directory: Path | str = "/",
    typed: bytes = b"",
    app: CannedApp | None = None,
) -> tuple[int, str, str]:
    async def endpoints() -> list[Endpoint]:
        return FLEET

    mesh = cast("AppContext", SimpleNamespace(user="alice", endpoints=endpoints))
    call = Call(program="ztm script", words=tuple(words), endpoint=HOME, environment={}, directory=str(directory))
    console, api = MemoryConsole(call, typed), app or CannedApp(HOME)
    commands = table(mesh, runner)
    status = await run_command(cast("AppContext", api), api, console, commands, NOTES, whole(call.words))
    return status, console.out.decode(), console.err.decode()


async def test_the_file_is_read_where_the_caller_is_and_run_on_the_chosen_endpoint(
    runner: FakeRunner, tmp_path: Path
) -> None:
    (tmp_path / "s.py").write_bytes(b"print(1)")
    runner.status[HOME.id] = 9
    done = await ran(runner, ["s.py"], tmp_path, b"typed")
    assert done == (9, f"hello from {HOME.id}\n\ntyped", "oh\n")
    assert runner.runs == [(HOME.id, Order("s.py"), b"print(1)")]


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["s.py", "--args", "a", "--limit", "-x", "--"], ("a", "--limit", "-x", "--")),
        (["s.py", "--", "a", "--args", "-h"], ("a", "--args", "-h")),
        (["s.py", "--"], ()),
        (["run", "s.py", "--args", "--help"], ("--help",)),
        (["--limit", "5", "s.py", "--", "x"], ("x",)),
    ],
)
async def test_all_that_follows_belongs_to_the_script(
    runner: FakeRunner, tmp_path: Path, words: list[str], arguments: tuple[str, ...]
) -> None:
    (tmp_path / "s.py").write_bytes(b"")
    assert (await ran(runner, words, tmp_path))[0] == 0
    ((_, order, _),) = runner.runs
    assert order.arguments == arguments
    assert order.limit == (5.0 if "5" in words[:2] else None)


async def test_a_script_on_standard_input_is_read_to_its_end_and_has_no_input_itself(runner: FakeRunner) -> None:
    done = await ran(runner, ["-"], typed=b"print(1)")
    assert runner.runs == [(HOME.id, Order("stdin.py"), b"print(1)")]
    assert done[1] == f"hello from {HOME.id}\n\n"


async def test_what_is_no_file_is_refused_without_waiting_for_it(runner: FakeRunner, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    (tmp_path / "large").write_bytes(b"x" * (MAX_SCRIPT + 1))
    for name, said in (
        ("none", "cannot read"),
        ("fifo", "no regular file"),
        ("large", "larger than"),
        ("dir", "no regular file"),
    ):
        status, _, err = await ran(runner, [name], tmp_path)
        assert status in (1, 2)
        assert said in err
    assert runner.runs == []


@pytest.mark.parametrize(
    "words", [[], ["run"], ["s.py", "--limit", "x"], ["s.py", "--limit", "0"], ["s.py", "--sort", "x"], ["s.py", "y"]]
)
async def test_what_is_not_understood_runs_nothing(runner: FakeRunner, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "s.py").write_bytes(b"")
    status, _, err = await ran(runner, words, tmp_path)
    assert (status, err.startswith("ztm: ")) == (2, True)
    assert runner.runs == []


# ---------------------------------------------------------------- many


async def test_many_endpoints_are_a_table_and_one_that_fails_is_a_row(runner: FakeRunner, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_bytes(b"print(1)")
    runner.fails["id-web-2"] = UnreachableError("no hub leads there")
    runner.status["id-db"] = 3
    status, out, _ = await ran(runner, ["s.py", "--on", "label=web", "db", "off"], tmp_path)
    assert status == 1
    assert [line.split() for line in out.splitlines()] == [
        ["ENDPOINT", "STATUS", "SECONDS", "OUTPUT"],
        ["db", "3", "0.0", "oh"],
        ["off", "0", "0.0", "oh"],
        ["web-1", "0", "0.0", "oh"],
        ["web-2", "failed", "0.0", "no", "hub", "leads", "there"],
    ]


async def test_the_whole_output_of_all_is_in_the_json(runner: FakeRunner, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_bytes(b"print(1)")
    status, out, _ = await ran(runner, ["s.py", "--all", "-o", "json"], tmp_path)
    found = json.loads(out)
    assert status == 0
    assert [one["endpoint"]["name"] for one in found] == ["db", "web-1", "web-2"]
    assert (found[0]["status"], found[0]["stdout"], found[0]["stderr"], found[0]["cut"]) == (
        0, "hello from id-db\n\n", "oh\n", False,
    )  # fmt: skip


async def test_without_any_endpoint_it_is_an_error(runner: FakeRunner, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_bytes(b"print(1)")
    status, _, err = await ran(runner, ["s.py", "--on", "label=none"], tmp_path)
    assert (status, "label 'none'" in err) == (1, True)


def names(*selectors: str, every: bool = False) -> list[str]:
    return [one.name for one in chosen(FLEET, "alice", selectors, every=every)]


def test_labels_mean_own_endpoints_that_are_online_and_names_mean_what_they_say() -> None:
    assert names("label=web") == ["web-1", "web-2"]
    assert names("label=env=prod") == ["web-2"]
    assert names("bobs", "off", "id-db") == ["bobs", "db", "off"]
    assert names(every=True) == ["db", "web-1", "web-2"]
    assert names("web-1", "label=web", "id-web-1") == ["web-1", "web-2"]
    with pytest.raises(NotFoundError, match="'nope' not found"):
        names("nope")
    with pytest.raises(NotFoundError, match="no endpoint of yours is online"):
        chosen([], "alice", (), every=True)
    with pytest.raises(ConflictError, match="ambiguous"):
        chosen([*FLEET, Endpoint("other", "db", "alice")], "alice", ["db"], every=False)


async def test_no_more_than_some_endpoints_run_it_at_a_time(runner: FakeRunner) -> None:
    fleet = [endpoint(f"e{n:02}") for n in range(40)]
    results = await run_on_all(runner, fleet, Order("s.py"), b"", ScriptLimits(at_once=16))
    assert runner.most == 16
    assert [result.endpoint for result in results] == fleet
    assert all(result.is_good for result in results)


async def test_many_endpoints_together_keep_no_more_than_all_may(runner: FakeRunner) -> None:
    fleet = [endpoint(f"e{n:02}") for n in range(40)]
    results = await run_on_all(runner, fleet, Order("s.py"), b"", ScriptLimits(kept_of_all=400))
    assert {len(result.output.stdout) for result in results} == {10}
    assert all(result.output.is_cut and result.output.last_line == "oh" for result in results)


async def test_of_a_flood_of_output_only_the_beginning_is_kept_and_marked() -> None:
    output = Kept(10)
    await output.out(b"123456")
    assert not output.is_cut
    await output.out(b"78901")
    await output.err(b"last line\n \n")
    assert (bytes(output.stdout), output.is_cut, output.last_line) == (b"1234567890", True, "12345678901last line")


async def test_a_refusal_is_told_and_the_status_is_not_the_scripts(runner: FakeRunner, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_bytes(b"print(1)")
    runner.fails[HOME.id] = ForbiddenError("scripts are off there")
    assert await ran(runner, ["s.py"], tmp_path) == (1, "", "ztm: scripts are off there\n")


# ---------------------------------------------------------------- settings


async def test_the_settings_are_shown_with_who_may(runner: FakeRunner, app: CannedApp) -> None:
    path = f"/api/endpoints/{HOME.id}/config"
    shown: dict[str, Any] = {"allow": False, "users": [], "limit": 3600.0, "maxRuns": 4, "running": 0}
    app.answer("GET", path, shown)
    assert (await ran(runner, ["config"], app=app))[1].splitlines() == [
        f"Endpoint: home ({HOME.id})",
        "Scripts: off",
        "Allowed Users:",
        "  (owner only)",
        "Time Limit: 3600s",
        "At Once: 4 (0 now)",
    ]
    app.answer("GET", path, {**shown, "allow": True, "users": ["bob"]})
    assert "  bob" in (await ran(runner, ["config"], app=app))[1].splitlines()


async def test_settings_are_changed_in_one_request(runner: FakeRunner, app: CannedApp) -> None:
    path = f"/api/endpoints/{HOME.id}/config"
    app.answer("POST", path, {}, 201)
    line = "config --allow on --add-user bob carol --del-user dave --limit 60s --max-runs 2"
    assert await ran(runner, line.split(), app=app) == (0, "", "")
    body = {"allow": True, "addUsers": ["bob", "carol"], "delUsers": ["dave"], "limit": 60.0, "maxRuns": 2}
    assert app.sent("POST") == [(path, body)]


@pytest.mark.parametrize("words", ["--allow maybe", "--allow", "--limit x", "--max-runs 0"])
async def test_settings_that_are_not_understood_change_nothing(runner: FakeRunner, app: CannedApp, words: str) -> None:
    assert (await ran(runner, ["config", *words.split()], app=app))[0] == 2
    assert app.sent("POST") == []
