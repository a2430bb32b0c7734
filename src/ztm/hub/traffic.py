"""How many bytes of app streams were relayed, and how many a second from which endpoint to which.

Nothing runs as bytes pass: open streams have meters, which are read here when somebody asks.
"""

from collections import Counter, defaultdict

from ztm.net.base import Meter
from ztm.wire.records import Traffic

Pair = tuple[str, str]


class Relayed:
    """One open app stream; what is `sent` goes to its target, what is `received` comes from there."""

    __slots__ = ("_sampled_back", "_sampled_there", "meter", "source", "target")

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.meter = Meter()
        self._sampled_there = 0
        self._sampled_back = 0

    def since_sample(self) -> tuple[int, int]:
        """Bytes there and back since it was last asked."""
        there, back = self.meter.sent, self.meter.received
        grown = there - self._sampled_there, back - self._sampled_back
        self._sampled_there, self._sampled_back = there, back
        return grown


class TrafficMeter:
    """What is relayed: totals as they are now, and rates as they were at the last `sample`."""

    def __init__(self) -> None:
        self._open: set[Relayed] = set()
        self._over = Meter()
        """The totals of streams that are over; `sent` is what went to targets."""
        self._counted: Counter[Pair] = Counter()
        """Of streams that ended since the last sample."""
        self._rates: dict[Pair, float] = {}

    def begin(self, source: str, target: str) -> Relayed:
        """Count what a new stream carries, until its `end`."""
        relayed = Relayed(source, target)
        self._open.add(relayed)
        return relayed

    def end(self, relayed: Relayed) -> None:
        """Nothing more passes there."""
        self._open.discard(relayed)
        self._over.sent += relayed.meter.sent
        self._over.received += relayed.meter.received
        self._count(relayed)

    @property
    def to_targets(self) -> int:
        """Bytes relayed from those who opened a stream to its target, since the hub started."""
        return self._over.sent + sum(relayed.meter.sent for relayed in self._open)

    @property
    def from_targets(self) -> int:
        """Bytes relayed the other way."""
        return self._over.received + sum(relayed.meter.received for relayed in self._open)

    def _count(self, relayed: Relayed) -> None:
        there, back = relayed.since_sample()
        if there:
            self._counted[relayed.source, relayed.target] += there
        if back:
            self._counted[relayed.target, relayed.source] += back

    def sample(self, seconds: float) -> None:
        """Make rates of what was carried in the last `seconds`."""
        for relayed in self._open:
            self._count(relayed)
        self._rates = {pair: size / seconds for pair, size in self._counted.items()} if seconds > 0 else {}
        self._counted.clear()

    def of(self, endpoint: str) -> Traffic:
        """One endpoint's rates, in all and by peer."""
        send: dict[str, float] = defaultdict(float)
        receive: dict[str, float] = defaultdict(float)
        for (sender, receiver), rate in self._rates.items():
            if sender == endpoint:
                send[receiver] += rate
            if receiver == endpoint:
                receive[sender] += rate
        peers = {peer: Traffic(send[peer], receive[peer]) for peer in {*send, *receive}}
        return Traffic(sum(send.values()), sum(receive.values()), peers)
