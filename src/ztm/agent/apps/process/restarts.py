"""When a process that crashed is started again, and when no more: pure, no clock and no process.

Source: spec app-framework 10.2.
"""

from collections import deque

from ztm.agent.apps.process.limits import ProcessLimits


class Restarts:
    """The crashes of one app. Times are seconds on the caller's monotonic clock."""

    def __init__(self, limits: ProcessLimits) -> None:
        self._limits = limits
        self._crashes: deque[float] = deque()
        self._in_row = 0
        self.count = 0
        """Restarts so far."""

    def crashed(self, now: float, ran: float) -> float | None:
        """Seconds until it is started again, or None if it has failed; it `ran` for so many seconds before.

        The delay doubles with each crash, and begins anew after a run of `ProcessLimits.crash_window`.
        """
        limits = self._limits
        while self._crashes and now - self._crashes[0] >= limits.crash_window:
            self._crashes.popleft()
        self._crashes.append(now)
        self._in_row = 1 if ran >= limits.crash_window else self._in_row + 1
        if len(self._crashes) >= limits.crashes:
            return None
        self.count += 1
        return float(min(limits.first_retry * 2.0 ** min(self._in_row - 1, 32), limits.last_retry))
