"""How fast the command line starts: what a person waits for at the prompt, without an agent."""

import statistics
import subprocess
import time
from collections.abc import Sequence

from processes import Sandbox
from way_ztm import ZTM

STARTS = {
    "ztm version": ("version",),
    "ztm help": ("help",),
    "ztm help tunnel": ("help", "tunnel"),
    "completion of a word": ("__complete", "zsh", "--", "get", ""),
}
"""Completion gives up after 300 ms (ztm.cli.completion)."""


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
