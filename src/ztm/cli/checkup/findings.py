"""Findings of checks, and running many checks at once in bounded time.

A check is a function that returns findings; what it checks is not known here.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Literal

from ztm.errors import ZtmError


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    level: Literal["ok", "warn", "fail"]
    what: str
    """What was checked."""
    why: str
    """What was seen."""
    do: str = ""
    """What to do about it; empty if nothing needs to be done."""

    def as_object(self) -> dict[str, str]:
        """The fields, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to check."""

    what: str
    run: Callable[[], Sequence[Finding]]


def concurrently(checks: Sequence[Check], within: float) -> list[Finding]:
    """The findings of all checks in the order of the checks, which run at the same time.

    A check that has not ended after `within` seconds is reported as failed and left to itself: its thread ends with
    the process at the latest.
    """
    done: SimpleQueue[tuple[int, Sequence[Finding]]] = SimpleQueue()
    for number, check in enumerate(checks):
        threading.Thread(target=lambda n=number, c=check: done.put((n, _guarded(c))), daemon=True).start()
    found: dict[int, Sequence[Finding]] = {}
    until = monotonic() + within
    while len(found) < len(checks) and (left := until - monotonic()) > 0:
        try:
            number, findings = done.get(timeout=left)
        except Empty:
            break
        found[number] = findings
    return [
        finding
        for number, check in enumerate(checks)
        for finding in found.get(number, (Finding("fail", check.what, f"no answer within {within:g} s"),))
    ]


def _guarded(check: Check) -> Sequence[Finding]:
    try:
        return check.run()
    except (ZtmError, OSError) as error:
        return (Finding("fail", check.what, str(error)),)
