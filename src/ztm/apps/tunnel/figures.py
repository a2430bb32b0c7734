"""What the tunnels of one endpoint carry and have carried, by name, for metrics. It only reads books."""

from ztm.apps.streams.figures import Totals
from ztm.apps.tunnel.service import Tunnels


class Figures:
    """The numbers of one `Tunnels`; ask it now and then."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels
        self._inbound = Totals()
        self._outbound = Totals()

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
