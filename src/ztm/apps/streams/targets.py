"""The targets of one exit: which one the next caller gets, and how each of them is doing.

It dials by what it is given and carries nothing. A target that failed is tried last for a while, never not at all.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

from msgspec import UNSET

from ztm.apps.streams.forms import TargetShown
from ztm.core.balance import Balancer
from ztm.errors import DeadlineError, RefusedError, UnreachableError, ZtmError
from ztm.model import Address
from ztm.net.base import Network

T = TypeVar("T")

UNTRIED = "untried"
"""How a target or exit is doing that nobody has needed yet."""


class Targets:
    """Addresses that are equals to their callers."""

    def __init__(self, targets: Iterable[Address], network: Network) -> None:
        self._network = network
        self._balancer = Balancer(targets)
        self._reasons: dict[Address, str] = {}
        """Why a target could not be reached, for those whose last try failed."""
        self._reached: set[Address] = set()

    def replace(self, targets: Iterable[Address]) -> None:
        """Choose among these from now on; what is known of those that stay is kept."""
        kept = tuple(targets)
        self._balancer.replace(kept)
        self._reasons = {target: why for target, why in self._reasons.items() if target in kept}
        self._reached.intersection_update(kept)

    @asynccontextmanager
    async def reach(self, dial: Callable[[Address], Awaitable[T]]) -> AsyncIterator[tuple[Address, T]]:
        """The first target that answers, and what `dial` made of it; it counts as in use within the block.

        Raises:
            RefusedError: none answers, and at least one refused.
            DeadlineError: none answered in time.
        """
        failures: list[ZtmError] = []
        for target in self._balancer.order(self._network.now()):
            self._balancer.opened(target)
            try:
                try:
                    reached = await dial(target)
                except (UnreachableError, DeadlineError) as error:
                    self._failed(target, error)
                    failures.append(error)
                    continue
                self._succeeded(target)
                yield target, reached
            finally:
                self._balancer.closed(target)
            return
        raise unreached(failures)

    def _failed(self, target: Address, error: ZtmError) -> None:
        self._balancer.failed(target, self._network.now())
        self._reasons[target] = str(error)
        self._reached.discard(target)

    def _succeeded(self, target: Address) -> None:
        self._balancer.succeeded(target)
        self._reasons.pop(target, None)
        self._reached.add(target)

    def shown(self, target: Address) -> TargetShown:
        """How `target` is doing, for the exit's owner."""
        held = self._balancer.held(target, self._network.now())
        reason = self._reasons.get(target)
        state = health(held, is_failed=reason is not None, is_reached=target in self._reached)
        return TargetShown(target.host, target.port, reason or UNSET, UNSET if state == UNTRIED else state)


def unreached(failures: list[ZtmError]) -> ZtmError:
    """The one error that failures to reach targets make: late if all were late, else refused.

    Source: spec apps-network 7 rule 2 (502 refused, 504 in no time).
    """
    reason = "no target could be reached: " + "; ".join(str(error) for error in failures)
    is_late = bool(failures) and all(isinstance(error, DeadlineError) for error in failures)
    return DeadlineError(reason) if is_late else RefusedError(reason)


def health(held: float, *, is_failed: bool, is_reached: bool) -> str:
    """One word or two for people: ``healthy``, ``held off 7 s``, ``failed`` (tried again next) or ``untried``."""
    if held > 0:
        return f"held off {held:.0f} s"
    if is_failed:
        return "failed"
    return "healthy" if is_reached else UNTRIED
