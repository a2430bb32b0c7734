"""What an app leaves in the audit log of its endpoint: one record for each session, at both ends.

An app says what happens; where and how it is kept is the agent's. A record holds no content and no secret.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ztm.core.access import Verdict
from ztm.errors import ForbiddenError, ZtmError
from ztm.model import Peer
from ztm.net.base import Meter

Side = Literal["entry", "exit"]
"""``entry`` where a session begins for the own user, ``exit`` where an endpoint serves a peer."""
ENDED = "ended"
"""The reason of an end without a failure."""
CUT = "cut: "
"""Begins the reason of an end that came from outside."""


@dataclass(slots=True, kw_only=True)
class Trail:
    """One session while it lasts; what is known by its end is written."""

    side: Side
    peer: Peer
    """Who: at the exit the verified caller, at the entry the own user with the client's local address."""
    action: str
    """What was asked for: ``connect``, ``shell``, ``run``, ``configure``."""
    subject: str
    """What it was asked of: ``outbound tcp/web``, ``example.org:443``."""
    target: str = ""
    """What was reached: an address that an exit dialled, the endpoint that took an entry's session, a program."""
    is_allowed: bool = True
    rule: str = ""
    """By which rule it was allowed or refused."""
    meter: Meter = field(default_factory=Meter)
    reason: str = ENDED
    """Why it ended."""

    def decide(self, verdict: Verdict) -> None:
        """Note a verdict."""
        self.is_allowed, self.rule = verdict.is_allowed, verdict.rule


class Audit(Protocol):
    """The audit log as an app sees it."""

    def begin(self, trail: Trail) -> None:
        """A session begins; its time is taken."""

    def end(self, trail: Trail) -> None:
        """It is over: one line is written. Never fails and never waits for the disk."""


@contextmanager
def audited(audit: Audit, trail: Trail) -> Iterator[Trail]:
    """Write `trail` when the block is left, in whichever way; an error of ours is its reason."""
    audit.begin(trail)
    try:
        yield trail
    except ForbiddenError as error:
        trail.is_allowed, trail.reason = False, str(error)
        raise
    except ZtmError as error:
        trail.reason = str(error)
        raise
    except BaseException as error:
        trail.reason = f"{CUT}{type(error).__name__}"
        raise
    finally:
        audit.end(trail)
