"""What others name and what a machine's clock says cannot spoil the audit log, nor bring a secret into it."""

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from test_audit_log import HOME, Bench, trail

from ztm.agent.audit.files import AuditFiles, AuditLimits
from ztm.agent.audit.record import MAX_TEXT, safe
from ztm.agent.audit.search import Query, found
from ztm.apps.audit import audited


@pytest.fixture
async def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.log.close()


@pytest.mark.parametrize("wall", [-1e18, -1.0, 1e12, 1e18, float("inf"), float("nan")])
async def test_no_clock_keeps_a_session_from_being_written(bench: Bench, wall: float) -> None:
    bench.clock.time = wall
    bench.write()
    assert bench.records[0]["subject"] == "x"
    assert bench.records[0]["time"].endswith("Z")


async def test_a_clock_that_is_set_back_in_a_session_makes_no_negative_duration(bench: Bench) -> None:
    with audited(bench.audit, trail()):
        bench.clock.time -= 86400
    assert bench.records[0]["duration"] == 0


@pytest.mark.parametrize(
    "secret", ["https://u:SECRETSECRET@h", "Bearer SECRETSECRET", "https://h/~" + "SECRET_" * 6 + "x"]
)
@pytest.mark.parametrize("lead", range(MAX_TEXT - 40, MAX_TEXT + 3))
def test_a_secret_that_a_cut_would_split_is_blotted_out_first(secret: str, lead: int) -> None:
    text = safe("x" * (lead - 1) + " " + secret + " y")
    assert len(text) <= MAX_TEXT
    assert "SECR" not in text


def test_a_secret_in_a_text_with_line_ends_is_blotted_out() -> None:
    assert "MIIsecret" not in safe("-----BEGIN PRIVATE KEY-----\nMIIsecret\n-----END PRIVATE KEY-----\n")


def test_a_very_long_text_costs_little() -> None:
    assert len(safe("://:" * (4 << 20))) <= MAX_TEXT


async def test_lines_that_are_none_of_ours_hide_no_record(bench: Bench) -> None:
    bench.write("before")
    with (bench.directory / "audit.jsonl").open("ab") as file:
        for line in (
            b"[" * 60_000,
            b'{"x":' + b"[" * 60_000,
            b"\0" * 100,
            b"\xff",
            b"{}",
            b'{"time":1}',
            b"x" * 200_000,
        ):
            file.write(line + b"\n")
    bench.write("after")
    lines = await bench.log.search(Query())
    assert [json.loads(line)["subject"] for line in lines] == ["before", "after"]


async def test_many_searches_beside_many_sessions_see_whole_lines_only(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limits=AuditLimits(file_bytes=4000, files=3))
    is_over = threading.Event()
    seen: list[int] = []

    def look() -> None:
        while not is_over.is_set():
            for line in found(AuditFiles(bench.directory, AuditLimits(file_bytes=4000, files=3)), Query()):
                json.loads(line)
                seen.append(len(line))

    looking = asyncio.create_task(asyncio.to_thread(look))
    while len(seen) < 500:
        bench.write("y" * 100)
        await asyncio.sleep(0)
    is_over.set()
    await looking
    bench.log.close()


@pytest.mark.parametrize("what", ["link", "directory", "fifo", "nothing allowed"])
async def test_a_log_that_was_replaced_by_something_else_harms_no_session(
    bench: Bench, what: str, tmp_path: Path
) -> None:
    bench.directory.mkdir(mode=0o700)
    path = bench.directory / "audit.jsonl"
    target = tmp_path / "target"
    target.write_text("kept")
    if what == "link":
        path.symlink_to(target)
    elif what == "directory":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    else:
        bench.directory.rmdir()
        bench.directory.symlink_to("/dev/null")
    bench.write()
    assert target.read_text() == "kept"
    assert bench.log.lost == 1
    assert HOME[1] == "home"
