"""What a hub counts while it runs: whom it refused and why, and how many streams it joined.

Reasons are a fixed few words, so that nobody can make the hub count endless many kinds.
"""

from collections import Counter
from dataclasses import dataclass, field

from ztm.errors import (
    BrokenStreamError,
    DeadlineError,
    ForbiddenError,
    LimitError,
    NotFoundError,
    UnreachableError,
    UsageError,
    ZtmError,
)

_REASONS: tuple[tuple[type[ZtmError], str], ...] = (
    (LimitError, "limit"),
    (ForbiddenError, "forbidden"),
    (NotFoundError, "unknown"),
    (UnreachableError, "unreachable"),
    (DeadlineError, "deadline"),
    (BrokenStreamError, "broken"),
    (UsageError, "malformed"),
)
REASONS = (*(reason for _, reason in _REASONS), "target", "other")
"""Why an app stream may be refused; ``target`` is the target's own refusal."""


@dataclass(slots=True)
class Counts:
    """Since the hub started."""

    sessions: int = 0
    """Control sessions that were accepted."""
    connections_refused: Counter[str] = field(default_factory=Counter)
    """Connections turned away: ``certificate``, ``full``, ``evicted`` or ``permit`` (revoked, or over)."""
    asked: int = 0
    """App streams that were asked for; also the last one's number in the log."""
    streams: int = 0
    """App streams that a target took."""
    streams_refused: Counter[str] = field(default_factory=Counter)
    """App streams that were not joined, by `REASONS`."""

    def refuse(self, error: ZtmError) -> None:
        """Count an app stream that ended before it was joined."""
        self.streams_refused[next((reason for kind, reason in _REASONS if isinstance(error, kind)), "other")] += 1
