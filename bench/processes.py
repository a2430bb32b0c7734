"""Processes that a measurement starts: where they live, what they cost, and their end by process id.

Never ends a process that it did not start itself, and touches nothing outside its own temporary directory.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds of one unit in ``/proc/PID/stat``."""


class BenchError(Exception):
    """A part of the benchmark cannot be measured here; the message goes into the table."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes, summed over processes (pages they share count in each)."""

    now: int
    peak: int


class Sandbox:
    """A temporary directory and the processes started in it; leaving it ends them all."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ztm-bench-"))
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._started):
            end(process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, name: str, command: Sequence[object], env: Mapping[str, str] | None = None) -> int:
        """Start a process with its output in ``NAME.log``; its process id. Words may be paths and numbers."""
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=self.directory,
            )
        self._started.append(process)
        return process.pid

    def complaint(self, name: str) -> str:
        """The last line that a process wrote."""
        with contextlib.suppress(OSError):
            lines = (self.directory / f"{name}.log").read_text(errors="replace").strip().splitlines()
            return lines[-1] if lines else "it said nothing"
        return "it said nothing"

    def is_running(self, pid: int) -> bool:
        """Whether a process started here still runs."""
        return any(process.pid == pid and process.poll() is None for process in self._started)

    def stop(self, pid: int) -> None:
        """End one process started here, before the others."""
        for process in self._started:
            if process.pid == pid:
                end(process)

    def wait_for(self, name: str, pid: int, ready: Callable[[], bool], seconds: float = 15.0) -> None:
        """Return once `ready()`.

        Raises:
            BenchError: the process ended, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.is_running(pid):
                raise BenchError(f"{name} ended: {self.complaint(name)}")
            if time.monotonic() > deadline:
                raise BenchError(f"{name} was not ready within {seconds:.0f} s: {self.complaint(name)}")
            time.sleep(0.05)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children: asked first, then killed."""
    children = tree([process.pid])[1:]
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid in children:
        if _parent(pid) in (1, *children):  # orphaned just now, so still the one that was listed
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A loopback TCP port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_open(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tool(name: str) -> str:
    """Where a program is.

    Raises:
        BenchError: it is not installed.
    """
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BenchError(f"{name}: not installed")
    return found


def tree(roots: Sequence[int]) -> list[int]:
    """`roots` and all their descendants alive now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(int(entry.name))) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = list(roots)
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def cpu_seconds(roots: Sequence[int]) -> float:
    """CPU time used so far by `roots` and their descendants, with the children they have already buried."""
    ticks = 0
    for pid in tree(roots):
        if (fields := _stat(pid)) is not None:
            ticks += sum(int(field) for field in fields[11:15])  # utime stime cutime cstime
    return ticks * TICK


def memory(roots: Sequence[int]) -> Memory:
    """Resident memory of `roots` and their descendants, now and at its highest."""
    now = peak = 0
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    now += int(line.split()[1]) << 10
                elif line.startswith("VmHWM:"):
                    peak += int(line.split()[1]) << 10
    return Memory(now, peak)


def written(roots: Sequence[int]) -> int:
    """Resident bytes of `roots` and their descendants that are no file's: what they hold, without their code."""
    total = 0
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) << 10
    return total


def reset_peaks(roots: Sequence[int]) -> None:
    """Begin `Memory.peak` of `roots` and their descendants anew, where this user may."""
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def has_loaded(pid: int, word: str) -> bool:
    """Whether a process has a library in memory whose path holds `word`."""
    with contextlib.suppress(OSError):
        return word in Path(f"/proc/{pid}/maps").read_text()
    return False


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields is not None else None


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` after the name, which may hold anything; None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
