"""Which of several exits that serve a destination is asked first: the one it had before, else the quickest.

It opens no streams and reads no clock: it learns from what happens, and times are seconds on its caller's clock.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from ztm.core.balance import HOLD_OFF

WEIGHT = 0.2
"""Of the newest measurement: some ten of them make the past forgotten."""
REMEMBERED = 4096
"""Destinations whose exit is kept; the one not asked for longest goes first."""


@dataclass(slots=True)
class Standing:
    """What is known of one exit."""

    seconds: float | None = None
    """From asking to its acceptance, smoothed; None before the first."""
    held_until: float = -math.inf
    reason: str = ""
    """Why it failed last; empty once it accepts again."""


class Choice:
    """Orders exits for a destination, and remembers how they fared.

    A destination stays with the exit that accepted it, so that a site sees one address, until that exit fails. One
    that was never measured is asked before those that were: so each is measured once. One that failed comes last for
    `HOLD_OFF`, rather than never.
    """

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}
        self._had: OrderedDict[str, str] = OrderedDict()

    def order(self, exits: Iterable[str], host: str, now: float) -> list[str]:
        """`exits` that serve `host`, the one to ask first in front."""
        had = self._had.get(host)

        def rank(exit_: str) -> tuple[float, bool, float]:
            standing = self.standing(exit_)
            held = standing.held_until if standing.held_until > now else -math.inf
            return held, exit_ != had, standing.seconds or 0.0

        return sorted(exits, key=rank)

    def accepted(self, exit_: str, host: str, seconds: float) -> None:
        """Note that it accepted a stream to `host` after so many seconds."""
        standing = self._standings.setdefault(exit_, Standing())
        before = seconds if standing.seconds is None else standing.seconds
        standing.seconds = before + WEIGHT * (seconds - before)
        standing.held_until, standing.reason = -math.inf, ""
        self._had[host] = exit_
        self._had.move_to_end(host)
        if len(self._had) > REMEMBERED:
            self._had.popitem(last=False)

    def failed(self, exit_: str, now: float, reason: str) -> None:
        """Note that it could not be reached, or did not keep its word: it comes last until `HOLD_OFF` has passed."""
        standing = self._standings.setdefault(exit_, Standing())
        standing.held_until, standing.reason = now + HOLD_OFF, reason

    def refused(self, exit_: str, reason: str) -> None:
        """Note that it works, and would not or could not go there: another destination may fare better."""
        self._standings.setdefault(exit_, Standing()).reason = reason

    def keep(self, exits: Iterable[str]) -> None:
        """Forget all but these."""
        kept = set(exits)
        self._standings = {exit_: one for exit_, one in self._standings.items() if exit_ in kept}
        for host in [host for host, exit_ in self._had.items() if exit_ not in kept]:
            del self._had[host]

    def standing(self, exit_: str) -> Standing:
        """What is known of it."""
        return self._standings.get(exit_) or Standing()
