"""Which hub to dial next, when, and which of several that answered is the best.

It dials nothing and draws no lots: time and chance are arguments.
Source: spec mesh-protocol 9.1, 9.4 and W26.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ztm.errors import UnreachableError
from ztm.model import Address

FIRST_RETRY = 0.25
"""Seconds after the first failure in a row; a hub that restarts listens again about then."""
LAST_RETRY = 2.0
"""Seconds between tries of a hub that stays away: with `JITTER` and a dial still within 3 s of its return."""
FIRST_REFUSAL = 1.0
LAST_REFUSAL = 30.0
"""Seconds after refusals in a row: who is evicted, or too many, gains nothing by asking often."""
JITTER = 0.2
"""Part of a delay by which it is spread, so that agents do not return in step."""
HEALTHY = 1.0
"""Seconds that a session must have lasted for its loss not to count as one more failure."""
SAME_LATENCY = 0.010
"""Seconds by which latencies must differ to matter (spec mesh-protocol 9.1)."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Dial this hub now."""

    address: Address


@dataclass(frozen=True, slots=True)
class Wait:
    """No hub is due before this time; `math.inf` if there is none at all."""

    until: float


@dataclass(slots=True)
class _Record:
    due: float = -math.inf
    failures: int = 0
    refusals: int = 0
    connected_at: float | None = None


class HubChooser:
    """Picks hubs in the given order, backing off from each that fails.

    Times are seconds on the caller's monotonic clock; `jitter` is a random number from 0 to 1. The delay
    doubles with each failure in a row from `FIRST_RETRY` to `LAST_RETRY`, and after refusals from
    `FIRST_REFUSAL` to `LAST_REFUSAL`. The loss of a session that was healthy is no failure: that hub is
    due again at once, before others, of which some may be addresses that nothing answers from here.
    """

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._records = {address: _Record() for address in addresses}
        self._last: Address | None = None
        """The one that accepted last."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All hubs that may be dialled, in the given order."""
        return tuple(self._records)

    def replace(self, addresses: Iterable[Address]) -> None:
        """Choose among these from now on; what is known of those that stay is kept."""
        self._records = {address: self._records.get(address) or _Record() for address in addresses}

    def next(self, now: float) -> Dial | Wait:
        """The hub that has been due longest, or until when none is."""
        if not self._records:
            return Wait(math.inf)
        address = min(self._records, key=lambda each: (self._records[each].due, each != self._last))
        due = self._records[address].due
        return Dial(address) if due <= now else Wait(due)

    def connected(self, address: Address, now: float) -> None:
        """Note that the hub has accepted the session."""
        self._last = address
        if record := self._records.get(address):
            record.connected_at = now

    def failed(self, address: Address, now: float, jitter: float) -> None:
        """Note that dialling failed, or that the session was lost."""
        record = self._records.get(address)
        if record is None:
            return
        if _was_healthy(record, now):
            self._records[address] = _Record()
            return
        record.due = now + _delay(FIRST_RETRY, LAST_RETRY, record.failures, jitter)
        record.failures += 1
        record.connected_at = None

    def refused(self, address: Address, now: float, jitter: float) -> None:
        """Note that the hub answered and did not want this agent (evicted, full, not its endpoint)."""
        record = self._records.get(address)
        if record is None:
            return
        if _was_healthy(record, now):
            record.refusals = 0
        record.due = now + _delay(FIRST_REFUSAL, LAST_REFUSAL, record.refusals, jitter)
        record.refusals += 1
        record.connected_at = None


def _was_healthy(record: _Record, now: float) -> bool:
    return record.connected_at is not None and now - record.connected_at >= HEALTHY


def _delay(first: float, last: float, times: int, jitter: float) -> float:
    longest = math.ceil(math.log2(last / first))  # bounds the power, which would overflow in the end
    return min(first * 2.0 ** min(times, longest), last) * (1 + JITTER * (2 * jitter - 1))


@dataclass(frozen=True, slots=True)
class Probe:
    """A hub that answered, and how."""

    hub: str
    """Hub id."""
    address: Address
    latency: float
    """Seconds."""
    load: float
    """Agents it has per agent it takes, 0 to 1."""


def best(probes: Sequence[Probe]) -> Probe:
    """The probe with the least latency; of those within `SAME_LATENCY` of it, the least loaded.

    Raises:
        UnreachableError: there are none.
    """
    if not probes:
        raise UnreachableError("no hub answered")
    least = min(probe.latency for probe in probes)
    near = [probe for probe in probes if probe.latency - least < SAME_LATENCY]
    return min(near, key=lambda probe: (probe.load, probe.latency))
