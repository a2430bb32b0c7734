"""What the native network is to reach on a machine of two cores, laid beside what it does reach."""

from collections.abc import Mapping
from dataclasses import dataclass

NGINX = "nginx"
OURS = "native"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of one column: its own number, or a multiple of what nginx reaches in the same run."""

    bound: float
    is_least: bool = False
    """More is better; else less is."""
    is_of_nginx: bool = False

    def __str__(self) -> str:
        sign = ">=" if self.is_least else "<="
        return f"{sign} {self.bound:.1f} nginx" if self.is_of_nginx else f"{sign} {self.bound:,g}"

    def verdict(self, ours: float | None, nginx: float | None) -> str:
        """``met`` or ``missed``; nothing where there is nothing to judge."""
        if ours is None or (self.is_of_nginx and nginx is None):
            return ""
        bound = self.bound * (nginx or 0.0) if self.is_of_nginx else self.bound
        return "met" if (ours >= bound if self.is_least else ours <= bound) else "missed"


_AS_NGINX = Goal(1.0, is_least=True, is_of_nginx=True)

GOALS: Mapping[str, Goal] = {
    "bulk_up_mb_s": _AS_NGINX,
    "bulk_down_mb_s": _AS_NGINX,
    "bulk_up_cpu_s_per_gb": Goal(2.4),
    "bulk_down_cpu_s_per_gb": Goal(2.4),
    "req_1_per_s": _AS_NGINX,
    "req_16_per_s": _AS_NGINX,
    "req_64_per_s": _AS_NGINX,
    "req_16_cpu_us": Goal(30),
    "req_64_cpu_us": Goal(30),
    "req_64_p99_ms": Goal(40),
    "new_per_s": Goal(5000, is_least=True),
    "new_p50_ms": Goal(3),
    "rss_peak_mb": Goal(150),
    "stalled_kb": Goal(2097),
    "crowd_kb_per_agent": Goal(20),
    "crowd_hub_cpu_percent": Goal(50),
    "crowd_late": Goal(0),
    "crowd_lost": Goal(0),
}
"""By column of `Figures.values`."""
