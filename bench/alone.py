"""What is measured of ours alone: a hub full of idle agents, an idle hub and agent, and how fast `ztm` starts."""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import BenchError, Sandbox, cpu_seconds, memory
from way_ztm import ZTM, Mesh

CONNECT_TIME = 0.04
"""Seconds that one agent's connecting may take before the population counts as stuck."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A hub with many idle agents."""

    agents: int
    hub_before_mb: float
    hub_after_mb: float
    kb_per_agent: float
    hub_cpu_percent: float
    """Of one core, while nothing is asked of it but heartbeats and pings."""
    connect_per_s: float


def population(count: int, watch: float) -> Idle:
    """Connect `count` idle agents to a new hub and watch it for `watch` seconds.

    Raises:
        BenchError: they did not all connect, or did not stay.
    """
    with Sandbox() as box:
        mesh = Mesh(box, max_agents=count + 10)
        before = memory([mesh.hub]).now
        log = box.directory / "population.log"
        command = [sys.executable, Path(__file__).with_name("population.py"), mesh.permit, str(count)]
        begin = time.monotonic()
        pid = box.start("population", command)
        box.wait_for("the population", pid, lambda: "ready" in log.read_text(), 20 + count * CONNECT_TIME)
        took = time.monotonic() - begin
        used, watched = cpu_seconds([mesh.hub]), time.monotonic()
        time.sleep(watch)
        percent = (cpu_seconds([mesh.hub]) - used) / (time.monotonic() - watched) * 100
        if not box.is_running(pid):
            raise BenchError(f"the population did not stay: {box.complaint('population')}")
        after = memory([mesh.hub]).now
    return Idle(count, before / 1e6, after / 1e6, (after - before) / 1e3 / count, percent, count / took)


def idle_processes(settle: float) -> tuple[float, float]:
    """Resident megabytes of a hub with one agent, and of that agent, both idle.

    Raises:
        BenchError: one of them does not come up.
    """
    with Sandbox() as box:
        mesh = Mesh(box)
        mesh.add_agent("a")
        time.sleep(settle)
        return memory([mesh.hub]).now / 1e6, memory([mesh.agents["a"]]).now / 1e6


STARTS = {
    "ztm version": ("version",),
    "ztm help": ("help",),
    "ztm help tunnel": ("help", "tunnel"),
    "completion of a word": ("__complete", "zsh", "--", "get", ""),
}
"""What a person waits for at the prompt, without an agent; completion gives up after 300 ms (ztm.cli.completion)."""


def start_times(words: Sequence[str], runs: int) -> tuple[float, float]:
    """Milliseconds that ``ztm WORDS...`` takes, warm: the median and the longest."""
    times = []
    with Sandbox() as box:
        env = {"HOME": str(box.directory), "PATH": "/usr/bin:/bin", "ZTM_COMPLETION_TIMEOUT": "30"}
        for _ in range(runs + 1):
            begin = time.perf_counter()
            subprocess.run([str(ZTM), *words], env=env, capture_output=True, check=False, timeout=30)
            times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times[1:]), max(times[1:])  # the first one warms the caches
