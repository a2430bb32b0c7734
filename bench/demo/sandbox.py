"""A directory with a home of its own, and the processes that live in it and die with it.

It uses no port that anybody else has, no setting of the user, and leaves nothing behind. What the commands do
is theirs; here they are only typed and shown.
"""

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

START = 20.0
"""Seconds for a process to say that it has started; a loaded machine takes some."""
STOP = 5.0
"""Seconds for a process to end by itself when told to."""
LOOK = 0.02
"""Seconds between two looks for what a starting process says."""
SIGNAL_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of linux/prctl.h."""


class DemoError(Exception):
    """A step went wrong; the message says which, and what was printed."""


@dataclass(frozen=True)
class Agent:
    """A running agent: the name of its endpoint and of its directory, and where its API listens."""

    name: str
    address: str


class Sandbox:
    """Use it with `with`: at the end every process is stopped, and the directory is removed."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ztm-demo-"))
        self.ztm = Path(sys.executable).parent / "ztm"
        """The command, as installed beside this Python."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: set[int] = set()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ZTM_")}
        self._environment = {**kept, "HOME": str(self.directory), "PYTHONUNBUFFERED": "1"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not keep the first from cleaning up.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            _end(process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def free_port(self) -> int:
        """A TCP port of 127.0.0.1 that nobody listens on, another one each time."""
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in self._ports:
                self._ports.add(port)
                return port

    # ------------------------------------------------------------------ processes

    def start_page(self) -> int:
        """Serve the web page; its port."""
        port = self.free_port()
        page = Path(__file__).parent / "page.py"
        self._start("page", [sys.executable, str(page), str(port)], says="started at")
        return port

    def start_hub(self, permit: str) -> None:
        """Run a hub that writes its root permit to the file `permit`."""
        address = f"127.0.0.1:{self.free_port()}"
        words = ["run", "hub", "--data", "hub", "--listen", address, "--names", address, "--permit", permit]
        self._start_ztm("hub", words)

    def start_agent(self, name: str) -> Agent:
        """Run an agent with `name` as its directory."""
        address = f"127.0.0.1:{self.free_port()}"
        self._start_ztm(name, ["run", "agent", "--data", name, "--listen", address])
        return Agent(name, address)

    def _start_ztm(self, name: str, words: list[str]) -> None:
        print(f"   $ ztm {shlex.join(words)} &")
        self._start(name, [str(self.ztm), *words], says="started at")
        for line in self._said(name).splitlines():
            print(f"   {line}")
        print(flush=True)

    def _start(self, name: str, command: list[str], *, says: str) -> None:
        with (self.directory / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we then stop them in order
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (no threads here)
            )
        deadline = time.monotonic() + START
        while says not in self._said(name):
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"{name} did not start: {self._said(name).strip() or 'it said nothing'}")
            time.sleep(LOOK)

    def _said(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def wait(self) -> None:
        """Wait for ever, or until one of the processes ends.

        Raises:
            DemoError: one did.
        """
        while True:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    said = self._said(name).strip().splitlines()
                    raise DemoError(f"{name} ended with status {process.returncode}: {said[-1] if said else ''}")
            time.sleep(0.2)

    # ------------------------------------------------------------------ commands

    def ztm_at(self, agent: Agent, *words: str) -> None:
        """Run one `ztm` command against `agent`, shown with what it prints.

        Raises:
            DemoError: it failed, or did not end.
        """
        print(f"   $ ZTM_AGENT={agent.address} ztm {shlex.join(words)}", flush=True)
        for line in self.said_by_ztm_at(agent, *words).splitlines():
            print(f"   {line.rstrip()}")
        print(flush=True)

    def said_by_ztm_at(self, agent: Agent, *words: str) -> str:
        """What one `ztm` command against `agent` prints.

        Raises:
            DemoError: it failed, or did not end.
        """
        environment = {**self._environment, "ZTM_AGENT": agent.address}
        try:
            done = subprocess.run(
                [str(self.ztm), *words],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DemoError(f"'ztm {shlex.join(words)}' did not end within a minute") from None
        if done.returncode:
            raise DemoError(f"'ztm {shlex.join(words)}' ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def _end_with_parent() -> None:
    """Have the kernel stop this process when its parent dies without a chance to say so."""
    ctypes.CDLL(None).prctl(SIGNAL_WITH_PARENT, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP)
