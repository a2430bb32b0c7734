"""How often something may happen: a token bucket.

It delays nothing; it only says yes or no.
"""


class Bucket:
    """Lets `rate` events a second pass on average, and `burst` at once. It begins full.

    Times are seconds on the caller's clock; a clock that goes back gives nothing and takes nothing.
    """

    __slots__ = ("_burst", "_left", "_rate", "_seen")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._seen: float | None = None

    def take(self, now: float, n: float = 1) -> bool:
        """Whether `n` more events may pass at `now`; what is refused costs nothing."""
        seen = now if self._seen is None else self._seen
        self._seen = max(now, seen)
        passed = self._seen - seen
        self._left = min(self._left + passed * self._rate, self._burst)
        if n > self._left:
            return False
        self._left -= n
        return True
