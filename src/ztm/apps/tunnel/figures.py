"""What the tunnels of one endpoint carry and have carried, as a few numbers for metrics.

Totals never go back: what a closed tunnel carried stays in them, if it was looked at while it was open.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ztm.apps.streams.traffic import Traffic
from ztm.apps.tunnel.service import Tunnels


class Figures:
    """The numbers of one `Tunnels`; ask it now and then."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels
        self._inbound = _End()
        self._outbound = _End()

    def now(self) -> dict[str, float]:
        """Name to value; totals end with ``_total``."""
        inbound = self._inbound.now(entry.traffic for entry in self._tunnels.entries.values())
        outbound = self._outbound.now(exit_.traffic for exit_ in self._tunnels.exits.values())
        return {
            "inbounds": len(self._tunnels.entries),
            "outbounds": len(self._tunnels.exits),
            **{f"inbound_{name}": value for name, value in inbound.items()},
            **{f"outbound_{name}": value for name, value in outbound.items()},
        }


class _End:
    """One kind of ends: those that are open, and what those that were closed have carried."""

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
