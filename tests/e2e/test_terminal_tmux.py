"""A person at a real terminal (tmux) with a shell on another endpoint: full-screen programs, keys and sizes."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from world import ZTM, Agent, environment, until

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
PATIENCE = 20.0
"""Seconds for a screen to show what it shall; a loaded machine takes some."""


class Screen:
    """A terminal of a tmux server of its own, in which one command runs; its end is shown as ``status=N``."""

    def __init__(self, agent: Agent, command: str, columns: int = 100, rows: int = 30) -> None:
        self.folder = tempfile.mkdtemp(prefix="ztm-tmux-")  # short, as sockets have short paths
        self.environment = environment(agent.home, {"ZTM_AGENT": f"127.0.0.1:{agent.port}", "TMUX_TMPDIR": self.folder})
        self.environment["LC_ALL"] = "C.UTF-8"
        size = ("-x", str(columns), "-y", str(rows))
        self.tmux("new-session", "-d", *size, f"{command}; echo status=$?; exec cat")
        self.tmux("set", "-g", "status", "off")

    def tmux(self, *words: str) -> str:
        """One command of tmux; what it prints."""
        ran = subprocess.run(
            ["tmux", "-L", "test", "-f", "/dev/null", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return ran.stdout

    def type(self, *keys: str) -> None:
        """Press keys, by tmux's names for them."""
        self.tmux("send-keys", *keys)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return self.tmux("capture-pane", "-p")

    def shows(self, text: str) -> str:
        """Wait until `text` is on the screen."""
        try:
            until(lambda: text in self.text, within=PATIENCE, what=f"the screen shows {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it has:\n{self.text}") from None
        return self.text

    def hides(self, text: str) -> None:
        """Wait until `text` is not on the screen."""
        until(lambda: text not in self.text, within=PATIENCE, what=f"the screen hides {text!r}")

    def close(self) -> None:
        """End the server with all that runs in it."""
        self.tmux("kill-server")
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def screen(mesh) -> Iterator[Screen]:
    """A shell on the workplace, opened at home."""
    mesh.workplace.ok("terminal", "config", "--set-shell", "/bin/sh")
    made = Screen(mesh.home, f"{ZTM} terminal open workplace")
    try:
        made.type("PS1='@ '; echo rea''dy", "Enter")
        made.shows("ready")
        yield made
    finally:
        made.close()


def test_a_change_of_the_windows_size_is_seen_there(screen: Screen) -> None:
    screen.type("clear; while :; do stty size; sleep 0.1; done", "Enter")
    screen.shows("30 100")
    screen.tmux("resize-window", "-x", "77", "-y", "22")
    screen.shows("22 77")


def test_keys_reach_the_program_there_and_the_end_gives_the_terminal_back(screen: Screen) -> None:
    screen.type("clear; sh -c 'echo beg''un; sleep 1000'", "Enter")
    screen.shows("begun")
    screen.type("C-c")
    screen.type("echo in''terrupted=$?", "Enter")
    screen.shows("interrupted=130")
    screen.type("exit 7", "Enter")
    screen.shows("status=7")
    screen.type("echoed", "Enter")  # by the terminal and by cat: it edits lines again
    until(lambda: screen.text.count("echoed") == 2, within=PATIENCE, what="lines are edited again")


@pytest.mark.skipif(not shutil.which("vim"), reason="vim is not installed")
def test_vim_edits_and_saves_a_file_there(screen: Screen, tmp_path: Path) -> None:
    file = tmp_path / "edited.txt"
    screen.type(f"cd {tmp_path}; clear; vim -N -u NONE -i NONE -n edited.txt", "Enter")
    screen.shows("~")
    screen.type("i")
    screen.shows("INSERT")
    screen.type("first line", "Enter", "second lime", "Escape")
    screen.hides("INSERT")
    screen.type("h", "r", "n")
    screen.shows("second line")
    screen.tmux("resize-window", "-x", "60", "-y", "15")
    until(lambda: screen.text.count("\n~") == 12, within=PATIENCE, what="vim fills the smaller window")
    screen.type(":wq", "Enter")
    until(lambda: file.exists() and file.read_text() == "first line\nsecond line\n", what="the file is saved")
    until(lambda: screen.text.rstrip().endswith("@"), within=PATIENCE, what="the shell's prompt is back")
    screen.type("clear; echo still he''re", "Enter")
    screen.shows("still here")


@pytest.mark.skipif(not shutil.which("top"), reason="top is not installed")
def test_top_fills_the_window_and_goes_when_told(screen: Screen) -> None:
    screen.type("top", "Enter")
    shown = screen.shows("PID")
    assert "%CPU" in shown
    screen.tmux("resize-window", "-x", "120", "-y", "40")
    until(lambda: len(screen.text.rstrip().splitlines()) > 8, within=PATIENCE, what="top goes on")
    screen.type("q")
    until(lambda: screen.text.rstrip().endswith("@"), within=PATIENCE, what="the shell's prompt is back")
    screen.type("clear; echo af''ter", "Enter")
    screen.shows("after")


def test_a_terminal_that_is_closed_leaves_no_shell_there(screen: Screen) -> None:
    screen.type("clear; echo pid=$$=", "Enter")
    found = until(lambda: re.search(r"^pid=(\d+)=", screen.text, re.MULTILINE), within=PATIENCE, what="the pid")
    shell = Path(f"/proc/{found[1]}")
    assert shell.exists()
    screen.tmux("new-window", "cat")  # so that there is a server to close
    screen.tmux("kill-window", "-t", ":0")
    until(lambda: not shell.exists(), within=PATIENCE, what="the shell ends")
