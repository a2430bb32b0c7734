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
        self._targets = {str(target): target for target in targets}
        """By name, which is what all else here is kept by: every caller looks it up, and texts know their hash."""
        self._balancer = Balancer(self._targets)
        self._reasons: dict[str, str] = {}
        """Why a target could not be reached, for those whose last try failed."""
        self._reached: set[str] = set()

    def replace(self, targets: Iterable[Address]) -> None:
        """Choose among these from now on; what is known of those that stay is kept."""
        self._targets = {str(target): target for target in targets}
        self._balancer.replace(self._targets)
        self._reasons = {name: why for name, why in self._reasons.items() if name in self._targets}
        self._reached.intersection_update(self._targets)

    @asynccontextmanager
    async def reach(self, dial: Callable[[Address], Awaitable[T]]) -> AsyncIterator[tuple[Address, T]]:
        """The first target that answers, and what `dial` made of it; it counts as in use within the block.

        Raises:
            RefusedError: none answers, and at least one refused.
            DeadlineError: none answered in time.
        """
        failures: list[ZtmError] = []
        targets = self._targets
        for name in self._balancer.order(self._network.now()):
            target = targets[name]
            self._balancer.opened(name)
            try:
                try:
                    reached = await dial(target)
                except (UnreachableError, DeadlineError) as error:
                    self._failed(name, error)
                    failures.append(error)
                    continue
                self._succeeded(name)
                yield target, reached
            finally:
                self._balancer.closed(name)
            return
        raise unreached(failures)

    def _failed(self, name: str, error: ZtmError) -> None:
        self._balancer.failed(name, self._network.now())
        self._reasons[name] = str(error)
        self._reached.discard(name)

    def _succeeded(self, name: str) -> None:
        self._balancer.succeeded(name)
        self._reasons.pop(name, None)
        self._reached.add(name)

    def shown(self, target: Address) -> TargetShown:
        """How `target` is doing, for the exit's owner."""
        name = str(target)
        held = self._balancer.held(name, self._network.now())
        reason = self._reasons.get(name)
        state = health(held, is_failed=reason is not None, is_reached=name in self._reached)
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
