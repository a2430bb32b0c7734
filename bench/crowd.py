"""A hub full of idle agents: what each costs, whether all are answered, and what is given back when they leave."""

import json
import math
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from measure import Figures
from processes import BenchError, Sandbox, cpu_seconds, memory
from way_ztm import Mesh, check_net

PER_PROCESS = 2500
"""Agents of one process: it shall not become what is measured, nor need more files than it may open."""
CONNECT_TIME = 0.04
"""Seconds that one agent's connecting may take before the crowd counts as stuck."""
GIVING_BACK = 30.0
"""Seconds after they have left until which memory given back counts."""
SETTLED = 12.0
"""Seconds without any more of it after which that is all (ztm.net.process looks every 5 s)."""
STARTED = 4.0
"""The same for a hub that has just started, which gives back after two seconds what only its start needed."""
SOME = 1 << 20
"""Bytes that count as more of it."""


def idle_processes(net: str, settle: float) -> dict[str, float]:
    """Resident megabytes of a hub with one agent, and of that agent, both idle.

    Raises:
        BenchError: one of them does not come up.
    """
    with Sandbox() as box:
        mesh = Mesh(box, net)
        mesh.add_agent("a")
        time.sleep(settle)
        return {
            "idle_hub_mb": memory([mesh.hub]).now / 1e6,
            "idle_agent_mb": memory([mesh.agents["a"]]).now / 1e6,
        }


def crowd(net: str, agents: int, watch: float) -> Figures:
    """Connect so many idle agents to a new hub, watch it for `watch` seconds, and let them go."""
    figures = Figures(net)
    try:
        with Sandbox() as box:
            hub = Mesh(box, net, max_agents=agents + 10).hub
            check_net(hub, net)
            _Crowd(box, hub, agents, figures.values).measure(watch)
    except (BenchError, OSError) as error:
        figures.missing[f"{agents} idle agents"] = str(error) or type(error).__name__
    return figures


class _Crowd:
    """The processes that hold the agents."""

    def __init__(self, box: Sandbox, hub: int, agents: int, values: dict[str, float]) -> None:
        self._box = box
        self._hub = hub
        self._agents = agents
        self._values = values
        self._pids: dict[str, int] = {}

    def measure(self, watch: float) -> None:
        values = self._values
        values["crowd_agents"] = self._agents
        values["crowd_hub_before_mb"] = before = self._least(STARTED) / 1e6
        values["crowd_connect_per_s"] = self._agents / self._connect()
        counted, used, begin = self._counts(1), cpu_seconds([self._hub]), time.monotonic()
        time.sleep(watch)
        passed = time.monotonic() - begin
        values["crowd_hub_cpu_percent"] = (cpu_seconds([self._hub]) - used) / passed * 100
        seen = self._counts(2)
        for what in ("beats", "pings", "late", "lost"):
            values[f"crowd_{what}"] = seen[what] - counted[what]
        values["crowd_retries"] = seen["retries"]
        values["crowd_hub_with_mb"] = loaded = memory([self._hub]).now / 1e6
        values["crowd_kb_per_agent"] = (loaded - before) * 1e3 / self._agents
        values["crowd_hub_after_mb"] = self._left() / 1e6

    def _connect(self) -> float:
        """Start them all; seconds until the last agent was accepted."""
        parts = math.ceil(self._agents / PER_PROCESS)
        shares = [self._agents // parts + (part < self._agents % parts) for part in range(parts)]
        permit, begin = self._box.directory / "root.json", time.monotonic()
        for part, share in enumerate(shares):
            name = f"population-{part}"
            command = [sys.executable, Path(__file__).with_name("population.py"), permit, share]
            # the same load on every hub: the portable network
            self._pids[name] = self._box.start(name, command, {"ZTM_NET": "aio"})
        for name, pid in self._pids.items():
            patience = 30 + self._agents * CONNECT_TIME
            self._box.wait_for(name, pid, lambda name=name: bool(self._said(name, "ready")), patience)  # type: ignore[misc]
        return time.monotonic() - begin

    def _said(self, name: str, start: str) -> list[str]:
        """The whole lines that a process wrote and that begin so."""
        lines = (self._box.directory / f"{name}.log").read_text().splitlines(keepends=True)
        return [line for line in lines if line.startswith(start) and line.endswith("\n")]

    def _counts(self, turn: int) -> Counter[str]:
        """What all processes have counted so far; asked for the first, second, ... time."""
        total: Counter[str] = Counter()
        for name, pid in self._pids.items():
            os.kill(pid, signal.SIGUSR1)
            self._box.wait_for(name, pid, lambda name=name: len(self._said(name, "{")) >= turn, 10)  # type: ignore[misc]
            total.update(json.loads(self._said(name, "{")[turn - 1]))
        return total

    def _left(self) -> int:
        """End them; what the hub keeps once that has stopped falling."""
        for pid in self._pids.values():
            self._box.stop(pid)
        return self._least(SETTLED)

    def _least(self, quiet: float) -> int:
        """The hub's resident memory once it has not fallen for `quiet` seconds."""
        begin = looked = time.monotonic()
        least = memory([self._hub]).now
        while (now := time.monotonic()) - begin < GIVING_BACK and now - looked < quiet:
            time.sleep(0.5)
            if not self._box.is_running(self._hub):
                raise BenchError(f"the hub ended: {self._box.complaint('hub')}")
            if (kept := memory([self._hub]).now) < least - SOME:
                least, looked = kept, now
        return least
