"""A link between two simulated hosts: what takes time, gets lost, and can be cut and healed.

Within one connection everything arrives in order and once, as TCP promises; datagrams are promised nothing.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable

DELAY = 0.0005
"""Seconds each way between hosts for which no link was described: a local network."""
LOCAL_DELAY = 0.00002
"""Seconds from a host to itself."""
BUFFER = 256 << 10
"""Bytes under way and unread, for each direction of a connection: a socket's buffers."""
SEGMENT = 16 << 10
"""Bytes after which streams that share a link's rate take turns."""
RETRANSMIT = 0.2
"""Seconds that a lost segment comes late, besides another round trip (Linux: TCP_RTO_MIN)."""


class Link:
    """Two hosts and the way between them. Times are seconds, `rate` is bytes per second each way."""

    def __init__(self, delay: float = DELAY) -> None:
        self.delay = delay
        self.rate: float | None = None
        self.loss = 0.0
        self.buffer = BUFFER
        self.is_up = True
        self._chance = random.Random(0)  # noqa: S311  # a simulation must repeat
        self._busy_until = {True: 0.0, False: 0.0}
        self._wires: set[Wire] = set()

    def shape(self, *, delay: float, rate: float | None, loss: float, buffer: int, seed: int | None) -> None:
        """Change how the link behaves, from now on.

        Raises:
            ValueError: there is to be loss and no seed was given.
        """
        if loss and seed is None:
            raise ValueError("loss needs a seed, so that the simulation repeats")
        self.delay, self.rate, self.loss, self.buffer = delay, rate, loss, buffer
        self._chance = random.Random(seed)  # noqa: S311

    def cut(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        self.is_up = False

    def heal(self) -> None:
        """Both ends send again what did not arrive; datagrams stay lost."""
        self.is_up = True
        for wire in list(self._wires):
            wire.resend()

    def watch(self, wire: "Wire") -> None:
        """Note a wire with something under way."""
        self._wires.add(wire)

    def unwatch(self, wire: "Wire") -> None:
        """Forget a wire with nothing under way."""
        self._wires.discard(wire)

    def arrival(self, size: int, *, forth: bool) -> float:
        """When `size` bytes that are sent now have arrived; takes its share of the rate."""
        now = asyncio.get_running_loop().time()
        if self.rate is not None:
            now = max(now, self._busy_until[forth]) + size / self.rate
            self._busy_until[forth] = now
        return now + self.delay

    def loses(self) -> bool:
        """Whether the next segment or datagram is lost."""
        return bool(self.loss) and self._chance.random() < self.loss


class Wire:
    """One direction of one connection: calls that happen at the other end later, in the order made.

    `forth` says which of the link's two directions it is; each has its own rate.
    """

    def __init__(self, link: Link, *, forth: bool) -> None:
        self.link = link
        self._forth = forth
        self._under_way: deque[tuple[float, Callable[[], None]]] = deque()
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def send(self, size: int, arrive: Callable[[], None]) -> None:
        """Let `arrive` be called when `size` bytes sent now are there; held back while the link is cut."""
        at = self.link.arrival(size, forth=self._forth)
        if size and self.link.loses():
            at += RETRANSMIT + 2 * self.link.delay
        self._last = max(at, self._last)
        self._under_way.append((self._last, arrive))
        self.link.watch(self)
        self._set_timer()

    async def cross(self) -> None:
        """Wait until something sent now has arrived."""
        there = asyncio.get_running_loop().create_future()
        self.send(0, lambda: None if there.done() else there.set_result(None))
        await there

    def resend(self) -> None:
        """The link is back: what was held back arrives as if sent now."""
        soonest = asyncio.get_running_loop().time() + self.link.delay
        self._under_way = deque((max(at, soonest), arrive) for at, arrive in self._under_way)
        self._last = max(self._last, soonest)
        self._stop_timer()
        self._set_timer()

    def close(self) -> None:
        """Nothing arrives any more, not even what is under way."""
        self._under_way.clear()
        self._stop_timer()
        self.link.unwatch(self)

    def _set_timer(self) -> None:
        if self._timer is None and self._under_way and self.link.is_up:
            self._timer = asyncio.get_running_loop().call_at(self._under_way[0][0], self._arrive)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arrive(self) -> None:
        self._timer = None
        if not self.link.is_up:
            return
        # A timer may fire a rounding error early: the first is due in any case.
        due = max(self._under_way[0][0], asyncio.get_running_loop().time())
        while self._under_way and self._under_way[0][0] <= due and self.link.is_up:
            self._under_way.popleft()[1]()
        if self._under_way:
            self._set_timer()
        else:
            self.link.unwatch(self)
