"""Callers and disks that mean harm to terminals: a session keeps its bounds, or ends with a reason."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from app_mesh import OWN_IDS, read_all
from terminal_mesh import TerminalMesh

from ztm.apps.terminal import recording
from ztm.apps.terminal.model import Ask
from ztm.errors import BrokenStreamError, UsageError, ZtmError
from ztm.net.http1 import connect_answer, connect_head
from ztm.wire.console import Frame, Kind, Window, window_frame
from ztm.wire.paths import SHELL, fill

B = OWN_IDS[1]
pytestmark = pytest.mark.skipif(not hasattr(os, "openpty"), reason="terminals are for POSIX systems")


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[TerminalMesh]:
    made = TerminalMesh(tmp_path)
    await made.desk("a")
    await made.desk("b")
    yield made
    await made.close()


async def no_session(mesh: TerminalMesh, name: str) -> None:
    """Return once an endpoint has no session."""
    while mesh.apps[mesh.context(name).place.id].figures()["sessions"]:
        await asyncio.sleep(0.005)


# ---------------------------------------------------------------- programs that cannot be


@pytest.mark.parametrize("program", ["/" + "x" * 5000, "x" * 5000, "/x" * 4000, "\x01\x1b[2J", "./\n"])
@pytest.mark.parametrize("place", ["a", "b"])
async def test_a_name_that_no_program_can_have_gives_a_shells_status(
    mesh: TerminalMesh, program: str, place: str
) -> None:
    status, _, complaint = await mesh.run("a", "open", place, "--", program)
    assert status in (126, 127)
    assert complaint.startswith("ztm: ")


async def test_a_program_in_a_directory_that_is_closed_gives_a_shells_status(
    mesh: TerminalMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat

    def closed(path: Any, *words: Any, **more: Any) -> os.stat_result:
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *words, **more)

    monkeypatch.setattr(os, "stat", closed)
    status, _, _ = await mesh.run("a", "open", "b", "--", str(tmp_path / "closed" / "x"))
    assert status in (126, 127)


@pytest.mark.parametrize(
    "query",
    [
        {"argv": '["\\ud800"]'},
        {"argv": "[" * 20_000},
        {"argv": '["a\\u0000"]'},
        {"argv": '[""]'},
        {"line": "a\0b"},
        {"cols": "-1"},
        {"cols": "99999999999"},
        {"rows": "٣"},
        {"env": "[]"},
        {"env": '{"LANG":1}'},
        {"env": '{"LANG":{"x":' * 500},
    ],
    ids=repr,
)
def test_what_is_malformed_is_refused_with_a_reason(query: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Ask.read(query)


@pytest.mark.parametrize(
    "told",
    [
        {"LANG": "../../etc/x"}, {"LANG": "C\nPATH=/x"}, {"LC_ALL": "/tmp/x"}, {"LC_": "C"}, {"PATH": "/x"},
        {"LD_PRELOAD": "x"}, {"LANG": "x" * 100_000}, {"LANGUAGE": "x"}, {"LANG\n": "C"}, {"LC_ALL": "C\0"},
    ],
    ids=repr,
)  # fmt: skip
async def test_what_a_caller_tells_of_itself_cannot_steer_a_program(mesh: TerminalMesh, told: dict[str, str]) -> None:
    ask = Ask(environment=told, words=("env",), has_terminal=False)
    read = Ask.read({key: str(value) for key, value in ask.query().items()} if len(str(told)) < 30_000 else {})
    assert read.environment == {}


@pytest.mark.parametrize("term", ["../x", "x\n", "x" * 1_000_000, "", "-x", "x\x1b[2J", "a/b"], ids=lambda t: t[:9])
def test_a_type_of_terminal_that_is_none_is_the_usual_one(term: str) -> None:
    assert Ask.read({"term": term}).term == "xterm"


# ---------------------------------------------------------------- frames


async def opened(mesh: TerminalMesh, **query: str | int) -> Any:
    """A session on a stream of its own, which runs what `query` says."""
    stream = await mesh.context("a").connect(B)
    await stream.response()
    asked: dict[str, str | int] = {"ext": 1, "argv": '["cat"]', "tty": 0, **query}
    await stream.write(connect_head(fill(SHELL, asked)))
    assert (await connect_answer(stream))[0] == 200
    return stream


@pytest.mark.parametrize("tty", [0, 1])
@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 9,
        b"\x00\x00\x00\x00\x00",
        b"\x01\xff\xff\xff\xff",
        b"\x02\x00\x00\x00\x03abc",
        b"\x01\x00\x01\x00\x00",
        Frame(Kind.STDIN, b"x").encode() * 200,
        Frame(Kind.STATUS, b"").encode() + b"\x63",
        b"GET / HTTP/1.1\r\n\r\n",
        *(window_frame(Window(3, 4)).encode()[:size] for size in range(9)),
    ],
    ids=repr,
)
async def test_frames_that_are_none_or_cut_short_end_the_session(mesh: TerminalMesh, garbage: bytes, tty: int) -> None:
    stream = await opened(mesh, tty=tty, argv='["sleep","60"]')
    await stream.write(garbage)
    stream.end()
    async with asyncio.timeout(8):
        await no_session(mesh, "b")
    stream.abort("done")


@pytest.mark.parametrize(
    "frame", [Frame(Kind.SIGNAL, b""), Frame(Kind.SIGNAL, b"\xff"), Frame(Kind.SIGNAL, b"\x00" * 9),
              Frame(Kind.FILE, b"x"), Frame(Kind.RAW, b"\x07"), Frame(Kind.WANT, b"x" * 100), Frame(Kind.STDOUT, b"x"),
              Frame(Kind.INTERRUPT, b"x"), window_frame(Window(0, 0)), window_frame(Window(65535, 65535))],
    ids=repr)  # fmt: skip
async def test_a_frame_that_means_nothing_here_harms_no_session(mesh: TerminalMesh, frame: Frame) -> None:
    stream = await opened(mesh, argv='["sh","-c","trap \'\' INT; echo on; cat; echo end"]')
    seen = b""
    while b"on\n" not in seen:
        seen += await stream.read()
    for _ in range(50):
        await stream.write(frame.encode())
    await stream.write(Frame(Kind.STDIN, b"typed\n").encode() + Frame(Kind.STDIN).encode())
    try:
        told = await asyncio.wait_for(read_all(stream), 8)
    except BrokenStreamError:
        told = b""
    assert b"end\n" in told
    stream.abort("done")


async def test_a_storm_of_sizes_ends_with_the_last_one(mesh: TerminalMesh) -> None:
    seat = mesh.sit("a", "open", "b", "--tty", "--", "sh", "-c", "echo on; read x; stty size")
    await seat.person.sees("on")
    for number in range(5000):
        seat.person.resize(10 + number % 100, 10)
    seat.person.resize(123, 45)
    seat.person.type("\n")
    assert await seat.ended() == 0
    assert b"45 123" in seat.person.out


async def test_sixty_four_sessions_at_once_do_not_disturb_each_other(mesh: TerminalMesh) -> None:
    await mesh.desk("c", maxSessions=64)
    await mesh.run("a", "open", "c", "--", "true")  # one way for all of them
    results = await asyncio.gather(
        *(mesh.run("a", "open", "c", "--", "sh", "-c", f"cat; exit {n}", typed=b"%d" % n * 1000) for n in range(64))
    )
    assert results == [(n, b"%d" % n * 1000, "") for n in range(64)]
    await no_session(mesh, "c")


# ---------------------------------------------------------------- recordings on a full disk


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings go to a device that is always full."""
    real = os.open

    def opened(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        return real("/dev/full", os.O_WRONLY) if str(path).endswith(".cast") else real(path, flags, mode, **more)

    monkeypatch.setattr(recording, "FLUSH", 200)
    monkeypatch.setattr(os, "open", opened)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
@pytest.mark.parametrize("does", ["shows", "resizes"])
async def test_a_session_that_can_no_longer_be_recorded_ends_with_the_reason(
    mesh: TerminalMesh, full: None, does: str
) -> None:
    await mesh.desk("c", record=True)
    seat = mesh.sit("a", "open", "c", "--tty", "--", "sh", "-c", "printf on; exec cat")
    await seat.person.sees("on")
    if does == "shows":
        seat.person.type("x" * 500)
    else:
        for number in range(50):
            seat.person.resize(20 + number, 20)
    async with asyncio.timeout(8):
        assert await seat.ended() != 0
    assert b"cannot be recorded: No space left" in bytes(seat.person.out) + seat.person.err
    assert "cannot be recorded" in mesh.context("c").trail.trails[-1].reason


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
async def test_a_recording_of_nothing_but_its_beginning_that_does_not_fit_harms_nobody(
    mesh: TerminalMesh, full: None
) -> None:
    await mesh.desk("c", record=True)
    assert (await mesh.run("a", "open", "c", "--", "true"))[0] == 0


def test_a_user_whose_name_is_a_path_is_recorded_in_the_directory(mesh: TerminalMesh, tmp_path: Path) -> None:
    file = recording.open_recording(tmp_path / "r", "../../x\x1b\n", Window(1, 1), "xterm", 0.0, lambda: 0.0)
    file.close()
    assert [one.parent for one in tmp_path.rglob("*.cast")] == [tmp_path / "r"]
    with pytest.raises(ZtmError):
        recording.open_recording(Path("/dev/null/x"), "u", Window(1, 1), "xterm", 0.0, lambda: 0.0)
