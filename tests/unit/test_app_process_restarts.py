"""Keeping the process of an app running: when it is started again, when no more, and what callers are told."""

import asyncio
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from app_mesh import SmallMesh, ask
from hypothesis import given
from hypothesis import strategies as st
from process_mesh import package, process_mesh, until

from ztm.agent.apps.process.app import ProcessApp
from ztm.agent.apps.process.limits import LIMITS
from ztm.agent.apps.process.restarts import Restarts
from ztm.errors import UnreachableError

SOON = replace(LIMITS, first_retry=0.05, last_retry=0.2, stop_seconds=0.3, ready_seconds=5.0)

CODE = """
import asyncio, os, signal, sys, threading, time
from ztm_app import App

app = App()

@app.user.get("/pid")
async def pid(req):
    return os.getpid()

@app.user.get("/exit/{status}")
async def leave(req, status):
    print("last words")
    os._exit(int(status))

@app.user.get("/loop")
async def loop(req):
    while True:
        pass

@app.user.get("/wait")
async def wait(req):
    await asyncio.Event().wait()

@app.user.get("/garbage/{which}")
async def garbage(req, which):
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            import socket
            sock = socket.socket(fileno=os.dup(number))
            sock.setblocking(True)
            sock.send(b"\\xff" * 100 if which == "noise" else b"\\x00\\x00\\x40\\x00")
        except OSError:
            pass

@app.user.get("/stubborn")
async def stubborn(req):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

@app.on_stop
async def bye():
    await app.files.write("/local/bye", b"1")
"""


def test_the_delay_doubles_up_to_a_minute() -> None:
    restarts, now, delays = Restarts(LIMITS), 0.0, []
    for _ in range(8):
        now += 200.0
        delays.append(restarts.crashed(now, 190.0))
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_five_crashes_within_ten_minutes_are_enough() -> None:
    restarts = Restarts(LIMITS)
    assert [restarts.crashed(float(at), 1.0) for at in range(5)] == [1.0, 2.0, 4.0, 8.0, None]
    assert restarts.count == 4


def test_a_long_run_is_forgiven() -> None:
    restarts = Restarts(LIMITS)
    assert [restarts.crashed(at, ran) for at, ran in ((1.0, 1.0), (3.0, 1.0), (700.0, 690.0), (702.0, 1.0))] == [
        1.0, 2.0, 1.0, 2.0
    ]  # fmt: skip


@given(st.lists(st.floats(0.0, 2000.0), max_size=40))
def test_no_more_than_four_restarts_fall_into_any_ten_minutes(runs: list[float]) -> None:
    restarts, now, crashes = Restarts(LIMITS), 0.0, []
    for ran in runs:
        now += ran
        delay = restarts.crashed(now, ran)
        crashes.append(now)
        if delay is None:
            assert now - crashes[-5] < 600.0
            return
        assert 1.0 <= delay <= 60.0
        assert sum(now - at < 600.0 for at in crashes) < 5
        now += delay


async def started(
    directory: Path, code: str = CODE, heartbeat: float = 15.0
) -> tuple[SmallMesh[ProcessApp], ProcessApp]:
    limits = replace(SOON, heartbeat_seconds=heartbeat)
    mesh = process_mesh(directory, package(directory / "package", code), limits)
    return mesh, await mesh.join("a")


async def pid_of(app: ProcessApp) -> int:
    return int((await ask(app.user_api, "GET", "/pid"))[2])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("/exit/0", "status 0; its last line: last words"),
        ("/exit/3", "status 3; its last line: last words"),
        ("kill", "SIGKILL"),
        ("/loop", "it hung: no sign of life for 1.5 s"),
        ("/garbage/noise", "its process ended|it broke its connection"),
    ],
)
async def test_a_process_that_ends_hangs_or_talks_nonsense_is_replaced_and_callers_are_told(
    tmp_path: Path, how: str, reason: str
) -> None:
    mesh, app = await started(tmp_path, heartbeat=1.5 if how == "/loop" else 15.0)
    try:
        before = await pid_of(app)
        waiting = asyncio.ensure_future(ask(app.user_api, "GET", "/wait"))
        if how == "kill":
            await until(lambda: app.figures()["streams"] > 0)
            os.kill(before, signal.SIGKILL)
        else:
            asked = asyncio.ensure_future(ask(app.user_api, "GET", how))
            await asyncio.gather(asked, return_exceptions=True)
        with pytest.raises(UnreachableError):
            await waiting
        await until(lambda: app.condition.state == "restarting")
        assert any(part in app.condition.reason for part in reason.split("|")), app.condition.reason
        with pytest.raises(UnreachableError, match="is restarting: "):
            await ask(app.user_api, "GET", "/pid")
        await until(lambda: app.condition.state == "running")
        assert app.condition.restarts >= 1
        assert await pid_of(app) != before
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)
        assert ("process", "alice/probe", "running", "") in mesh.context("a").told
    finally:
        await mesh.close()


async def test_half_a_frame_harms_nobody(tmp_path: Path) -> None:
    mesh, app = await started(tmp_path, heartbeat=1.0)
    try:
        await asyncio.gather(ask(app.user_api, "GET", "/garbage/half"), return_exceptions=True)
        await until(lambda: app.condition.restarts >= 1 and app.condition.state == "running")
        await pid_of(app)
    finally:
        await mesh.close()


async def test_after_five_crashes_it_is_given_up_until_somebody_starts_it(tmp_path: Path) -> None:
    mesh, app = await started(tmp_path)
    try:
        for _ in range(5):
            await until(lambda: app.condition.state == "running")
            await asyncio.gather(ask(app.user_api, "GET", "/exit/1"), return_exceptions=True)
            await until(lambda: app.condition.state != "running")
        await until(lambda: app.condition.state == "failed")
        assert "crashed 5 times within 10 minutes" in app.condition.reason
        with pytest.raises(UnreachableError, match="is failed: it crashed 5 times"):
            await pid_of(app)
        await app.start()
        assert (app.condition.state, app.condition.restarts) == ("running", 0)
        assert await pid_of(app) > 0
    finally:
        await mesh.close()


async def test_a_stop_lets_it_finish_and_a_stubborn_one_is_killed(tmp_path: Path) -> None:
    mesh, app = await started(tmp_path)
    try:
        await app.stop()
        assert mesh.context("a").disk.local == {"bye": b"1"}
        await app.start()
        pid = await pid_of(app)
        await ask(app.user_api, "GET", "/stubborn")
        os.kill(pid, signal.SIGSTOP)
        await app.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    finally:
        await mesh.close()


async def test_a_stop_while_it_waits_to_be_started_again_is_final(tmp_path: Path) -> None:
    mesh, app = await started(tmp_path)
    try:
        await asyncio.gather(ask(app.user_api, "GET", "/exit/1"), return_exceptions=True)
        await until(lambda: app.condition.state == "restarting")
        await app.stop()
        assert (app.condition.state, app.pid) == ("stopped", None)
    finally:
        await mesh.close()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def broken(:", "SyntaxError"),
        ("import nothing_like_this", "No module named 'nothing_like_this'"),
        ("app = 3", "the entry is int"),
        ("raise SystemExit(3)", "SystemExit"),
        ("import os; os._exit(4)", "status 4"),
        ("import subprocess; subprocess.run(['/bin/true'])", "other programs need 'exec' among the permissions"),
        ("import socket; socket.socket()", "sockets need 'net' among the permissions"),
        (
            "from ztm_app import App\napp = App()\n@app.on_start\nasync def f(): raise ValueError('no')",
            "ValueError: no",
        ),
    ],
)
async def test_an_app_that_does_not_start_says_why_and_leaves_nothing_behind(
    tmp_path: Path, code: str, reason: str
) -> None:
    mesh = process_mesh(tmp_path, package(tmp_path / "package", code), SOON)
    try:
        with pytest.raises(UnreachableError, match="does not start") as told:
            await mesh.join("a")
        assert reason in str(told.value)
    finally:
        await mesh.close()


async def test_an_app_that_is_not_ready_in_time_is_killed(tmp_path: Path) -> None:
    limits = replace(SOON, ready_seconds=0.5)
    installed = package(tmp_path / "package", "import time\ntime.sleep(60)")
    mesh = process_mesh(tmp_path, installed, limits)
    try:
        with pytest.raises(UnreachableError, match=r"not ready within 0\.5 s"):
            await mesh.join("a")
    finally:
        await mesh.close()


async def test_nothing_is_inherited_but_the_two_sockets(tmp_path: Path) -> None:
    code = (
        "import os\nfrom ztm_app import App\napp = App()\n"
        "@app.user.get('/fds')\nasync def fds(req):\n"
        "    names = [f'/proc/self/fd/{n}' for n in os.listdir('/proc/self/fd')]\n"
        "    return [os.readlink(name) for name in names if os.path.lexists(name)]\n"
    )
    mine = socket.socketpair()
    os.set_inheritable(mine[0].fileno(), True)
    kept = (tmp_path / "secret").open("w")
    os.set_inheritable(kept.fileno(), True)
    mesh, app = await started(tmp_path, code)
    try:
        _, _, body = await ask(app.user_api, "GET", "/fds")
        assert b"secret" not in body
        assert str(os.fstat(mine[0].fileno()).st_ino).encode() not in body
    finally:
        kept.close()
        for one in mine:
            one.close()
        await mesh.close()
