"""All figures of one way, taken in one order, each within its own time."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import bulk
import fresh
import keepalive
import stalled
from processes import BenchError, Sandbox, cpu_seconds, memory, reset_peaks
from ways import ANSWER, Ports, Way

GB = 1e9
AT_ONCE = 16
"""Clients that make new connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long each figure is measured, in seconds."""

    bulk: float
    requests: float
    settle: float
    """Left alone before the memory is read."""


@dataclass(slots=True)
class Figures:
    """What was measured of one way, by column; a column that could not be has its reason in `missing`."""

    way: str
    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: int = 0
    """Requests and connections without an answer."""


class Run:
    """The measuring of one way that is open."""

    def __init__(self, way: Way, entrance: Ports, lengths: Lengths) -> None:
        self._way = way
        self._entrance = entrance
        self._lengths = lengths
        self.figures = Figures(way.name)

    def all(self) -> Figures:
        """Measure everything that can be."""
        values = self.figures.values
        time.sleep(self._lengths.settle)
        values["rss_idle_mb"] = memory(self._way.hops).now / 1e6
        for connections in (1, 16, 64):
            self._try(f"requests over {connections}", lambda n=connections: self._requests(n))  # type: ignore[misc]
        self._try("new connections", self._fresh)
        reset_peaks(self._way.hops)
        self._try("bulk up", lambda: self._bulk("U", "up"))
        self._try("bulk down", lambda: self._bulk("D", "down"))
        values["rss_peak_mb"] = memory(self._way.hops).peak / 1e6
        time.sleep(self._lengths.settle)
        values["rss_after_mb"] = memory(self._way.hops).now / 1e6
        return self.figures

    def _try(self, what: str, measure: Callable[[], None]) -> None:
        try:
            measure()
        except (BenchError, OSError) as error:
            self.figures.missing[what] = str(error) or type(error).__name__

    def _requests(self, connections: int) -> None:
        before = cpu_seconds(self._way.hops)
        got = keepalive.requests(self._entrance.web, connections, self._lengths.requests)
        used = cpu_seconds(self._way.hops) - before
        values = self.figures.values
        values[f"req_{connections}_per_s"] = got.per_second
        values[f"req_{connections}_p50_ms"] = got.p50_ms
        values[f"req_{connections}_p99_ms"] = got.p99_ms
        values[f"req_{connections}_cpu_us"] = used * 1e6 / got.requests
        self.figures.failed += got.failed

    def _fresh(self) -> None:
        before = cpu_seconds(self._way.hops)
        got = fresh.connections(self._entrance.web, AT_ONCE, self._lengths.requests, ANSWER.encode())
        used = cpu_seconds(self._way.hops) - before
        self.figures.failed += got.failed
        if not got.times:
            raise BenchError("no connection was answered")
        times, values = sorted(got.times), self.figures.values
        values["new_per_s"] = len(times) / got.seconds
        values["new_p50_ms"] = times[len(times) // 2] * 1e3
        values["new_p99_ms"] = times[len(times) * 99 // 100] * 1e3
        values["new_cpu_us"] = used * 1e6 / len(times)

    def _bulk(self, direction: str, name: str) -> None:
        before = cpu_seconds(self._way.hops)
        got = bulk.carry(self._entrance.bulk, direction, self._lengths.bulk)
        used = cpu_seconds(self._way.hops) - before
        carried = got.bytes + bulk.ROUND  # the uncounted first round cost, too
        self.figures.values[f"bulk_{name}_mb_s"] = got.bytes / got.seconds / 1e6
        self.figures.values[f"bulk_{name}_cpu_s_per_gb"] = used / (carried / GB)


def way_figures(way: Way, targets: Ports, lengths: Lengths) -> Figures:
    """Open a way, measure it and end it; a way that does not open says why instead."""
    with Sandbox() as box:
        try:
            entrance = way.open(box, targets)
        except (BenchError, OSError) as error:
            return Figures(way.name, missing={"all": str(error)})
        return Run(way, entrance, lengths).all()


def stalled_figures(way: Way, targets: Ports) -> Figures:
    """What a stalled stream holds, on a way of its own: a load before it would leave free memory, and so hide some."""
    figures = Figures(way.name)
    with Sandbox() as box:
        try:
            got = stalled.held(way.open(box, targets).bulk, way.hops)
            figures.values |= {"stalled_kb": got.total / 1e3, "stalled_most_kb": got.most / 1e3}
        except (BenchError, OSError) as error:
            figures.missing["a stalled stream"] = str(error) or type(error).__name__
    return figures


def median(rounds: Sequence[Figures]) -> Figures:
    """One way's rounds as one: the median of each column, all that was missing, and all failures."""
    columns = dict.fromkeys(column for one in rounds for column in one.values)
    return Figures(
        rounds[0].way,
        {column: statistics.median(_column(rounds, column)) for column in columns},
        {what: reason for one in rounds for what, reason in one.missing.items()},
        sum(one.failed for one in rounds),
    )


def _column(rounds: Sequence[Figures], column: str) -> list[float]:
    return [one.values[column] for one in rounds if column in one.values]
