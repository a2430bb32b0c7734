"""What a script is given and gives back, wherever it runs."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from app_mesh import SmallMesh
from script_mesh import FLOOD, LIMITS, A, B, C, Caller, Mesh, allowed, run, status, wrote

from ztm.apps.script.api import ScriptApp
from ztm.apps.script.model import MAX_SCRIPT
from ztm.errors import (
    LimitError,
    TooLargeError,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="scripts run on POSIX systems")


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    made = SmallMesh(lambda context: ScriptApp(context, LIMITS), tmp_path)
    yield made
    await made.close()


@pytest.fixture(params=["there", "here"])
async def pair(request: pytest.FixtureRequest, mesh: Mesh) -> tuple[ScriptApp, str]:
    """An app, and the endpoint on which it shall run scripts: another one, and its own."""
    if request.param == "here":
        return await allowed(mesh, "a"), A
    app = await mesh.join("a")
    await allowed(mesh, "b")
    return app, B


async def test_outputs_status_and_arguments_are_as_on_the_endpoint_itself(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    text = "import sys; print(sys.argv[1:]); print('oh', file=sys.stderr); sys.exit(7)"
    done = await run(app, place, text, "a b", "--x", "ü", "")
    assert (status(done), bytes(done.stdout), bytes(done.stderr)) == (7, "['a b', '--x', 'ü', '']\n".encode(), b"oh\n")


async def test_a_script_that_throws_has_a_status_and_names_itself_in_the_traceback(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    done = await run(app, place, "1/0")
    assert (status(done), bytes(done.stdout)) == (1, b"")
    assert b"s.py" in done.stderr
    assert b"ZeroDivisionError" in done.stderr


async def test_a_script_ended_by_a_signal_tells_it_as_shells_do(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    assert status(await run(app, place, "import os; os.kill(os.getpid(), 9)")) == 137


async def test_output_comes_before_the_script_has_ended(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    caller = Caller()
    caller.typed = asyncio.Queue()
    running = asyncio.create_task(run(app, place, "print('ready'); print(input() + '!')", caller=caller))
    await caller.until(b"ready\n")
    assert not running.done()
    caller.typed.put_nowait(b"go\n")
    assert status(await running) == 0
    assert caller.stdout == b"ready\ngo!\n"


async def test_standard_input_reaches_its_end_and_all_of_it_comes_back(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    pieces = [bytes([65 + n % 26]) * 50_000 for n in range(40)]
    caller = Caller(*pieces)
    await run(app, place, "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)", caller=caller)
    assert caller.stdout == b"".join(pieces)


async def test_a_script_that_reads_nothing_is_not_held_up_by_its_input(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    assert status(await run(app, place, "print('x')", caller=Caller(*[b"y" * 60_000] * 50))) == 0


async def test_a_large_script_arrives_whole(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    text = "#" + "x" * (MAX_SCRIPT - 100) + "\nprint('end')"
    assert (await run(app, place, text)).stdout == b"end\n"


async def test_an_interrupt_is_a_keyboard_interrupt_there(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    caller = Caller()
    text = (
        "import time\ntry:\n  print('on'); time.sleep(60)\n"
        "except KeyboardInterrupt:\n  print('off'); raise SystemExit(5)"
    )
    running = asyncio.create_task(run(app, place, text, caller=caller))
    await caller.until(b"on\n")
    caller.interrupt()
    assert status(await running) == 5
    assert caller.stdout == b"on\noff\n"


async def test_a_caller_that_takes_nothing_makes_the_script_wait_and_little_is_held(
    pair: tuple[ScriptApp, str], tmp_path: Path
) -> None:
    app, place = pair
    caller, file = Caller(), tmp_path / "progress"
    caller.taking.clear()
    running = asyncio.create_task(run(app, place, FLOOD, str(file), caller=caller))
    seen = -1
    while (now := await wrote(file)) != seen:  # its progress ends, long before its forty megabytes
        seen = now
        await asyncio.sleep(0.3)
    assert seen < 160
    assert not running.done()
    caller.taking.set()
    await running
    assert len(caller.stdout) == 640 * 65536


async def test_no_more_scripts_run_at_once_than_allowed(mesh: Mesh) -> None:
    app = await mesh.join("a")
    await allowed(mesh, "b", maxRuns=1)
    caller = Caller()
    caller.typed = asyncio.Queue()
    first = asyncio.create_task(run(app, B, "print('on'); input()", caller=caller))
    await caller.until(b"on\n")
    with pytest.raises(LimitError, match="b runs 1 scripts"):
        await run(app, B, "print(1)")
    caller.typed.put_nowait(b"\n")
    await first
    assert (await run(app, B, "print(1)")).stdout == b"1\n"


async def test_what_is_too_large_is_refused_before_it_is_sent(mesh: Mesh) -> None:
    app = await mesh.join("a")
    await allowed(mesh, "b")
    with pytest.raises(TooLargeError):
        await run(app, B, "x" * (MAX_SCRIPT + 1))
    with pytest.raises(TooLargeError):
        await run(app, B, "print(1)", "x" * 60_000)
    assert mesh.asked == []


async def test_concurrent_runs_of_one_script_do_not_disturb_each_other(mesh: Mesh, tmp_path: Path) -> None:
    app = await mesh.join("a")
    await allowed(mesh, "b", maxRuns=8)
    text = "import os, sys; print('on'); input(); print(os.path.exists(sys.argv[0]), sorted(os.listdir()))"
    callers = [Caller() for _ in range(4)]
    for caller in callers:
        caller.typed = asyncio.Queue()
    runs = [asyncio.create_task(run(app, B, text, caller=caller)) for caller in callers]
    for caller in callers:
        await caller.until(b"on\n")
    for caller, running in zip(callers, runs, strict=True):  # each ends while the others still run
        caller.typed.put_nowait(b"\n")
        await running
        assert caller.stdout == b"on\nTrue ['s.py']\n"
    assert list((tmp_path / "b" / "runs").iterdir()) == []


async def test_every_run_goes_to_the_endpoint_it_is_for(mesh: Mesh) -> None:
    app = await mesh.join("a")
    for name in ("b", "c"):
        await allowed(mesh, name)
    text = "import os; print(os.getcwd())"
    for place, name in ((C, "c"), (B, "b"), (B, "b"), (C, "c"), (B, "b")):
        assert f"/{name}/runs/" in (await run(app, place, text)).stdout.decode()
    assert mesh.asked == [C, B, B, C, B]


async def test_a_run_has_a_private_directory_that_is_deleted_whatever_it_did_there(
    pair: tuple[ScriptApp, str], tmp_path: Path
) -> None:
    app, place = pair
    text = (
        "import os, stat, tempfile\n"
        "print(oct(stat.S_IMODE(os.stat('.').st_mode)), tempfile.gettempdir() == os.getcwd())\n"
        "os.makedirs('x/y'); open('x/y/z', 'w').close(); os.chmod('x/y', 0); os.chmod('x', 0o500)"
    )
    assert (await run(app, place, text)).stdout == b"0o700 True\n"
    name = "a" if place == A else "b"
    assert list((tmp_path / name / "runs").iterdir()) == []


async def test_a_script_sees_nothing_of_the_agents_environment(
    pair: tuple[ScriptApp, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZTM_TOKEN", "secret-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-2")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    app, place = pair
    done = await run(app, place, "import os, sys; print(dict(os.environ)); print(sys.flags.isolated)")
    assert b"secret" not in done.stdout
    assert b"ZTM_" not in done.stdout
    assert b"PYTHONSTARTUP" not in done.stdout
    assert done.stdout.endswith(b"\n1\n")
