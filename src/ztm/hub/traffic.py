"""How many relayed bytes a second go from which endpoint to which, over the last second."""

from collections import Counter, defaultdict

from ztm.wire.records import Traffic

Pair = tuple[str, str]


class TrafficMeter:
    """Counts as bytes pass; `sample` turns the counts into rates. Only pairs with traffic cost anything."""

    def __init__(self) -> None:
        self._counted: Counter[Pair] = Counter()
        self._rates: dict[Pair, float] = {}

    def add(self, sender: str, receiver: str, size: int) -> None:
        """Count bytes of app traffic."""
        self._counted[sender, receiver] += size

    def sample(self, seconds: float) -> None:
        """Make rates of what was counted in the last `seconds`."""
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
