"""Requests on kept-alive connections, by `wrk` (Debian: wrk), one thread of it."""

import re
import subprocess
from dataclasses import dataclass

from processes import BenchError, tool

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """What wrk measured. Times are milliseconds."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def requests(port: int, connections: int, seconds: float) -> KeepAlive:
    """Ask a loopback port again and again over so many connections.

    Raises:
        BenchError: wrk is not installed, or nothing was answered.
    """
    command = [tool("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "5s", "--latency"]
    try:
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=seconds + 15, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchError("wrk did not end in time") from None
    return parse(done.stdout or done.stderr)


def parse(said: str) -> KeepAlive:
    """Read what wrk prints.

    Raises:
        BenchError: there is no result in it.
    """
    total = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if total is None or rate is None or total[1] == "0":
        raise BenchError(f"wrk got no answers: {said.strip()[-80:]}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    failed = sum(map(int, errors.groups())) if errors else 0
    return KeepAlive(
        requests=int(total[1]),
        per_second=float(rate[1]),
        p50_ms=_percentile(said, 50),
        p99_ms=_percentile(said, 99),
        failed=failed + (int(refused[1]) if refused else 0),
    )


def _percentile(said: str, percent: int) -> float:
    found = re.search(rf"^\s*{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", said, re.MULTILINE)
    if found is None:
        raise BenchError(f"wrk did not tell its {percent}th percentile")
    return float(found[1]) * UNITS[found[2]]
