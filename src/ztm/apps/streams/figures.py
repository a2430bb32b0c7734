"""What entrances and exits carry and have carried, as a few numbers for metrics.

Totals never go back: what a closed one carried stays in them, if it was looked at while it was open.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ztm.apps.streams.traffic import Traffic


class Totals:
    """Those of one kind that are open, and what those that were closed have carried; ask it now and then."""

    def __init__(self) -> None:
        self._known: set[Traffic[Any]] = set()
        self._past: Counter[str] = Counter()

    def now(self, live: Iterable[Traffic[Any]]) -> dict[str, int]:
        """What all of them carry and have carried."""
        present = set(live)
        for traffic in {one for one in self._known - present if not one.shown().open}:
            self._known.discard(traffic)
            self._past.update(_totals(traffic))
        self._known |= present
        sums = self._past.copy()
        for traffic in self._known:
            sums.update(_totals(traffic))
        return {"open": sum(traffic.shown().open for traffic in self._known), **sums}


def _totals(traffic: Traffic[Any]) -> dict[str, int]:
    shown = traffic.shown()
    return {"connections_total": shown.total, "sent_bytes_total": shown.sent, "received_bytes_total": shown.received}
