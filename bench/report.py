"""The figures as text for people: one table with a column a way, then what is measured of ours alone."""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from measure import Figures

ROWS = (
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
    ("RSS peak, MB", "rss_peak_mb", 1),
    ("RSS after, MB", "rss_after_mb", 1),
)
"""Title, column of `Figures.values`, digits after the point."""
WIDTH = 15


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


def table(ways: Sequence[Figures]) -> str:
    """One line a figure, one column a way, and below it what could not be measured and why."""
    lines = [" " * 32 + "".join(figures.way.rjust(WIDTH) for figures in ways)]
    for title, column, digits in ROWS:
        cells = "".join(_cell(figures, column, digits).rjust(WIDTH) for figures in ways)
        lines.append(title.ljust(32) + cells)
    lines += [f"{figures.way}: {what}: {reason}" for figures in ways for what, reason in figures.missing.items()]
    lines += [f"{figures.way}: {figures.failed} without an answer" for figures in ways if figures.failed]
    return "\n".join(lines)


def _cell(figures: Figures, column: str, digits: int) -> str:
    value = figures.values.get(column)
    if value is not None:
        return f"{value:,.{digits}f}"
    reasons = figures.missing.values()
    return "not installed" if any("not installed" in reason for reason in reasons) else "-"
