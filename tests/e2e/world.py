"""A mesh of real processes for tests: the installed `ztm`, a home directory for each machine, and what they say.

Every process is started by this module and ended by its own process id; nothing outside the given
directory is written.
"""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import leaks

ZTM = Path(sys.executable).with_name("ztm")
"""The console script of the environment that runs the tests."""
START = 15.0
"""Seconds for a process to say that it is ready; a loaded machine takes some."""
STOP = 10.0
"""Seconds from SIGTERM to the end of a process."""
POLL = 0.02
"""Seconds between two looks at a condition."""
PORTS = range(12000, 30000)
"""Below the ports that systems give to outgoing connections, so that a port stays free while its process restarts."""
WORKER, WORKERS = (
    int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")),
    int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
)
"""Which of the processes that run tests beside each other this is: each takes ports of its own."""

T = TypeVar("T")


def until(wanted: Callable[[], T], *, within: float = 10.0, what: str = "") -> T:
    """The first true value of `wanted`, asked again and again for at most `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        found = wanted()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or wanted}; last: {found!r}")
        time.sleep(POLL)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1") -> int:
    """A port that nobody uses now and that no outgoing connection will be given."""
    for port in random.sample(PORTS[WORKER::WORKERS], 50):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port found")


@dataclass(frozen=True)
class Ran:
    """What one run of the command line did."""

    words: tuple[str, ...]
    status: int
    out: str
    err: str
    seconds: float

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a printed table, without its headings; cells are split at two blanks or more."""
        return [_cells(line) for line in self.out.splitlines()[1:]]

    @property
    def headings(self) -> list[str]:
        """The first line of a printed table."""
        return _cells(self.out.splitlines()[0])

    @property
    def json(self) -> Any:
        """What ``-o json`` printed."""
        return json.loads(self.out)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


class Process:
    """One `ztm run ...` and its restarts; each run has its own log."""

    def __init__(self, name: str, words: Sequence[object], home: Path, prefix: Sequence[str] = ()) -> None:
        self.name = name
        self.words = [str(word) for word in words]
        self.home = home
        self.prefix = list(prefix)
        self.logs: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._is_paused = False

    def start(self, ready: str = "") -> "Process":
        """Start it, and wait until its log has `ready`."""
        assert self._process is None or self._process.poll() is not None, f"{self.name} runs already"
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = self.home / f"{self.name}.{len(self.logs) + 1}.log"
        self.logs.append(log)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*self.prefix, ZTM, *self.words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(self.home),
                start_new_session=True,
            )
        if ready:
            until(lambda: ready in self.log or self.exited(), within=START, what=f"{self.name} says {ready!r}")
            assert ready in self.log, f"{self.name} ended with {self.exited()}: {self.log}"
        return self

    def exited(self) -> str:
        """The exit status as text, or nothing while it runs."""
        status = self._process.poll() if self._process else None
        return "" if status is None else f"status {status}"

    def wait(self, within: float = STOP) -> int:
        """Its exit status, once it has ended."""
        assert self._process is not None
        return self._process.wait(within)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the present run has said."""
        return self.logs[-1].read_text(encoding="utf-8", errors="replace")

    @property
    def rss(self) -> int:
        """Bytes of memory that it has resident now."""
        return self._memory("VmRSS")

    @property
    def peak_rss(self) -> int:
        """The most bytes of memory that it had resident since `reset_peak`."""
        return self._memory("VmHWM")

    def reset_peak(self) -> None:
        """Begin `peak_rss` anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _memory(self, key: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"{self.name} has no {key}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP)

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def pause(self) -> None:
        """Make it fall silent, with all its connections left open."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)


class Hub(Process):
    """A hub process."""

    def __init__(self, home: Path, port: int, *, data: Path | None = None, options: Sequence[object] = (), **more: Any):
        self.port = port
        self.host = more.pop("host", "127.0.0.1")
        self.data = data or home / "data"
        self.permit = home / "root.json"
        address = f"{self.host}:{port}"
        words = ["run", "hub", "--data", self.data, "--listen", address, "--names", address, "--permit", self.permit]
        super().__init__("hub", [*words, *options], home, **more)

    def start(self, ready: str = "started at") -> "Hub":
        super().start(ready)
        return self


class Agent(Process):
    """An agent process, and the command line on its machine."""

    def __init__(
        self,
        home: Path,
        port: int,
        *,
        name: str,
        data: Path | None = None,
        options: Sequence[object] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        self.port = port
        self.data = data or home / "data"
        words = ["run", "agent", "--data", self.data, "--listen", f"127.0.0.1:{port}", *options]
        super().__init__(name, words, home, prefix)

    def start(self, ready: str = "Agent started at") -> "Agent":
        super().start(ready)
        return self

    @property
    def token(self) -> str:
        """The token of its local API."""
        return (self.data / "api.token").read_text().strip()

    def ztm(self, *words: object, stdin: str = "", env: dict[str, str] | None = None) -> Ran:
        """Run `ztm` here, whatever comes of it."""
        variables = {"ZTM_AGENT": f"127.0.0.1:{self.port}", **(env or {})}
        return run_ztm(self.home, *words, stdin=stdin, env=variables, prefix=self.prefix)

    def ok(self, *words: object, stdin: str = "") -> Ran:
        """Run `ztm` here; it must succeed and complain of nothing."""
        ran = self.ztm(*words, stdin=stdin)
        assert (ran.status, ran.err) == (0, ""), ran
        return ran

    def fails(self, *words: object, status: int = 1, stdin: str = "", env: dict[str, str] | None = None) -> str:
        """Run `ztm` here; it must fail with `status`, and its one line on stderr is returned."""
        return one_line(self.ztm(*words, stdin=stdin, env=env), status)

    def api(self, path: str) -> Any:
        """What the local API answers to a GET; for states that are asked often, at less cost than a command."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            text = answer.read()
            return json.loads(text) if answer.status == 200 else None
        finally:
            connection.close()

    @property
    def mesh(self) -> dict[str, Any]:
        """The only joined mesh; asked by a command where the agent is on a machine of its own."""
        found: list[dict[str, Any]]
        found = self.ok("get", "mesh", "-o", "json").json if self.prefix else self.api("/api/meshes")
        return found[0]

    @property
    def id(self) -> str:
        """The endpoint's id in the only joined mesh."""
        return str(self.mesh["agent"]["id"])

    def describe(self, end: str, name: str) -> dict[str, Any]:
        """An inbound or outbound of this endpoint, as ``tunnel describe`` has it."""
        found: dict[str, Any] = self.ok("tunnel", "describe", end, name, "-o", "json").json
        return found


def one_line(ran: Ran, status: int) -> str:
    """The one line of a failed run; checks that it failed as all commands shall."""
    assert ran.status == status, ran
    assert ran.err.startswith("ztm: "), ran
    assert ran.err.count("\n") == 1, ran
    assert "Traceback" not in ran.err, ran
    return ran.err.strip()


def environment(home: Path, env: dict[str, str] | None = None) -> dict[str, str]:
    """What a process of the machine with this home directory sees."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ZTM_") or key == "ZTM_NET"}
    return {**kept, "HOME": str(home), **(env or {})}


def run_ztm(
    home: Path,
    *words: object,
    stdin: str = "",
    env: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
    cwd: Path | None = None,
) -> Ran:
    """Run the command line to its end."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    texts = tuple(str(word) for word in words)
    begin = time.monotonic()
    done = subprocess.run(
        [*prefix, ZTM, *texts],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(home, env),
        cwd=cwd or home,
        check=False,
    )
    return Ran(texts, done.returncode, done.stdout, done.stderr, time.monotonic() - begin)


@dataclass
class World:
    """The processes of one test, below `path`."""

    path: Path
    processes: list[Process] = field(default_factory=list)

    def hub(self, name: str = "hub", **more: Any) -> Hub:
        """A hub that runs."""
        hub = Hub(self.path / name, free_port(), **more)
        self.processes.append(hub)
        return hub.start()

    def agent(self, name: str, **more: Any) -> Agent:
        """An agent that runs, and has joined nothing yet."""
        agent = Agent(self.path / name, free_port(), name=name, **more)
        self.processes.append(agent)
        return agent.start()

    def joined(self, hub: Hub, name: str, *, permit: Path | None = None, **more: Any) -> Agent:
        """An agent that runs and is connected, by root's permit unless told otherwise."""
        agent = self.agent(name, **more)
        agent.ok("join", "my-mesh", "--as", name, "--permit", permit or hub.permit)
        return agent

    def invited(self, hub: Hub, root: Agent, user: str, name: str = "", **more: Any) -> Agent:
        """An agent of a new user, whom root invites."""
        agent = self.agent(name or user, **more)
        agent.ok("join", "my-mesh", "--as", name or user, "--permit", self.permit(root, agent, user))
        return agent

    def permit(self, root: Agent, agent: Agent, user: str) -> Path:
        """A permit for `user` on the machine of `agent`."""
        permit = agent.home / f"{user}.json"
        identity = agent.home / f"{user}.pem"
        identity.write_text(agent.ok("identity").out)
        root.ok("invite", user, "--identity", identity, "--permit", permit)
        return permit

    def logs(self) -> dict[str, str]:
        """All that all processes have said."""
        return {
            log.name: log.read_text(encoding="utf-8", errors="replace")
            for process in self.processes
            for log in process.logs
        }

    def close(self) -> None:
        """End every process that is left, whatever state it is in; none may have said a secret."""
        data = [process.data for process in self.processes if isinstance(process, Hub | Agent)]
        secrets = leaks.secrets_in(data)
        for process in self.processes:
            process.resume()
            process.signal(signal.SIGTERM)
        for process in self.processes:
            if process.logs:
                try:
                    process.wait(3.0)
                except subprocess.TimeoutExpired:
                    process.kill()
        assert (found := leaks.leaks(self.logs(), secrets)) == [], f"secrets in logs: {found}"


_names = iter(range(1, 1_000_000))


def open_tunnel(
    entrance: Agent,
    exit_: Agent,
    target: int | Sequence[int],
    *,
    protocol: str = "tcp",
    name: str = "",
    options: Sequence[object] = (),
    entrance_options: Sequence[object] = (),
) -> int:
    """Open both ends of a tunnel and wait until the entrance knows the exit; the port it listens on."""
    key = f"{protocol}/{name or f't{next(_names)}'}"
    targets = [target] if isinstance(target, int) else target
    port = free_port(socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM)
    exit_.ok("tunnel", "open", "outbound", key, "--targets", *[f"127.0.0.1:{one}" for one in targets], *options)
    entrance.ok("tunnel", "open", "inbound", key, "--listen", port, *entrance_options)
    await_exit(entrance, exit_, key)
    return port


def await_exit(entrance: Agent, exit_: Agent, key: str) -> None:
    """Wait until the agent at the entrance knows that `exit_` has the outbound `key`."""
    exit_id = exit_.id

    def is_known() -> bool:
        path = f"/api/meshes/{entrance.mesh['name']}/apps/ztm/tunnel/api/tunnels/{key}"
        tunnel = entrance.api(path) or {"outbound": []}
        return any(one["id"] == exit_id for one in tunnel["outbound"])

    until(is_known, what=f"{entrance.name} knows the outbound {key} of {exit_.name}")
