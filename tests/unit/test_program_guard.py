"""What runs for others ends with the agent, also when that is killed without a chance to say a word."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ztm.apps.guard import Guard

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="programs run on POSIX systems")

KEEPER = """
import subprocess, sys, time
from ztm.apps.guard import Guard
guard = Guard()
guard.ready()
programs = [subprocess.Popen(sys.argv[1:], start_new_session=True, stdin=subprocess.DEVNULL) for _ in range(3)]
for program in programs:
    guard.watch(program.pid)
guard.release(programs[2].pid)
print(*(program.pid for program in programs), flush=True)
time.sleep(60)
"""
"""Keeps three programs, and lets the last one go."""
STUBBORN = "import signal, time\nfor n in (1, 15): signal.signal(n, signal.SIG_IGN)\nwhile True: time.sleep(60)"


@pytest.fixture
async def guard() -> AsyncIterator[Guard]:
    made = Guard()
    yield made
    await made.close()


def begun(*words: str) -> "subprocess.Popen[bytes]":
    """A process in a group of its own."""
    return subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def gone(pid: int) -> None:
    while is_alive(pid):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("program", [("sleep", "60"), (sys.executable, "-c", STUBBORN)], ids=["polite", "stubborn"])
async def test_programs_end_when_the_agent_is_killed_and_those_let_go_do_not(program: tuple[str, ...]) -> None:
    with begun(sys.executable, "-c", KEEPER, *program) as agent:
        assert agent.stdout is not None
        pids = [int(word) for word in agent.stdout.readline().split()]
        assert all(map(is_alive, pids))
        agent.kill()
    try:
        async with asyncio.timeout(10):
            await gone(pids[0])
            await gone(pids[1])
        assert is_alive(pids[2])
    finally:
        os.kill(pids[2], signal.SIGKILL)


async def test_a_guard_that_was_killed_is_replaced_and_knows_all(guard: Guard) -> None:
    guard.ready()
    first = guard._process
    with begun("sleep", "60") as program:
        guard.watch(program.pid)
        assert first is not None
        first.kill()
        await asyncio.to_thread(first.wait)
        guard.watch(1 << 30)  # noticed here, or when it is made ready again
        guard.release(1 << 30)
        guard.ready()
        assert guard._process is not first
        await guard.close()
        assert await asyncio.to_thread(program.wait) == -signal.SIGHUP
        guard.release(program.pid)


async def test_a_guard_that_hangs_delays_nobody(guard: Guard) -> None:
    guard.ready()
    assert guard._process is not None
    os.kill(guard._process.pid, signal.SIGSTOP)
    for number in range(1 << 30, (1 << 30) + 20_000):  # more than its pipe holds
        guard.watch(number)
        guard.release(number)


async def test_nothing_is_started_before_it_is_needed_and_nothing_is_left(guard: Guard) -> None:
    await guard.close()
    assert guard._process is None
    guard.ready()
    process = guard._process
    assert process is not None
    await guard.close()
    assert process.returncode is not None
