"""Progress bars: on a terminal, for long work, and never anywhere else."""

import io
import subprocess
import sys

import pytest

from ztm.cli.progress import PATIENCE, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def work(clock: Clock, seconds: float, label: str = "a.bin", total: int | None = 10) -> None:
    with Progress(label, total, now=clock) as progress:
        for _ in range(10):
            clock.time += seconds / 10
            progress.advance(1)


def test_long_work_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    work(Clock(), 10 * PATIENCE, "[red]a.bin\x1b[2J")
    assert "[red]a.bin\\u001b[2J" in screen.getvalue()


def test_the_bar_has_no_colours_where_none_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    work(Clock(), 10 * PATIENCE, total=None)
    assert "a.bin" in screen.getvalue()
    assert "\x1b[3" not in screen.getvalue().replace("\x1b[?25", "")


def test_short_work_and_work_without_a_terminal_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    work(Clock(), PATIENCE / 2)
    monkeypatch.setattr("sys.stderr", pipe)
    work(Clock(), 10 * PATIENCE)
    assert (screen.getvalue(), pipe.getvalue()) == ("", "")


def test_what_draws_is_loaded_by_nobody_who_does_not_draw() -> None:
    code = "import sys; from ztm.cli.progress import Progress\nwith Progress('x', 1) as p: p.advance(1)\n"
    check = "sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code + check], check=False).returncode == 0
