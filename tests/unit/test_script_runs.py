"""Scripts on other endpoints: what comes back, who may, and that nothing of them stays (spec apps-network 4)."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from app_mesh import OWN_IDS, SmallMesh, ask, read_all

from ztm.apps.script.api import ScriptApp
from ztm.apps.script.limits import ScriptLimits
from ztm.apps.script.model import MAX_SCRIPT, Order
from ztm.errors import (
    BrokenStreamError,
    ForbiddenError,
    LimitError,
    RefusedError,
    StorageError,
    TooLargeError,
    UnreachableError,
)
from ztm.model import Peer
from ztm.net.http1 import connect_answer, connect_head, request_http1
from ztm.wire.console import Frame, Kind

A, B, C = OWN_IDS[:3]
LIMITS = ScriptLimits(grace_seconds=0.3, linger_seconds=0.3, kept_output=1 << 20)
Mesh = SmallMesh[ScriptApp]

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="scripts run on POSIX systems")


class Caller:
    """A client in memory, which tells when something has come."""

    def __init__(self, *typed: bytes) -> None:
        self.typed: asyncio.Queue[bytes] = asyncio.Queue()
        for piece in (*typed, b""):
            self.typed.put_nowait(piece)
        self.stdout, self.stderr = bytearray(), bytearray()
        self.came = asyncio.Event()
        self.taking = asyncio.Event()
        self.taking.set()
        self.interrupt: Callable[[], None] = lambda: None

    async def read(self) -> bytes:
        return await self.typed.get()

    async def out(self, data: bytes) -> None:
        await self.taking.wait()
        self.stdout += data
        self.came.set()

    async def err(self, data: bytes) -> None:
        self.stderr += data
        self.came.set()

    def on_interrupt(self, interrupted: Callable[[], None]) -> None:
        self.interrupt = interrupted

    async def until(self, text: bytes) -> None:
        """Return once standard output holds `text`."""
        while text not in self.stdout:
            self.came.clear()
            await self.came.wait()


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    made = SmallMesh(lambda context: ScriptApp(context, LIMITS), tmp_path)
    yield made
    await made.close()


async def allowed(mesh: Mesh, name: str, user: str = "alice", **more: object) -> ScriptApp:
    """An endpoint where scripts are allowed."""
    app = await mesh.join(name, user)
    own = mesh.context(name).place.id
    status, _, _ = await ask(
        app.user_api, "POST", f"/api/endpoints/{own}/config", json.dumps({"allow": True, **more}).encode()
    )
    assert status == 201
    return app


async def run(
    app: ScriptApp, endpoint: str, text: str, *arguments: str, caller: Caller | None = None, **more: Any
) -> Caller:
    """Run a script to its end; the exit status is then in `caller.status`."""
    client = caller or Caller()
    client.status = await app.entry.run(endpoint, Order("s.py", arguments, **more), text.encode(), client)  # type: ignore[attr-defined]
    return client


def status(caller: Caller) -> int:
    return int(caller.status)  # type: ignore[attr-defined]


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return (
            "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
            if Path("/proc").exists()
            else True
        )
    return False


async def gone(pid: int) -> None:
    """Return once the process is no more."""
    while is_alive(pid):
        await asyncio.sleep(0.01)


@pytest.fixture(params=["there", "here"])
async def pair(request: pytest.FixtureRequest, mesh: Mesh) -> tuple[ScriptApp, str]:
    """An app, and the endpoint on which it shall run scripts: another one, and its own."""
    if request.param == "here":
        return await allowed(mesh, "a"), A
    app = await mesh.join("a")
    await allowed(mesh, "b")
    return app, B


# ---------------------------------------------------------------- what comes back


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


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("ignores", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"])
async def test_a_script_that_takes_too_long_is_stopped_and_says_so(pair: tuple[ScriptApp, str], ignores: str) -> None:
    app, place = pair
    done = await run(app, place, f"{ignores}import time; print('on'); time.sleep(60)", limit=0.8)
    assert (status(done), b"stopped after 0.8 seconds" in done.stderr) == (124, True)


async def test_the_endpoints_own_limit_counts_where_it_is_shorter(mesh: Mesh) -> None:
    app = await allowed(mesh, "a", limit=0.5)
    assert status(await run(app, A, "import time; time.sleep(60)", limit=50.0)) == 124


FLOOD = "import os, sys\nfor n in range(640): os.write(1, b'x' * 65536); open(sys.argv[1], 'w').write(f'{n:8}')"


async def wrote(file: Path) -> int:
    """How many pieces of the flood have been written, once there are some."""
    while len(text := await asyncio.to_thread(_text, file)) < 8:
        await asyncio.sleep(0.01)
    return int(text)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


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


# ---------------------------------------------------------------- nothing stays


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


# ---------------------------------------------------------------- who may


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


async def test_nothing_is_run_until_it_is_allowed_not_even_for_the_owner(mesh: Mesh) -> None:
    app = await mesh.join("a")
    await mesh.join("b")
    for place in (A, B):
        with pytest.raises(ForbiddenError, match="scripts are off there"):
            await run(app, place, "print(1)")
    for trail in mesh.context("b").trail.trails + mesh.context("a").trail.trails:
        assert (trail.action, trail.is_allowed) == ("run", False)


async def test_another_user_may_only_when_listed_and_no_more_when_taken_off(mesh: Mesh) -> None:
    owner = await allowed(mesh, "a")
    bob = await mesh.join("b", "bob")
    with pytest.raises(ForbiddenError, match="only alice may"):
        await run(bob, A, "print(1)")

    async def change(body: object) -> int:
        return (await ask(owner.user_api, "POST", f"/api/endpoints/{A}/config", json.dumps(body).encode()))[0]

    assert await change({"addUsers": ["bob"]}) == 201
    caller = Caller()
    running = asyncio.create_task(run(bob, A, "import time; print('on'); time.sleep(60)", caller=caller))
    await caller.until(b"on\n")
    assert await change({"delUsers": ["bob"]}) == 201
    assert status(await running) == 143
    assert b"no longer allowed" in caller.stderr
    with pytest.raises(ForbiddenError):
        await run(bob, A, "print(1)")
    assert await change({"delUsers": ["bob"]}) == 404


async def test_settings_are_kept_and_changed_from_afar_by_the_owner_only(mesh: Mesh) -> None:
    owner, bob = await mesh.join("a"), await mesh.join("b", "bob")
    await mesh.join("c")
    body = json.dumps({"allow": True, "addUsers": ["bob", "bob"], "limit": 5, "maxRuns": 2}).encode()
    status_, _, _ = await ask(owner.user_api, "POST", f"/api/endpoints/{C}/config", body)
    assert status_ == 201
    assert (await ask(bob.user_api, "POST", f"/api/endpoints/{C}/config", body))[0] == 403
    assert (await ask(bob.user_api, "GET", f"/api/endpoints/{C}/config"))[0] == 403
    wanted = {"allow": True, "users": ["bob"], "limit": 5.0, "maxRuns": 2, "running": 0}
    await mesh.restart("c")
    _, _, answer = await ask(owner.user_api, "GET", f"/api/endpoints/{C}/config")
    assert json.loads(answer) == wanted


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


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"limit":0}', b'{"limit":1e99}', b'{"maxRuns":0}', b'{"maxRuns":65}', b'{"users":["a/b"]}']
)
async def test_settings_that_cannot_be_are_refused_and_change_nothing(mesh: Mesh, body: bytes) -> None:
    app = await mesh.join("a")
    assert (await ask(app.user_api, "POST", f"/api/endpoints/{A}/config", body))[0] == 400
    assert mesh.context("a").disk.local == {}


async def test_settings_that_cannot_be_saved_do_not_count(mesh: Mesh) -> None:
    app = await mesh.join("a")
    mesh.context("a").disk.is_full = True
    assert (await ask(app.user_api, "POST", f"/api/endpoints/{A}/config", b'{"allow":true}'))[0] == 507
    with pytest.raises(ForbiddenError):
        await run(app, A, "print(1)")


async def test_damaged_settings_allow_nothing(mesh: Mesh) -> None:
    mesh.local["a"] = {"config.json": b'{"allow": "yes"}'}
    with pytest.raises(StorageError, match=r"config\.json is damaged"):
        await mesh.join("a")


# ---------------------------------------------------------------- what is told


async def test_both_ends_write_who_ran_what_without_its_text_or_arguments(mesh: Mesh) -> None:
    app = await mesh.join("a")
    await allowed(mesh, "b")
    await run(app, B, "print('secret-text')", "secret-argument", caller=Caller(b"secret-input"))
    (entry,), (_, exit_) = mesh.context("a").trail.trails, mesh.context("b").trail.trails
    subject = "s.py sha256:" + sha256(b"print('secret-text')").hexdigest()
    assert (entry.side, entry.peer.user, entry.target, entry.reason) == ("entry", "alice", B, "exit status 0")
    assert (exit_.side, exit_.peer, exit_.rule) == ("exit", Peer("alice", A, "127.0.0.1", 1), "owner")
    assert exit_.reason == "exit status 0"
    assert entry.subject == exit_.subject == subject
    assert exit_.meter.received == len("secret-text\n")
    assert "secret" not in f"{entry} {exit_}"


async def test_the_local_api_answers_with_merged_output_and_the_status_in_a_header(mesh: Mesh) -> None:
    app = await mesh.join("a")
    await allowed(mesh, "b")
    text = b"import sys; print('a'); sys.stdout.flush(); print(sys.argv[1], file=sys.stderr); sys.exit(3)"
    argv = "%5B%22x%20y%22%5D"
    status_, headers, body = await ask(app.user_api, "POST", f"/api/endpoints/{B}/script?argv={argv}", text)
    assert (status_, headers["ztm-status"], sorted(body.split(b"\n"))) == (200, "3", [b"", b"a", b"x y"])
    assert "ztm-cut" not in headers
    text = b"print('x' * 3_000_000)"
    _, headers, body = await ask(app.user_api, "POST", f"/api/endpoints/{B}/script", text)
    assert (headers["ztm-status"], headers["ztm-cut"], len(body)) == ("0", "1", 1 << 20)


@pytest.mark.parametrize(
    "query", ["argv=x", "argv=%7B%7D", "argv=%5B1%5D", "limit=x", "limit=-1", "limit=nan", "lang=sh"]
)
async def test_a_request_that_does_not_say_what_to_run_is_refused(mesh: Mesh, query: str) -> None:
    app = await allowed(mesh, "a")
    assert (await ask(app.user_api, "POST", f"/api/endpoints/{A}/script?{query}", b"print(1)"))[0] == 400


async def test_an_endpoint_that_cannot_be_reached_is_an_error(mesh: Mesh) -> None:
    app = await mesh.join("a")
    with pytest.raises(UnreachableError):
        await run(app, B, "print(1)")


# ---------------------------------------------------------------- foreign peers


async def test_a_v1_caller_is_told_that_only_python_is_run_and_its_stream_ends(mesh: Mesh) -> None:
    await mesh.join("a")
    await allowed(mesh, "b")
    stream = await mesh.context("a").connect(B)
    await stream.response()
    answer = await request_http1(stream, "POST", "/api/script?argv=%5B%5D", body=b"println('hi')")
    assert (answer.status, answer.body) == (415, b"this endpoint runs Python scripts only\n")
    assert await read_all(stream) == b""


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


@pytest.mark.parametrize("dependencies", ["", "# dependencies = []\n"])
async def test_a_script_that_needs_another_python_or_packages_says_what_to_do_without_uv(
    mesh: Mesh, dependencies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    app = await allowed(mesh, "a")
    good = f"# /// script\n# requires-python = '>=3.11'\n{dependencies}# ///\nprint('fine')"
    assert (await run(app, A, good)).stdout == b"fine\n"
    old = await run(app, A, good.replace(">=3.11", "<3"))
    assert (status(old), b"needs Python <3" in old.stderr, b"install uv" in old.stderr) == (126, True, True)
    more = await run(app, A, good.replace("[]", "['rich']")) if dependencies else old
    assert (status(more), b"install uv" in more.stderr) == (126, True)
    assert mesh.context("a").trail.trails[-1].side == "entry"


async def test_a_js_file_is_refused_by_our_endpoints_and_a_python_one_is_not_sent_to_v1(mesh: Mesh) -> None:
    app = await allowed(mesh, "a")
    await allowed(mesh, "b")
    for place in (A, B):
        with pytest.raises(RefusedError, match="Python scripts only"):
            await app.entry.run(place, Order.of_file("x.js"), b"println(1)", Caller())
