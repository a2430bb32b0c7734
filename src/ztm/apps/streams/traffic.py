"""What one entrance or exit carries now, has carried, and what went wrong with it last.

It only keeps books, and cuts what is live when told to; it moves no bytes.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

from ztm.apps.base import AppContext
from ztm.apps.streams.forms import ErrorShown, TrafficShown
from ztm.model import Peer
from ztm.net.base import Meter, Stream

QUIET = 1.0
"""Seconds for which the same reason is not logged again: a busy port with a dead target must not fill the log."""


Accept = Callable[[], Stream]
"""Tells the caller that the target is reached, and gives the caller's stream."""


class Live(Protocol):
    """A connection or UDP session under way."""

    meter: Meter

    def abort(self, reason: str = "") -> None:
        """Cut it."""


class Visit:
    """A peer's stream through an exit."""

    __slots__ = ("_cut", "meter", "peer")

    def __init__(self, peer: Peer, meter: Meter, cut: Callable[[str], None]) -> None:
        self.peer = peer
        self.meter = meter
        self._cut = cut

    def abort(self, reason: str = "") -> None:
        """Cut it."""
        self._cut(reason)


L = TypeVar("L", bound=Live)


class Traffic(Generic[L]):
    """The connections of one entrance or exit."""

    def __init__(self) -> None:
        self._live: set[L] = set()
        self._total = 0
        self._past = Meter()
        self._empty = asyncio.Event()
        self._empty.set()

    def begin(self, live: L) -> None:
        """Count a connection in."""
        self._live.add(live)
        self._total += 1
        self._empty.clear()

    def end(self, live: L) -> None:
        """Count it out, and its bytes in."""
        self._live.discard(live)
        if not self._live:
            self._empty.set()
        self._past.sent += live.meter.sent
        self._past.received += live.meter.received

    async def emptied(self) -> None:
        """Wait until none is under way."""
        await self._empty.wait()

    def cut(self, reason: str, chosen: Callable[[L], bool] | None = None) -> None:
        """Cut those that are `chosen`, or all."""
        for live in [one for one in self._live if chosen is None or chosen(one)]:
            live.abort(reason)

    def shown(self) -> TrafficShown:
        """All of it as numbers."""
        meters = [self._past, *(live.meter for live in self._live)]
        return TrafficShown(
            open=len(self._live),
            total=self._total,
            sent=sum(meter.sent for meter in meters),
            received=sum(meter.received for meter in meters),
        )


class Faults:
    """The last failure of one entrance or exit; each new one is logged and told, without flooding anybody."""

    def __init__(self, end: str, name: str, context: AppContext) -> None:
        self._end = end
        self._name = name
        self._context = context
        self._network = context.network
        self._logged: tuple[str, float] = ("", 0.0)
        self._wall = 0.0
        self._message = ""

    def note(self, reason: str) -> None:
        """Remember `reason`, and log it unless it was logged just now."""
        now = self._network.now()
        self._wall, self._message = self._network.wall(), reason
        said, at = self._logged
        if reason != said or now - at >= QUIET:
            self._logged = (reason, now)
            self._context.log.warning("%s %s: %s", self._end, self._name, reason)
            self._context.tell(self._end, self._name, "error", reason)

    @property
    def last(self) -> ErrorShown | None:
        """The last one, or None."""
        if not self._message:
            return None
        time = datetime.fromtimestamp(self._wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return ErrorShown(time=time, message=self._message)
