"""Sessions of the terminal app on real pseudo-terminals and pipes, between endpoints and on the own one."""

import asyncio
import os
import pwd
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from terminal_mesh import Seat, TerminalMesh

from ztm.wire.console import Window

PLACES = ["work", "home"]
"""Another endpoint, and the own one."""
WATCHES = "trap 'stty size' WINCH; echo watching; while :; do sleep 0.01; done"


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[TerminalMesh]:
    """Two endpoints of alice."""
    made = TerminalMesh(tmp_path)
    await made.desk("home")
    await made.desk("work")
    yield made
    await made.close()


async def shell(mesh: TerminalMesh, place: str = "work", *words: str) -> Seat:
    """A shell that shows no prompt and echoes nothing."""
    seat = mesh.sit("home", "open", place, *words)
    seat.person.type("PS1=; stty -echo; echo rea''dy\n")
    await seat.person.sees("ready")
    return seat


async def pid_of(seat: Seat) -> int:
    """The process id of a shell that was opened by `shell`."""
    seat.person.type("echo pid=$$=\n")
    return int((await seat.person.sees("=\r\n")).split("pid=")[1].split("=")[0])


def is_there(pid: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


async def gone(pid: int) -> None:
    """Wait until a process, which is somebody else's child or ours, is there no more."""
    while is_there(pid):
        await asyncio.sleep(0.01)


# ---------------------------------------------------------------------- the terminal


@pytest.mark.parametrize("place", PLACES)
async def test_a_terminal_has_the_size_of_its_window_from_the_start(mesh: TerminalMesh, place: str) -> None:
    seat = mesh.sit("home", "open", place, window=Window(123, 45))
    seat.person.type("stty size; exit\n")
    assert await seat.ended() == 0
    assert "45 123" in seat.person.out.decode()


@pytest.mark.parametrize("window", [None, Window(0, 0)])
async def test_a_terminal_of_no_known_size_has_80_columns_and_24_rows(
    mesh: TerminalMesh, window: Window | None
) -> None:
    seat = mesh.sit("home", "open", "work", window=window)
    seat.person.type("stty size; exit\n")
    assert await seat.ended() == 0
    assert "24 80" in seat.person.out.decode()


@pytest.mark.parametrize("place", PLACES)
async def test_a_program_is_told_at_once_that_the_window_has_another_size(mesh: TerminalMesh, place: str) -> None:
    seat = mesh.sit("home", "open", place, "--tty", "--", "sh", "-c", WATCHES)
    await seat.person.sees("watching")
    seat.person.resize(100, 30)
    await seat.person.sees("30 100")
    seat.person.resize(132, 50)
    await seat.person.sees("50 132")
    await seat.leave()


@pytest.mark.parametrize("place", PLACES)
async def test_a_size_that_is_told_while_the_terminal_is_opened_is_not_lost(
    mesh: TerminalMesh, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = mesh.sit("home", "open", place, window=None)
    opened = seat.person.pass_keys

    async def pass_keys(raw: bool) -> None:
        await opened(raw)
        if raw:
            seat.person.resize(100, 30)

    monkeypatch.setattr(seat.person, "pass_keys", pass_keys)
    seat.person.type("while :; do stty size; sleep 0.1; done\n")
    await seat.person.sees("30 100")
    await seat.leave()


@pytest.mark.parametrize("place", PLACES)
async def test_the_programs_exit_status_is_the_commands(mesh: TerminalMesh, place: str) -> None:
    seat = mesh.sit("home", "open", place)
    seat.person.type("exit 7\n")
    assert await seat.ended() == 7
    assert seat.person.modes == [True, False]


@pytest.mark.parametrize("words", [(), ("--tty",)])
async def test_a_program_ended_by_a_signal_has_128_and_its_number_as_status(
    mesh: TerminalMesh, words: tuple[str, ...]
) -> None:
    seat = mesh.sit("home", "open", "work", *words, "--", "sh", "-c", "kill -TERM $$")
    assert await seat.ended() == 128 + signal.SIGTERM


async def test_a_key_travels_as_a_byte_and_interrupts_what_runs_in_front(mesh: TerminalMesh) -> None:
    seat = await shell(mesh)
    seat.person.type(
        "sh -c 'trap \"echo interrupted; exit 9\" INT; echo trapped; while :; do sleep 0.01; done'; exit $?\n"
    )
    await seat.person.sees("trapped")
    seat.person.type(b"\x03")
    await seat.person.sees("interrupted")
    assert await seat.ended() == 9


async def test_a_shell_is_a_login_shell_in_a_clean_environment(
    mesh: TerminalMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_SECRET", "hunter2")
    seat = mesh.sit("home", "open", "work", LANG="de_DE.UTF-8", LC_CTYPE="C.UTF-8", LD_PRELOAD="/x", TZ="/etc/x")
    seat.person.type('stty -echo; PS1=; echo; env; echo "name=$0 in=$(pwd)"; exit\n')
    assert await seat.ended() == 0
    said = seat.person.out.decode()
    assert "name=-sh" in said
    assert f"in={pwd.getpwuid(os.geteuid()).pw_dir}" in said
    for wanted in ("HOME=/", "USER=", "LOGNAME=", "SHELL=/bin/sh", "TERM=xterm-256color", "LANG=de_DE", "LC_CTYPE=C."):
        assert f"\n{wanted}" in said
    for unwanted in ("hunter2", "LD_PRELOAD", "PYTEST", "TZ=", "VIRTUAL_ENV"):
        assert unwanted not in said


async def test_nothing_of_the_agents_is_open_in_a_program(mesh: TerminalMesh) -> None:
    status, out, _ = await mesh.run("home", "open", "work", "ls /proc/self/fd; ulimit -Sn")
    assert status == 0
    assert [int(word) for word in out.split()[:-1]] == [0, 1, 2, 3]  # the last one is the directory that ls reads
    assert int(out.split()[-1]) <= 1024


# ---------------------------------------------------------------------- a command


@pytest.mark.parametrize("place", PLACES)
async def test_a_command_has_its_standard_error_apart_and_its_exit_status(mesh: TerminalMesh, place: str) -> None:
    ran = await mesh.run("home", "open", place, "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert ran == (3, b"out\n", "err\n")


async def test_words_behind_two_dashes_reach_the_program_as_they_are(mesh: TerminalMesh) -> None:
    words = ("a b", "$HOME", "--tty", "-h", "*", "")
    status, out, err = await mesh.run("home", "open", "work", "--", "printf", "%s|", *words)
    assert (status, out, err) == (0, "".join(f"{word}|" for word in words).encode(), "")


@pytest.mark.parametrize("begin", [("work",), ("--", "work")])
async def test_words_behind_the_endpoint_are_a_line_for_the_shell_as_with_ssh(
    mesh: TerminalMesh, begin: tuple[str, ...]
) -> None:
    assert await mesh.run("home", "open", *begin, "echo", "a  b", "|", "tr a-z A-Z") == (0, b"A B\n", "")


async def test_the_end_of_the_input_is_passed_on_and_harms_nothing(mesh: TerminalMesh) -> None:
    status, out, err = await mesh.run("home", "open", "work", "--", "sh", "-c", "cat; echo after", typed=b"one\ntwo")
    assert (status, out, err) == (0, b"one\ntwoafter\n", "")


@pytest.mark.parametrize("place", PLACES)
async def test_a_script_piped_into_a_shell_loses_none_of_its_output(mesh: TerminalMesh, place: str) -> None:
    script = b"echo first; sleep 0.1; echo second\nexit 5\n"
    assert await mesh.run("home", "open", place, typed=script) == (5, b"first\nsecond\n", "")


@pytest.mark.parametrize("script", [b"echo in''side; cat; echo af''ter\nlast line", b"echo in''side; echo af''ter\n"])
async def test_a_terminal_whose_input_ends_is_told_so_and_lives_on(mesh: TerminalMesh, script: bytes) -> None:
    seat = mesh.sit("home", "open", "work", "--tty", typed=False)
    seat.person.type(script)
    seat.person.type(b"")
    await seat.person.sees("after")
    assert "inside" in seat.person.out.decode()
    await seat.leave()


async def test_all_bytes_pass_both_ways_untouched(mesh: TerminalMesh) -> None:
    data = bytes(range(256)) * 20_000
    status, out, err = await mesh.run("home", "open", "work", "--", "cat", typed=data)
    assert (status, err) == (0, "")
    assert out == data


async def test_an_interrupt_without_a_terminal_reaches_the_program(mesh: TerminalMesh) -> None:
    seat = mesh.sit("home", "open", "work", "--", "sh", "-c", "echo begun; exec sleep 1000", typed=False, window=None)
    await seat.person.sees("begun")
    seat.person.interrupt()
    assert await seat.ended() == 128 + signal.SIGINT


async def test_input_that_a_program_does_not_read_stands_in_nobodys_way(mesh: TerminalMesh) -> None:
    seat = mesh.sit("home", "open", "work", "--tty", "--", "sh", "-c", f"stty raw; {WATCHES}")
    await seat.person.sees("watching")
    for _ in range(200):
        seat.person.type(b"x" * 60_000)
    seat.person.resize(77, 33)
    await seat.person.sees("33 77")
    await seat.leave()


async def test_a_program_waits_while_its_output_is_not_looked_at(mesh: TerminalMesh) -> None:
    seat = mesh.sit("home", "open", "work", "--", "sh", "-c", "head -c 50000000 /dev/zero; echo over >&2")
    seat.person.room.clear()
    trail = await mesh.begun("work")
    seen = -1
    while trail.meter.received != seen:  # until nothing more passes
        seen = trail.meter.received
        for _ in range(200):
            await asyncio.sleep(0)
    assert seen < 20_000_000
    seat.person.room.set()
    assert await seat.ended() == 0
    assert len(seat.person.out) == 50_000_000
    assert seat.person.err == b"over\n"


# ---------------------------------------------------------------------- the end


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "words", [(), ("--tty", "--", "sh", "-c", "sleep 1000 & echo left"), ("--", "sh", "-c", "sleep 1000 & echo left")]
)
async def test_the_end_of_the_program_ends_the_session_at_once_whatever_it_leaves_behind(
    mesh: TerminalMesh, place: str, words: tuple[str, ...]
) -> None:
    seat = mesh.sit("home", "open", place, *words)
    if not words:
        seat.person.type("nohup sleep 1000 & echo left; exit 0\n")
    async with asyncio.timeout(5):
        assert await seat.ended() == 0
    assert "left" in seat.person.out.decode()


@pytest.mark.parametrize("place", PLACES)
async def test_a_shell_whose_caller_left_is_hung_up(mesh: TerminalMesh, place: str) -> None:
    seat = await shell(mesh, place)
    pid = await pid_of(seat)
    await seat.leave()
    async with asyncio.timeout(2):
        await gone(pid)


async def test_a_program_without_a_terminal_whose_caller_left_is_hung_up(mesh: TerminalMesh) -> None:
    seat = mesh.sit("home", "open", "work", "--", "sh", "-c", "echo pid=$$=; exec sleep 1000", typed=False)
    pid = int((await seat.person.sees("=\n")).split("=")[1])
    await seat.leave()
    async with asyncio.timeout(2):
        await gone(pid)


@pytest.mark.parametrize("is_stopped", [False, True], ids=["ignores", "stopped"])
async def test_a_program_that_does_not_end_when_hung_up_is_killed(
    mesh: TerminalMesh, monkeypatch: pytest.MonkeyPatch, is_stopped: bool
) -> None:
    monkeypatch.setattr("ztm.apps.terminal.program.GRACE", 0.2)
    does = "kill -STOP $$" if is_stopped else "trap '' HUP; while :; do sleep 1; done"
    seat = mesh.sit("home", "open", "work", "--", "sh", "-c", f"echo pid=$$=; {does}", typed=False)
    pid = int((await seat.person.sees("=\n")).split("=")[1])
    await seat.leave()
    async with asyncio.timeout(3):
        await gone(pid)


async def test_every_program_has_ended_when_the_app_has_stopped(mesh: TerminalMesh) -> None:
    seats = [await shell(mesh) for _ in range(3)]
    pids = [await pid_of(seat) for seat in seats]
    await mesh.apps[mesh.context("work").place.id].stop()
    assert not [pid for pid in pids if is_there(pid)]
    for seat in seats:
        assert await seat.ended() == 255
        assert b"the terminal app stops" in seat.person.err


async def test_many_sessions_leave_no_descriptor_and_no_zombie_behind(mesh: TerminalMesh) -> None:
    for place in PLACES:  # what is held from the first session on
        await mesh.run("home", "open", place, "--", "true")

    def held() -> tuple[int, int]:
        mine = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return len(list(Path("/proc/self/fd").iterdir())), len(mine)

    before = held()
    for _ in range(4):
        seats = [mesh.sit("home", "open", place, window=Window(80, 24)) for place in PLACES * 4]
        for seat in seats[::2]:
            seat.person.type("exit 3\n")
        assert await asyncio.gather(*(seat.ended() for seat in seats[::2])) == [3] * 4
        for seat in seats[1::2]:
            await seat.leave()
    async with asyncio.timeout(5):
        while held() != before:
            await asyncio.sleep(0.01)
