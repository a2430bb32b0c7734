"""One line of the audit log: what is known of a session when it is over.

A record holds no content and no secret; what others named is bounded, and cannot break a line or paint a terminal.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import msgspec

from ztm.apps.audit import Trail
from ztm.logs import redact

MAX_TEXT = 1024
"""Characters of a field that others may choose, as a subject; a longer one is cut."""
MAX_NAME = 256
"""Characters of a name or an address."""
AHEAD = 16
"""Times as many characters are looked at."""
LAST = 253_402_300_799.0
"""Epoch seconds of the end of the year 9999."""
CUT = "... (cut)"
SHORT = 128
"""Characters of a text that is remembered as it was cleaned: names, rules and reasons are the same in many records."""


class Record(msgspec.Struct, frozen=True, kw_only=True, rename={"ip": "from", "is_allowed": "allowed"}):
    """One session of an app, at one of its two ends."""

    time: str
    """When it began: RFC 3339 in UTC with milliseconds, by this machine's clock."""
    duration: float
    """Seconds that it lasted."""
    app: str
    """``provider/name``."""
    side: Literal["entry", "exit"]
    """``entry`` where a session begins for the own user, ``exit`` where an endpoint serves a peer."""
    user: str
    """Who: by the verified certificate."""
    endpoint: str
    """The caller's endpoint id; at the entry the own one, or nothing."""
    ip: str
    """The caller's ``ip:port``: of the endpoint as the hub sees it, or of the local client."""
    action: str
    """What was asked for: ``connect``, ``shell``, ``run``, ``configure``."""
    subject: str
    """What it was asked of."""
    target: str
    """What was reached."""
    is_allowed: bool
    rule: str
    """By which rule it was allowed or refused."""
    sent: int
    """Bytes from who opened the session."""
    received: int
    """Bytes back."""
    reason: str
    """Why it ended: ``ended`` where nothing failed."""
    at: str
    """The endpoint that wrote this: its id."""
    at_name: str = msgspec.field(name="atName")


def record_of(trail: Trail, app: str, began: float, duration: float, at: tuple[str, str]) -> Record:
    """What is written of a session that began at `began` (epoch seconds) on the endpoint `at` (id and name)."""
    peer = trail.peer
    return Record(
        time=stamp(began),
        duration=round(max(duration, 0.0), 3),
        app=_name(app),
        side=trail.side,
        user=_name(peer.user),
        endpoint=_name(peer.endpoint),
        ip=_cleaned(_address(peer.ip, peer.port), MAX_NAME),
        action=_name(trail.action),
        subject=safe(trail.subject),
        target=safe(trail.target),
        is_allowed=trail.is_allowed,
        rule=safe(trail.rule),
        sent=trail.meter.sent,
        received=trail.meter.received,
        reason=safe(trail.reason),
        at=at[0],
        at_name=at[1],
    )


def stamp(wall: float) -> str:
    """Epoch seconds as RFC 3339 in UTC with milliseconds; a clock that is out of all bounds shows the nearest one."""
    second, micros = divmod(round(min(max(0.0, wall), LAST) * 1e6), 1_000_000)
    return f"{_second(second)}.{micros // 1000:03}Z"


@lru_cache(4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


def safe(text: str, limit: int = MAX_TEXT) -> str:
    """`text` without secrets, of at most `limit` characters, with escapes for all that is not printable."""
    return _remembered(text, limit) if len(text) <= SHORT else _cleaned(text, limit)


def _cleaned(text: str, limit: int) -> str:
    text = redact(text[: limit * AHEAD])  # first, as half a secret is not known for one
    if not text.isprintable():
        text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


_remembered = lru_cache(512)(_cleaned)


def _name(text: str) -> str:
    return safe(text, MAX_NAME)


def _address(ip: str, port: int) -> str:
    if not ip or not port:
        return ip
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
