"""Our own way: a hub and two agents, each a process of its own started by the command line, and two TCP tunnels.

client -TCP-> agent A -TLS-> hub -TLS-> agent B -TCP-> target. Each process has a HOME of its own, and runs on the
network that ``ZTM_NET`` names: the portable one or the native one.
"""

import http.client
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bulk
from processes import BenchError, Sandbox, free_port, has_loaded, is_open
from ways import Ports

ZTM = Path(sys.executable).with_name("ztm")
NATIVE = "ztm_native"
"""The module that the native network needs."""


def has_native() -> bool:
    """Whether the native network is installed here."""
    return importlib.util.find_spec(NATIVE) is not None


def check_net(pid: int, net: str) -> None:
    """See that a process runs on the network that it was told to.

    Raises:
        BenchError: it runs on the other one.
    """
    if has_loaded(pid, NATIVE) != (net == "native"):
        raise BenchError(f"process {pid} was told to run on the network {net!r}, and does not")


class Mesh:
    """A hub and the agents that joined it."""

    def __init__(self, box: Sandbox, net: str, *, max_agents: int = 100, program: Sequence[object] = (ZTM,)) -> None:
        """Start the hub; `program` runs it and later the agents, on the network `net` (``aio`` or ``native``).

        Raises:
            BenchError: it does not come up, or the network is not installed.
        """
        if net == "native" and not has_native():
            raise BenchError(f"{NATIVE}: not installed")
        self._box = box
        self._net = net
        self._program = program
        self.permit = box.directory / "root.json"
        self.port = free_port()
        name = f"127.0.0.1:{self.port}"
        options = ["--names", name, "--permit", self.permit, "--max-agents", max_agents]
        self.hub = box.start(
            "hub",
            [*program, "run", "hub", "--data", box.directory / "hub", "--listen", name, *options],
            self._home("hub"),
        )
        box.wait_for("the hub", self.hub, lambda: is_open(self.port) and self.permit.exists())
        self.agents: dict[str, int] = {}
        self._apis: dict[str, int] = {}

    def _home(self, name: str) -> dict[str, str]:
        home = self._box.directory / f"home-{name}"
        home.mkdir(exist_ok=True)
        return {"HOME": str(home), "ZTM_NET": self._net}

    def add_agent(self, name: str) -> None:
        """Start an agent and have it join as `name`.

        Raises:
            BenchError: it does not come up, or cannot join.
        """
        port = self._apis[name] = free_port()
        data = self._box.directory / name
        command = [*self._program, "run", "agent", "--data", data, "--listen", f"127.0.0.1:{port}"]
        pid = self.agents[name] = self._box.start(name, command, self._home(name))
        self._box.wait_for(f"agent {name}", pid, lambda: (data / "api.token").exists() and is_open(port))
        self.order(name, "join", "bench", "--as", name, "--permit", str(self.permit))

    def environment(self, agent: str) -> dict[str, str]:
        """What a `ztm` command needs to ask an agent."""
        return {**self._home(agent), "ZTM_AGENT": f"127.0.0.1:{self._apis[agent]}", "PATH": "/usr/bin:/bin"}

    def api(self, agent: str, method: str, path: str, body: object = None) -> Any:
        """Ask an agent's API; the answer's JSON.

        Raises:
            BenchError: it refused.
        """
        token = (self._box.directory / agent / "api.token").read_text().strip()
        link = http.client.HTTPConnection("127.0.0.1", self._apis[agent], timeout=30)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            link.request(method, path, None if body is None else json.dumps(body), headers)
            answer = link.getresponse()
            content = answer.read()
        finally:
            link.close()
        if answer.status >= 300:
            raise BenchError(f"{method} {path}: {answer.status} {content[:200]!r}")
        return json.loads(content) if content else None

    def order(self, agent: str, *words: str) -> None:
        """Run a `ztm` command against an agent.

        Raises:
            BenchError: it failed.
        """
        done = subprocess.run(
            [str(ZTM), *words],
            env=self.environment(agent),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self._box.directory,
        )
        if done.returncode:
            raise BenchError(f"ztm {words[0]}: {done.stderr.strip()}")


class ZtmMesh:
    """A tunnel of ours for each target."""

    def __init__(self, net: str, program: Sequence[object] = (ZTM,)) -> None:
        self.name = net
        self._program = program
        self.hops: list[int] = []
        self.hub = 0
        self.agents: list[int] = []

    def open(self, box: Sandbox, targets: Ports) -> Ports:
        """Start hub and agents, and open the tunnels."""
        mesh = Mesh(box, self.name, program=self._program)
        mesh.add_agent("a")
        mesh.add_agent("b")
        self.hub, self.agents = mesh.hub, list(mesh.agents.values())
        self.hops += [self.hub, *self.agents]
        own = Ports(free_port(), free_port())
        for name, target, listen in (("tcp/web", targets.web, own.web), ("tcp/bulk", targets.bulk, own.bulk)):
            mesh.order("b", "tunnel", "open", "outbound", name, "--targets", f"127.0.0.1:{target}")
            mesh.order("a", "tunnel", "open", "inbound", name, "--listen", f"127.0.0.1:{listen}")
        box.wait_for("the tunnel", self.hub, lambda: is_open(own.web) and bulk.answers(own.bulk))
        for pid in self.hops:
            check_net(pid, self.name)
        return own
