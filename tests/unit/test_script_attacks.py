"""Scripts and callers that mean harm: the endpoint keeps its bounds, and says what was wrong."""

import asyncio
import errno
import json
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from app_mesh import OWN_IDS, SmallMesh
from script_mesh import LIMITS, Caller, Mesh, allowed, run, status

from ztm.apps.script.api import ScriptApp
from ztm.apps.script.framed import FramedClient
from ztm.apps.script.limits import LIMITS as USUAL
from ztm.apps.script.model import Order
from ztm.errors import UsageError
from ztm.net.base import Stream
from ztm.net.http1 import connect_answer, connect_head
from ztm.wire.console import Frame, Frames, Kind
from ztm.wire.paths import SCRIPT, fill

A, B = OWN_IDS[:2]

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


class Stalled:
    """A stream whose outputs wait for room, and whose other side answers what it is asked."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.wanted = asyncio.Event()

    async def write(self, _data: bytes) -> None:
        await self.room.wait()

    def write_now(self, data: bytes) -> None:
        assert not self.room.is_set()
        assert next(Frames().feed(data)).kind is Kind.WANT
        self.wanted.set()

    async def read(self) -> bytes:
        await self.wanted.wait()
        self.wanted.clear()
        return Frame(Kind.STDIN, b"typed").encode()


async def test_input_is_asked_for_while_an_output_waits_for_room() -> None:
    client = FramedClient(cast("Stream", Stalled()), USUAL)

    async def work() -> int:
        writing = asyncio.ensure_future(client.out(b"x" * 10))
        try:
            return len(await client.read())
        finally:
            writing.cancel()

    async with asyncio.timeout(5):
        assert await client.attend(work()) == 5


async def test_both_outputs_at_once_arrive_whole_however_slow_the_caller_is(
    pair: tuple[ScriptApp, str], mesh: Mesh
) -> None:
    app, place = pair
    text = (
        "import os, threading\n"
        "def write(number): [os.write(number, b'x' * 65536) for _ in range(128)]\n"
        "for number in (1, 2): threading.Thread(target=write, args=(number,)).start()"
    )
    caller = Caller()
    caller.taking.clear()
    running = asyncio.create_task(run(app, place, text, caller=caller))
    trails, seen = mesh.contexts[place].trail.begun, -1
    while not trails or trails[-1].meter.received != seen or not seen:  # until both outputs wait for room
        seen = trails[-1].meter.received if trails else -1
        await asyncio.sleep(0.1)
    caller.taking.set()
    async with asyncio.timeout(10):
        await running
    assert (len(caller.stdout), len(caller.stderr)) == (128 * 65536, 128 * 65536)


# ---------------------------------------------------------------- what is asked for


@pytest.mark.parametrize("argument", ["\\ud800", "\\udcff", "x\\udfff"])
def test_an_argument_that_is_no_text_is_refused_where_it_is_given_and_where_it_comes(argument: str) -> None:
    with pytest.raises(UsageError, match="argument"):
        Order.parse({"argv": f'["{argument}"]'})
    with pytest.raises(UsageError, match="argument"):
        Order.of_file("s.py", json.loads(f'["{argument}"]'))


async def test_a_name_too_long_for_a_file_still_runs_or_says_so(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    client = Caller()
    ended = await app.entry.run(place, Order("\U0001f40d" * 120), b"print(1)", client)
    assert ended == 126
    assert b"cannot run" in client.stderr


async def test_a_disk_that_does_not_take_the_script_is_named_to_the_caller(
    pair: tuple[ScriptApp, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    app, place = pair
    done = await run(app, place, "print(1)")
    assert status(done) == 126
    assert b"No space left" in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        'dependencies = ["x @ https://u:TOKEN-123@h/x.zip"]',
        'requires-python = "TOKEN-123"',
        "dependencies = [TOKEN-123",
    ],
)
async def test_nothing_that_a_script_says_is_in_the_audit_log(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr("ztm.apps.script.interpreter.shutil.which", lambda *_, **__: None)
    app = await mesh.join("a")
    await allowed(mesh, "b")
    done = await run(app, B, f"# /// script\n# {line}\n# ///\n")
    assert status(done) == 126
    assert done.stderr
    for name in "ab":
        for trail in mesh.context(name).trail.trails:
            assert "TOKEN-123" not in repr(trail)
    assert mesh.context("b").trail.trails[-1].reason.startswith("not run")


# ---------------------------------------------------------------- what a script does


DEEP = """
import os
for n in range(2500):
    os.mkdir('d'); os.chdir('d')
os.chmod('.', 0)
"""


def left_in(directory: Path) -> list[Path]:
    """What runs have left on the disk."""
    return [*directory.glob("*/runs/*")]


async def test_a_run_that_digs_deep_leaves_nothing_behind(pair: tuple[ScriptApp, str], tmp_path: Path) -> None:
    app, place = pair
    done = await run(app, place, "import os, tempfile\nos.chdir(tempfile.gettempdir())\n" + DEEP)
    assert (status(done), done.stderr) == (0, b"")
    assert left_in(tmp_path) == []


async def test_what_an_earlier_life_left_behind_is_gone_however_deep_it_is(mesh: Mesh, tmp_path: Path) -> None:
    await allowed(mesh, "b")
    left = tmp_path / "b" / "runs" / "run-old"
    left.mkdir(parents=True)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", DEEP, cwd=left)
    assert await process.wait() == 0
    await mesh.restart("b")
    assert not left.exists()


async def test_deleting_what_was_left_behind_stops_nobody_else(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    await allowed(mesh, "b")
    others, served = threading.Event(), []

    def erase(_directory: Path) -> bool:
        served.append(others.wait(5))
        return True

    monkeypatch.setattr("ztm.apps.script.exit._erase", erase)
    asyncio.get_running_loop().call_later(0.01, others.set)
    await mesh.restart("b")
    assert served == [True]


async def test_who_escaped_and_goes_on_writing_does_not_keep_the_run_going(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    flood = "import os\nwhile True: os.write(1, b'x' * 65536)"
    child = f"subprocess.Popen([sys.executable, '-c', {flood!r}], start_new_session=True)"
    text = f"import subprocess, sys\nprint({child}.pid)"
    async with asyncio.timeout(8):
        done = await run(app, place, text, limit=60.0)
    assert status(done) == 0


async def test_a_script_that_closes_its_outputs_and_goes_on_is_waited_for(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    done = await run(app, place, "import os, sys\nos.close(1); os.close(2); input(); os._exit(7)", caller=Caller(b"\n"))
    assert status(done) == 7


async def test_a_flood_of_small_interrupts_harms_nobody(pair: tuple[ScriptApp, str]) -> None:
    app, place = pair
    caller = Caller()
    text = "import signal; signal.signal(2, signal.SIG_IGN); print('on'); input(); print('off')"
    caller.typed = asyncio.Queue()
    running = asyncio.create_task(run(app, place, text, caller=caller))
    await caller.until(b"on\n")
    for _ in range(2000):
        caller.interrupt()
    caller.typed.put_nowait(b"\n")
    await caller.until(b"off\n")
    await running


# ---------------------------------------------------------------- garbage


async def opened(mesh: Mesh) -> Any:
    """A stream on which an endpoint waits for a script."""
    stream = await mesh.context("a").connect(B)
    await stream.response()
    await stream.write(connect_head(Order("s.py").target))
    assert (await connect_answer(stream))[0] == 200
    return stream


GOOD = Frame(Kind.FILE, b"input()").encode() + Frame(Kind.FILE).encode()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 5,
        b"\x00\x00\x00\x00\x00",
        Frame(Kind.STDIN, b"early").encode(),
        b"\x04\xff\xff\xff\xff",
        GOOD + b"\x01\x00\x01\x00\x01",
        GOOD + Frame(Kind.STDIN, b"x").encode() * 20,
        GOOD + b"GET / HTTP/1.1\r\n\r\n",
        *(GOOD[:size] for size in range(len(GOOD))),
    ],
    ids=repr,
)
async def test_frames_that_are_none_or_cut_short_end_the_run(mesh: Mesh, garbage: bytes) -> None:
    await mesh.join("a")
    there = await allowed(mesh, "b")
    stream = await opened(mesh)
    await stream.write(garbage)
    stream.end()
    async with asyncio.timeout(5):
        while there.exit.running:
            await asyncio.sleep(0.005)
    stream.abort("done")
    assert mesh.context("b").trail.trails[-1].action == "run"


@pytest.mark.parametrize(
    "query",
    [
        {"argv": "[" * 40_000},
        {"argv": '["a\\u0000b"]'},
        {"name": ".."},
        {"name": "a/b"},
        {"name": "a\nb"},
        {"limit": "nan"},
        {"limit": "inf"},
        {"limit": "1e999"},
        {"lang": "sh\x1b[2J"},
        {"argv": "1" * 5000},
    ],
    ids=repr,
)
def test_what_is_malformed_is_refused_with_a_reason(query: dict[str, str]) -> None:
    assert len(fill(SCRIPT, cast("dict[str, str | int]", query))) > 0
    with pytest.raises(UsageError):
        Order.parse(query)
