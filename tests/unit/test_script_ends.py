"""What ends a script, and that all of it ends."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from app_mesh import SmallMesh, ask, read_all
from script_mesh import FLOOD, LIMITS, A, B, Caller, Mesh, allowed, gone, is_alive, run, status, wrote

from ztm.apps.script.api import ScriptApp
from ztm.apps.script.limits import ScriptLimits
from ztm.apps.script.model import Order
from ztm.errors import (
    BrokenStreamError,
    UnreachableError,
)
from ztm.net.http1 import connect_answer, connect_head
from ztm.wire.console import Frame, Kind

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


@pytest.mark.parametrize("ignores", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"])
async def test_a_script_that_takes_too_long_is_stopped_and_says_so(pair: tuple[ScriptApp, str], ignores: str) -> None:
    app, place = pair
    done = await run(app, place, f"{ignores}import time; print('on'); time.sleep(60)", limit=0.8)
    assert (status(done), b"stopped after 0.8 seconds" in done.stderr) == (124, True)


async def test_the_endpoints_own_limit_counts_where_it_is_shorter(mesh: Mesh) -> None:
    app = await allowed(mesh, "a", limit=0.5)
    assert status(await run(app, A, "import time; time.sleep(60)", limit=50.0)) == 124


async def test_a_script_is_ended_with_all_it_started_when_its_caller_leaves(
    pair: tuple[ScriptApp, str], mesh: Mesh
) -> None:
    app, place = pair
    caller = Caller()
    text = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(os.getpid(), child.pid, 'on'); time.sleep(60)"
    )
    running = asyncio.create_task(run(app, place, text, caller=caller))
    await caller.until(b"on\n")
    script, child, _ = caller.stdout.split()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await gone(int(script))
    await gone(int(child))


async def test_a_script_is_ended_when_the_stream_of_its_caller_is_cut(mesh: Mesh) -> None:
    app = await mesh.join("a")
    await allowed(mesh, "b")
    caller = Caller()
    running = asyncio.create_task(
        run(app, B, "import os, time; print(os.getpid(), 'on'); time.sleep(60)", caller=caller)
    )
    await caller.until(b"on\n")
    mesh._sessions[A, B].close("the hub is gone")
    with pytest.raises(UnreachableError, match="was lost"):
        await running
    await gone(int(caller.stdout.split()[0]))
    while mesh.apps[B].exit.running:
        await asyncio.sleep(0.01)
    assert mesh.context("b").trail.trails[-1].reason != "ended"


async def test_what_a_script_leaves_behind_ends_with_it(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    text = "import subprocess, sys\nprint(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    done = await run(app, place, text)  # would wait for the child, which holds the output open
    assert status(done) == 0
    await gone(int(done.stdout))


async def test_who_escaped_and_holds_the_output_open_does_not_keep_the_caller_waiting(
    pair: tuple[ScriptApp, str],
) -> None:
    app, place = pair
    text = (
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'], start_new_session=True).pid)"
    )
    done = await run(app, place, text)
    os.kill(int(done.stdout), 9)
    assert status(done) == 0


async def test_stopping_the_app_stops_its_scripts(mesh: Mesh) -> None:
    app = await mesh.join("a")
    there = await allowed(mesh, "b")
    caller = Caller()
    running = asyncio.create_task(
        run(app, B, "import os, time; print(os.getpid(), 'on'); time.sleep(60)", caller=caller)
    )
    await caller.until(b"on\n")
    await there.stop()
    assert not is_alive(int(caller.stdout.split()[0]))
    assert status(await running) == 143
    assert b"the script app stops" in caller.stderr


async def test_stopping_the_app_does_not_wait_for_a_caller_that_takes_nothing(
    pair: tuple[ScriptApp, str], mesh: Mesh, tmp_path: Path
) -> None:
    app, place = pair
    caller = Caller()
    caller.taking.clear()
    file = tmp_path / "progress"
    running = asyncio.create_task(run(app, place, FLOOD, str(file), caller=caller))
    await wrote(file)
    await mesh.apps[place].stop()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, BrokenStreamError):
        await running


async def test_stopping_the_app_does_not_wait_for_a_script_that_is_still_to_come(mesh: Mesh) -> None:
    await mesh.join("a")
    there = await allowed(mesh, "b")
    stream = await mesh.context("a").connect(B)
    await stream.response()
    await stream.write(connect_head(Order("s.py").target))
    assert (await connect_answer(stream))[0] == 200
    async with asyncio.timeout(5):
        await there.stop()
    assert there.exit.running == 0


async def test_a_script_of_the_local_api_ends_when_its_caller_leaves(mesh: Mesh, tmp_path: Path) -> None:
    app = await mesh.join("a")
    await allowed(mesh, "b")
    file, gone_now = tmp_path / "pid", asyncio.Event()
    text = f"import os, time\nopen({str(file)!r}, 'w').write(f'{{os.getpid():8}}')\ntime.sleep(60)"
    asking = asyncio.create_task(ask(app.user_api, "POST", f"/api/endpoints/{B}/script", text.encode(), gone=gone_now))
    pid = await wrote(file)
    gone_now.set()
    assert (await asking)[0] == 502
    await gone(pid)


async def test_a_caller_that_sends_what_was_not_asked_for_is_cut_and_its_script_ended(mesh: Mesh) -> None:
    await mesh.join("a")
    await allowed(mesh, "b")
    stream = await mesh.context("a").connect(B)
    await stream.response()
    await stream.write(connect_head(Order("s.py").target))
    code, headers = await connect_answer(stream)
    assert (code, dict(headers)["ztm-ext"]) == (200, "1")
    for data in (b"import time; print('on'); time.sleep(60)", b""):
        await stream.write(Frame(Kind.FILE, data).encode())
    for _ in range(6):
        await stream.write(Frame(Kind.STDIN, b"x").encode())
    with contextlib.suppress(BrokenStreamError):
        await read_all(stream)
    app = mesh.apps[B]
    while app.exit.running:
        await asyncio.sleep(0.01)
    assert "not asked for" in mesh.context("b").trail.trails[-1].reason


async def test_a_caller_that_never_sends_its_script_loses_its_place(mesh: Mesh) -> None:
    await mesh.join("a")
    hasty = ScriptLimits(file_seconds=0.1)
    there = await mesh.join("b", factory=lambda context: ScriptApp(context, hasty))
    assert (await ask(there.user_api, "POST", f"/api/endpoints/{B}/config", b'{"allow":true}'))[0] == 201
    stream = await mesh.context("a").connect(B)
    await stream.response()
    await stream.write(connect_head(Order("s.py").target))
    assert (await connect_answer(stream))[0] == 200
    await stream.write(Frame(Kind.FILE, b"print(1)").encode())
    with contextlib.suppress(BrokenStreamError):
        assert await read_all(stream) == b""
    assert "no script came within 0.1 seconds" in mesh.context("b").trail.trails[-1].reason
