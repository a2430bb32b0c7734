"""The command line as the terminal of an app's command: a real process, on pipes and on a pseudo-terminal."""

import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from ztm.wire.console import Frame, Frames, Kind, Window, status_frame

PROGRAM = """
import socket, sys
from ztm.cli.terminal import Terminal
from ztm.errors import ZtmError
opened = socket.socket(fileno=int(sys.argv[2]))
try:
    sys.exit(getattr(Terminal(opened, b"", lambda: None), sys.argv[1])())
except KeyboardInterrupt:
    sys.exit(130)
except ZtmError as error:
    sys.exit(str(error))
"""
DEADLINE = 15.0


class Call:
    """One process that is the terminal of a call, and the agent's end of its stream."""

    def __init__(self, form: str = "framed", **more: Any) -> None:
        self.agent, theirs = socket.socketpair()
        self.agent.settimeout(DEADLINE)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, form, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
            )
        self._frames = Frames()
        self._got: list[Frame] = []

    def send(self, *frames: Frame) -> None:
        self.agent.sendall(b"".join(frame.encode() for frame in frames))

    def next(self) -> Frame:
        """The next frame from the process."""
        while not self._got:
            data = self.agent.recv(65536)
            assert data, "it closed"
            self._got += self._frames.feed(data)
        return self._got.pop(0)

    def finish(self) -> tuple[int, bytes, bytes]:
        out, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, out or b"", err or b""


@pytest.fixture
def calls() -> Iterator[list[Call]]:
    made: list[Call] = []
    yield made
    for call in made:
        call.agent.close()
        call.process.kill()
        call.process.communicate()


def test_all_output_comes_out_and_the_status_is_the_apps(calls: list[Call], tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        call = Call(stdout=file)
    calls.append(call)
    lines = b"".join(b"%d\n" % n for n in range(100_000))
    parts = [lines[begin : begin + 50_000] for begin in range(0, len(lines), 50_000)]
    call.send(*(Frame(Kind.STDOUT, part) for part in parts), Frame(Kind.STDERR, b"oh\n"), status_frame(7))
    assert call.finish() == (7, b"", b"oh\n")
    assert (tmp_path / "out").read_bytes() == lines


def test_a_stream_that_ends_without_a_status_is_a_failure(calls: list[Call]) -> None:
    call = Call()
    calls.append(call)
    call.send(Frame(Kind.STDOUT, b"half"))
    call.agent.close()
    status, out, err = call.finish()
    assert (status, out) == (1, b"half")
    assert b"closed before the command was over" in err


def test_input_is_left_alone_until_the_app_wants_it(calls: list[Call]) -> None:
    call = Call(stdin=subprocess.PIPE)
    calls.append(call)
    stdin: IO[bytes] = call.process.stdin  # type: ignore[assignment]
    stdin.write(b"kept")
    stdin.flush()
    call.send(Frame(Kind.STDOUT, b"no need"), status_frame(0))
    call.process.wait(DEADLINE)
    assert call.agent.recv(100) == b""


def test_input_from_a_file_ends_with_its_end(calls: list[Call], tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        call = Call(stdin=file)
    calls.append(call)
    call.send(Frame(Kind.WANT))
    got = b""
    while (frame := call.next()).payload:
        assert frame.kind is Kind.STDIN
        got += frame.payload
        call.send(Frame(Kind.WANT))
    assert got == content
    call.send(status_frame(0))
    assert call.finish()[0] == 0


def test_an_interrupt_goes_to_the_app_and_a_second_one_ends_the_call(calls: list[Call]) -> None:
    call = Call()
    calls.append(call)
    call.send(Frame(Kind.WANT))
    assert call.next() == Frame(Kind.STDIN)  # the process is at work
    call.process.send_signal(signal.SIGINT)
    assert call.next().kind is Kind.INTERRUPT
    call.process.send_signal(signal.SIGINT)
    assert call.finish()[0] == 130


def test_v1_bytes_go_both_ways_and_the_end_of_input_half_closes(calls: list[Call]) -> None:
    call = Call("plain", stdin=subprocess.PIPE)
    calls.append(call)
    stdin: IO[bytes] = call.process.stdin  # type: ignore[assignment]
    stdin.write(b"typed")
    stdin.close()
    call.process.stdin = None
    got = b""
    while data := call.agent.recv(100):
        got += data
    assert got == b"typed"
    call.agent.sendall(b"late output")
    call.agent.close()
    assert call.finish() == (0, b"late output", b"")


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def on_terminal(theirs: int) -> Call:
    return Call(stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)


def test_the_size_of_the_terminal_is_told_and_so_is_each_change(calls: list[Call], terminal: tuple[int, int]) -> None:
    _, theirs = terminal
    call = on_terminal(theirs)
    calls.append(call)
    assert call.next().window == Window(100, 30)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 132, 0, 0))
    call.process.send_signal(signal.SIGWINCH)
    assert call.next().window == Window(132, 40)


def test_keys_pass_through_when_the_app_asks_and_the_terminal_is_put_back(
    calls: list[Call], terminal: tuple[int, int]
) -> None:
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    call = on_terminal(theirs)
    calls.append(call)
    assert call.next().kind is Kind.WINDOW
    call.send(Frame(Kind.RAW, b"\x01"), Frame(Kind.WANT), Frame(Kind.STDOUT, b"ready"))
    assert os.read(ours, 5) == b"ready"
    assert not termios.tcgetattr(theirs)[3] & termios.ECHO
    os.write(ours, b"\x03")
    assert call.next() == Frame(Kind.STDIN, b"\x03")
    call.send(status_frame(0))
    call.process.wait(DEADLINE)
    assert termios.tcgetattr(theirs) == before
