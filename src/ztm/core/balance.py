"""Which of several equals takes the next stream.

It opens no streams and checks no health of its own: it learns from what happens to the streams.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

HOLD_OFF = 10.0
"""Seconds for which a member that failed is tried last."""


class Balancer(Generic[T]):
    """Orders members by how many streams they have open, and those with as many in turn.

    A member that failed comes last for `HOLD_OFF` rather than never, so a stream is still tried when all
    have failed. Times are seconds on the caller's monotonic clock. Call `opened` before dialling: two
    streams that begin together then go to different members.
    """

    def __init__(self, members: Iterable[T] = ()) -> None:
        self._turn: dict[T, int] = {}
        """When each member was last used, counted in uses; 0 is never."""
        self._open: Counter[T] = Counter()
        self._held: dict[T, float] = {}
        self._uses = 0
        self.replace(members)

    def replace(self, members: Iterable[T]) -> None:
        """Choose among these from now on; what is known of those that stay is kept."""
        self._turn = {member: self._turn.get(member, 0) for member in members}
        self._held = {member: until for member, until in self._held.items() if member in self._turn}

    def order(self, now: float) -> list[T]:
        """All members, the one to try first in front."""

        def rank(member: T) -> tuple[float, int, int]:
            until = self._held.get(member, -math.inf)
            return (until if until > now else -math.inf, self._open[member], self._turn[member])

        return sorted(self._turn, key=rank)

    def held(self, member: T, now: float) -> float:
        """Seconds for which `member` is still tried last; 0 if it is tried like the others."""
        return max(0.0, self._held.get(member, now) - now)

    def opened(self, member: T) -> None:
        """Note that a stream to `member` begins, successful or not yet."""
        self._open[member] += 1
        if member in self._turn:
            self._uses += 1
            self._turn[member] = self._uses

    def closed(self, member: T) -> None:
        """Note that a stream noted by `opened` is over, in whichever way."""
        if self._open[member] > 1:
            self._open[member] -= 1
        else:
            del self._open[member]

    def failed(self, member: T, now: float) -> None:
        """Note that `member` could not be reached: it comes last until `HOLD_OFF` has passed."""
        if member in self._turn:
            self._held[member] = now + HOLD_OFF

    def succeeded(self, member: T) -> None:
        """Note that `member` was reached: it is tried as the others again."""
        self._held.pop(member, None)
