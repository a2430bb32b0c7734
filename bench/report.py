"""The figures as text for people: a table with a column a way, and one of what is measured of ours alone.

On the right is how the native network does beside nginx, and what it is to reach.
"""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from goals import GOALS, NGINX, OURS
from measure import Figures

Rows = Sequence[tuple[str, str, int]]
"""Title, column of `Figures.values`, digits after the point."""

WAYS: Rows = (
    ("bulk up, MB/s", "bulk_up_mb_s", 0),
    ("bulk down, MB/s", "bulk_down_mb_s", 0),
    ("CPU up, s per GB", "bulk_up_cpu_s_per_gb", 2),
    ("CPU down, s per GB", "bulk_down_cpu_s_per_gb", 2),
    ("requests/s, 1 kept alive", "req_1_per_s", 0),
    ("  p50, ms", "req_1_p50_ms", 2),
    ("  p99, ms", "req_1_p99_ms", 2),
    ("  CPU per request, us", "req_1_cpu_us", 0),
    ("requests/s, 16 kept alive", "req_16_per_s", 0),
    ("  p50, ms", "req_16_p50_ms", 2),
    ("  p99, ms", "req_16_p99_ms", 2),
    ("  CPU per request, us", "req_16_cpu_us", 0),
    ("requests/s, 64 kept alive", "req_64_per_s", 0),
    ("  p50, ms", "req_64_p50_ms", 2),
    ("  p99, ms", "req_64_p99_ms", 2),
    ("  CPU per request, us", "req_64_cpu_us", 0),
    ("new connections/s, 16 at once", "new_per_s", 0),
    ("  p50, ms", "new_p50_ms", 2),
    ("  p99, ms", "new_p99_ms", 2),
    ("  CPU per connection, us", "new_cpu_us", 0),
    ("RSS idle, MB", "rss_idle_mb", 1),
    ("RSS peak under bulk, MB", "rss_peak_mb", 1),
    ("RSS after, MB", "rss_after_mb", 1),
    ("held by a stalled stream, KB", "stalled_kb", 0),
    ("  by the hop with most, KB", "stalled_most_kb", 0),
)
OURS_ALONE: Rows = (
    ("idle hub, MB", "idle_hub_mb", 1),
    ("idle agent, MB", "idle_agent_mb", 1),
    ("idle agents on one hub", "crowd_agents", 0),
    ("  they came, per second", "crowd_connect_per_s", 0),
    ("  of these at a later try", "crowd_retries", 0),
    ("  hub before, MB", "crowd_hub_before_mb", 1),
    ("  hub with them, MB", "crowd_hub_with_mb", 1),
    ("  hub after they left, MB", "crowd_hub_after_mb", 1),
    ("  hub memory for one, KB", "crowd_kb_per_agent", 1),
    ("  hub CPU, % of a core", "crowd_hub_cpu_percent", 1),
    ("  heartbeats answered", "crowd_beats", 0),
    ("  pings answered", "crowd_pings", 0),
    ("  of these late", "crowd_late", 0),
    ("  agents lost", "crowd_lost", 0),
    ("busy Python: bulk before, MB/s", "busy_bulk_before_mb_s", 0),
    ("  while the hub's spins", "busy_bulk_hub_mb_s", 0),
    ("  while all three's spin", "busy_bulk_all_mb_s", 0),
    ("busy Python: requests/s before", "busy_req_before_per_s", 0),
    ("  while the hub's spins", "busy_req_hub_per_s", 0),
    ("  while all three's spin", "busy_req_all_per_s", 0),
    ("  p99 before, ms", "busy_req_before_p99_ms", 2),
    ("  p99, the hub's spins, ms", "busy_req_hub_p99_ms", 2),
    ("  p99, all three's spin, ms", "busy_req_all_p99_ms", 2),
)
TITLE = 32
WIDTH = 14


def machine() -> str:
    """The machine and the moment, for whoever reads the figures later."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}  {os.cpu_count()} cores ({model}), Linux {platform.release()}, "
        f"Python {platform.python_version()}, load before {load}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def table(rows: Rows, columns: Sequence[Figures]) -> str:
    """One line a figure, one column a way, and below it what could not be measured and why."""
    by_name = {figures.way: figures for figures in columns}
    has_ratio = {NGINX, OURS} <= by_name.keys()
    heads = [figures.way for figures in columns] + ["native/nginx"] * has_ratio + ["target"]
    lines = [" " * TITLE + "".join(head.rjust(WIDTH) for head in heads)]
    for title, column, digits in rows:
        if not any(column in figures.values for figures in columns):
            continue
        cells = [_cell(figures, column, digits) for figures in columns]
        ours, nginx = (_value(by_name, name, column) for name in (OURS, NGINX))
        if has_ratio:
            cells.append(f"{ours / nginx:.2f}" if ours is not None and nginx else "")
        cells += _goal(column, ours, nginx)
        lines.append(title.ljust(TITLE) + "".join(cell.rjust(WIDTH) for cell in cells))
    lines += [f"{figures.way}: {what}: {reason}" for figures in columns for what, reason in figures.missing.items()]
    lines += [f"{figures.way}: {figures.failed} without an answer" for figures in columns if figures.failed]
    return "\n".join(line.rstrip() for line in lines)


def _value(by_name: dict[str, Figures], name: str, column: str) -> float | None:
    return by_name[name].values.get(column) if name in by_name else None


def _goal(column: str, ours: float | None, nginx: float | None) -> list[str]:
    goal = GOALS.get(column)
    return [] if goal is None else [str(goal), goal.verdict(ours, nginx)]


def _cell(figures: Figures, column: str, digits: int) -> str:
    value = figures.values.get(column)
    if value is not None:
        return f"{value:,.{digits}f}"
    reasons = figures.missing.values()
    return "not installed" if any("not installed" in reason for reason in reasons) else "-"
