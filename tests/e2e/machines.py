"""Machines for commands typed by people: each with a home of its own and, for root, a network of its own.

In network namespaces every command runs as it is written, with the ports it names, and nothing of it can be seen
outside. Without the right to make them, all machines are this one, and ports are replaced by free ones.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from world import START, STOP, free_port, until

SHELL = ["bash", "-euo", "pipefail", "-c"]
READY = re.compile(r"started at|Serving HTTP|Forwarding")
"""What the servers of the documents say once they listen."""
HOST = "10.78.0.1"
"""The address of the machine `hub`, reachable from all others."""
PORTS = re.compile(r"\b(8888|8080|18080|28080)\b")


@dataclass
class Machine:
    """One machine. All share a directory, which stands for the ways by which people pass files on."""

    name: str
    home: Path
    shared: Path
    prefix: list[str] = field(default_factory=list)
    ports: dict[str, str] = field(default_factory=dict)
    """Other ports to use than those written; the agent's under ``agent``. Empty where all are free."""
    host: str = HOST

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a block to its end, whatever comes of it."""
        return subprocess.run(
            [*self.prefix, *SHELL, self.adapted(text)],
            cwd=self.shared,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def running(self, text: str, log: Path) -> Iterator[None]:
        """Run a block that keeps running, from the time it listens until the end of the context."""
        with log.open("wb") as output:
            process = self._start(text, output)
        try:
            until(lambda: READY.search(log.read_text()) or process.poll() is not None, within=START, what=text)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            _end(process)

    def _start(self, text: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.prefix, *SHELL, self.adapted(text)],
            cwd=self.shared,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        """What processes of this machine see: nothing of whoever runs the tests."""
        variables = {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }
        return {**variables, "ZTM_AGENT": self.ports["agent"]} if self.ports else variables

    def adapted(self, text: str) -> str:
        """The block as it can run here."""
        text = re.sub(r"\bHOST\b", self.host, text)
        if not self.ports:
            return text
        text = text.replace("ztm run agent", f"ztm run agent --listen {self.ports['agent']}")
        return PORTS.sub(lambda found: self.ports[found[0]], text)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a shell and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(STOP)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def machines(directory: Path, names: list[str]) -> Iterator[dict[str, Machine]]:
    """Machines by name; one called ``hub`` is where HOST leads."""
    shared = directory / "shared"
    shared.mkdir()
    made = {name: Machine(name, directory / name, shared) for name in names}
    for machine in made.values():
        machine.home.mkdir()
    with ExitStack() as stack:
        if may_isolate():
            _isolate(made, stack)
        else:
            _share_ports(made)
        yield made


def may_isolate() -> bool:
    """Whether this process may make network namespaces."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    return subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode == 0


def _isolate(made: dict[str, Machine], stack: ExitStack) -> None:
    """Give each machine a network, and a cable from each to the hub's."""
    holders = {name: stack.enter_context(_namespace()) for name in made}
    for name, machine in made.items():
        machine.prefix = ["nsenter", "-t", str(holders[name]), "-n"]
        _ip(machine, "link set lo up")
    if "hub" not in made:
        return
    hub = made["hub"]
    _ip(hub, f"address add {HOST}/32 dev lo")
    for number, name in enumerate((name for name in made if name != "hub"), 1):
        near, far = f"10.78.{number}.1", f"10.78.{number}.2"
        _ip(hub, f"link add to{number} type veth peer name eth0 netns {holders[name]}")
        _ip(hub, f"address add {near}/24 dev to{number}")
        _ip(hub, f"link set to{number} up")
        _ip(made[name], f"address add {far}/24 dev eth0")
        _ip(made[name], "link set eth0 up")
        _ip(made[name], f"route add default via {near}")


@contextmanager
def _namespace() -> Iterator[int]:
    """A new network namespace, as the id of a process in it; both end with this process at the latest."""
    holder = subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(b"!")
    assert holder.stdout.read(1) == b"!"  # it is `cat` by now, in its namespace
    try:
        yield holder.pid
    finally:
        holder.stdin.close()
        holder.stdout.close()
        holder.wait(STOP)


def _ip(machine: Machine, words: str) -> None:
    subprocess.run([*machine.prefix, "ip", *words.split()], check=True, capture_output=True)


def _share_ports(made: dict[str, Machine]) -> None:
    hub, page = str(free_port()), str(free_port())
    for machine in made.values():
        machine.host = "127.0.0.1"
        own = {"18080": str(free_port()), "28080": str(free_port()), "agent": f"127.0.0.1:{free_port()}"}
        machine.ports = {"8888": hub, "8080": page, **own}
