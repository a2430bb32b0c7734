"""`make demo`: shows a page fetched through a mesh, and leaves nothing behind, however it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from world import STOP, until

DEMO = Path(__file__).parents[2] / "bench" / "demo"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc"),
]
WITHIN = 60.0
"""Seconds for a demonstration on a loaded machine."""


@contextmanager
def demo(home: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The demonstration as a process, of a user whose home is `home`; its temporary directory is there, too."""
    temporary = home / "tmp"
    temporary.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, DEMO, *words],
        env={"HOME": str(home), "TMPDIR": str(temporary), "PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(STOP)
        assert process.stdout is not None
        process.stdout.close()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What the demonstration prints until a line has `text`."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return "".join(seen)
    raise AssertionError("".join(seen))


def processes_of(home: Path) -> dict[int, str]:
    """Command lines of the processes that work below `home`."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(home):
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


def assert_nothing_is_left(home: Path) -> None:
    assert processes_of(home) == {}
    assert [path.name for path in home.rglob("*")] == ["tmp"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_once_shows_the_page_and_the_speed_and_ends_with_0(home: Path) -> None:
    with ExitStack() as stack:
        for port in (7777, 8888):
            taken = stack.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):  # somebody else has it: taken all the same
                taken.bind(("127.0.0.1", port))
                taken.listen()
        process = stack.enter_context(demo(home, "--once"))
        said, _ = process.communicate(timeout=WITHIN)
    assert process.returncode == 0, said
    assert "Hello from the web page at workplace" in said
    assert re.search(r"first byte, new connection, p50 +[\d.]+ ms +[\d.]+ ms\n", said)
    assert re.search(r"bulk, \d+ MiB +\d+ MB/s +\d+ MB/s\n", said)
    assert_nothing_is_left(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stays_up_until_it_is_told_to_end(home: Path, number: signal.Signals) -> None:
    with demo(home) as process:
        said = read_until(process, "until Ctrl-C")
        assert process.poll() is None
        assert len(processes_of(home)) == 4, said
        process.send_signal(number)
        assert process.wait(WITHIN) == (0 if number == signal.SIGINT else 128 + number)
        assert_nothing_is_left(home)


def test_it_says_who_died_and_ends_the_others(home: Path) -> None:
    with demo(home) as process:
        read_until(process, "until Ctrl-C")
        hub = next(pid for pid, command in processes_of(home).items() if "run hub" in command)
        os.kill(hub, signal.SIGKILL)
        said = read_until(process, "make demo: ")
        assert "hub ended with status -9" in said
        assert process.wait(WITHIN) == 1
        assert_nothing_is_left(home)


def test_not_even_a_killed_demo_leaves_processes(home: Path) -> None:
    with demo(home) as process:
        read_until(process, "until Ctrl-C")
        process.kill()
        process.wait(STOP)
        until(lambda: not processes_of(home), what="all processes have ended")
