"""Finding records in an audit log, from its end, within bounds.

It decides nothing about who may read, and changes nothing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from ztm.agent.audit.files import AuditFiles
from ztm.errors import StorageError, UsageError
from ztm.store.files import reason

PROVIDER = "ztm"
"""Of the built-in apps, which may be named without it."""
MOST = 1000
"""Records of one answer."""
MOST_BYTES = 4 << 20
"""Bytes of one answer, so that it fits into one of another endpoint; older records are left out then."""
SLACK = 3600.0
"""Seconds: the search for what is not older than a time goes on for so much more, as clocks are set back at times."""

_EPOCH = re.compile(r"[0-9]{1,11}(\.[0-9]{1,6})?")


class _Key(msgspec.Struct):
    """What of a line decides whether it fits."""

    time: str
    duration: float
    app: str
    user: str
    allowed: bool


_decode = msgspec.json.Decoder(_Key).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for. Times are epoch seconds, of a session's end, and 0 is no bound."""

    since: float = 0.0
    until: float = 0.0
    app: str = ""
    """``provider/name``, or the name of a built-in app; empty for all. Likewise `user`."""
    user: str = ""
    is_allowed: bool | None = None
    offset: int = 0
    """Newest records to leave out."""
    limit: int = 100

    def admits(self, key: _Key, end: float) -> bool:
        """Whether a record is looked for."""
        return (
            (not self.since or end >= self.since)
            and (not self.until or end <= self.until)
            and self.app in ("", key.app, key.app.removeprefix(f"{PROVIDER}/"))
            and self.user in ("", key.user)
            and self.is_allowed in (None, key.allowed)
        )


def found(files: AuditFiles, query: Query) -> list[bytes]:
    """The lines that fit, the newest last; what is no record is skipped.

    Raises:
        StorageError: a file cannot be read.
    """
    lines: list[bytes] = []
    skipped = size = 0
    try:
        for line in files.backwards():
            try:
                key = _decode(line)
                end = datetime.fromisoformat(key.time).timestamp() + key.duration
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError, RecursionError):
                continue
            if query.since and end < query.since - SLACK:
                break
            if query.admits(key, end):
                skipped += 1
                if skipped > query.offset:
                    lines.append(line)
                    size += len(line)
                if len(lines) >= query.limit or size > MOST_BYTES:
                    break
    except OSError as error:
        raise StorageError(f"cannot read the audit log: {reason(error)}") from error
    return lines[::-1]


def epoch_of(text: str) -> float:
    """Epoch seconds of a time as RFC 3339 or as epoch seconds; 0 for nothing.

    Raises:
        UsageError: it is neither.
    """
    if not text:
        return 0.0
    if _EPOCH.fullmatch(text):
        return float(text)
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"not a time: {text[:40]!r} (as in 2026-11-23T15:36:20Z, or seconds since 1970)") from None


def query_of(given: Mapping[str, str]) -> Query:
    """What the query of a request asks for.

    Raises:
        UsageError: a time, a number or a yes or no is malformed.
    """
    allowed = given.get("allowed", "")
    if allowed not in ("", "true", "false"):
        raise UsageError(f"the query's allowed is to be true or false, not {allowed[:40]!r}")
    return Query(
        since=epoch_of(given.get("since", "")),
        until=epoch_of(given.get("until", "")),
        app=given.get("app", ""),
        user=given.get("user", ""),
        is_allowed=None if not allowed else allowed == "true",
        offset=_whole(given, "offset", 0, 0, 10**9),
        limit=_whole(given, "limit", 100, 1, MOST),
    )


def _whole(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise UsageError(f"the query's {name} is to be a number from {least} to {most}, not {text[:40]!r}")
    return int(text)


def as_list(lines: Iterable[bytes]) -> bytes:
    """Records as one JSON list, as they were written."""
    return b"[" + b",".join(lines) + b"]"
