"""Which permits a hub has signed, which of them are worth something, and which keys are shut out.

It signs nothing, stores nothing and closes no sessions: the caller does that with what it is told here. Evictions
are another matter (`evictions.py`). Times are whole epoch seconds by the hub's clock.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from ztm.model import Identity, Issued, Origin, PermitState, Revocation

REVOKED = "permit revoked"
"""How the reason begins that the holder of a revoked permit is told."""
EXPIRED = "permit expired"
"""How the reason begins that the holder is told whose permit has come to the end that root set."""
KEPT = 30 * 86400
"""Seconds for which an expired permit is still listed, so that one sees what became of it."""
SOON = 30 * 86400
"""Seconds before its end at which a permit is called expiring: agents renew theirs at 100 days."""
SOON_PART = 3
"""One of fewer days is called so in the last third of them."""
LONGEST = 366 * 86400
"""Seconds that a certificate of this hub may last which was signed and could not be written down."""


class Permits:
    """What was signed, the newest for each key of each user, and the keys that are revoked."""

    def __init__(self, issued: Iterable[Issued] = (), revoked: Iterable[Revocation] = ()) -> None:
        self._issued = {(one.user, one.key): one for one in issued}
        self._revoked = {one.key: one for one in revoked}

    def all(self) -> list[Issued]:
        """Everything that is listed, by user and time."""
        return sorted(self._issued.values(), key=lambda one: (one.user, one.time, one.key))

    def of(self, user: str, key: str) -> Issued | None:
        """What this key of this user was last signed for."""
        return self._issued.get((user, key))

    def merged(self, issued: Issued) -> Issued:
        """The record to keep of what was signed: it remembers how long older certificates for the same key last."""
        known = self._issued.get((issued.user, issued.key))
        return replace(issued, latest=max(issued.latest, issued.not_after, known.latest if known else 0))

    def note(self, issued: Issued) -> Issued:
        """Put what was signed in place of an older permit for the same key; the record that is kept."""
        noted = self._issued[issued.user, issued.key] = self.merged(issued)
        return noted

    def learn(self, stored: Iterable[Issued]) -> None:
        """Take over what another process has written down meanwhile (`ztm root`), where nothing is known."""
        for one in stored:
            self._issued.setdefault((one.user, one.key), one)

    def revoke(self, key: str, now_s: int) -> Revocation | None:
        """Shut a key out under every name, until another permit is issued for it; None if it is so already.

        What was signed at least a second later is let in again.
        """
        of_key = [one for one in self._issued.values() if one.key == key]
        if of_key and all(self.is_revoked(one) for one in of_key):
            return None
        time = max(now_s, *(one.not_before for one in of_key), 0)
        expiration = max(now_s + LONGEST, *(one.latest for one in of_key), 0)
        made = self._revoked[key] = Revocation(key, time, expiration)
        return made

    def revocation(self, key: str) -> Revocation | None:
        """Since when the key is revoked, if it is; that says nothing of later certificates for it."""
        return self._revoked.get(key)

    def is_revoked(self, issued: Issued) -> bool:
        """Whether nobody is let in by this permit because its key was revoked after it."""
        revoked = self._revoked.get(issued.key)
        return revoked is not None and issued.not_before <= revoked.time

    def refuses(self, identity: Identity, now_s: int) -> str | None:
        """Why the holder of `identity`, a proven one, is shut out at `now_s`; None if it is not.

        Only an end that root has set is judged here: a certificate's own is for TLS, when connections are made.
        """
        revoked = self._revoked.get(identity.key)
        if revoked is not None and int(identity.not_before.timestamp()) <= revoked.time:
            return f"{REVOKED}: root has shut out the key by which user {identity.user} joined"
        issued = self._issued.get((identity.user, identity.key))
        if issued is not None and issued.ends is not None and now_s > issued.ends:
            return f"{EXPIRED}: that of user {identity.user} was good until {day(issued.ends)}"
        return None

    def state(self, issued: Issued, now_s: int, *, is_evicted: bool = False) -> PermitState:
        """What a permit is worth at `now_s`; `is_evicted` says whether its user, or its key, is evicted."""
        if self.is_revoked(issued):
            return PermitState.REVOKED
        left, whole = issued.not_after - now_s, issued.not_after - issued.not_before
        if left < 0:
            return PermitState.EXPIRED
        if is_evicted:
            return PermitState.EVICTED
        return PermitState.EXPIRING if left < min(SOON, whole / SOON_PART) else PermitState.VALID

    def forget(self, now_s: int) -> tuple[list[tuple[str, str]], list[str]]:
        """Drop what is long expired: permits, as (user, key), and revocations, by their keys."""
        permits = [whose for whose, one in self._issued.items() if one.latest + KEPT < now_s]
        for whose in permits:
            del self._issued[whose]
        keys = [key for key, one in self._revoked.items() if one.expiration < now_s]
        for key in keys:
            del self._revoked[key]
        return permits, keys


def issued_of(identity: Identity, now: datetime, origin: Origin, ends: datetime | None = None) -> Issued:
    """The record of a certificate that was signed at `now`, from what it says itself."""
    end = int(identity.not_after.timestamp())
    return Issued(
        user=identity.user,
        key=identity.key,
        not_before=int(identity.not_before.timestamp()),
        not_after=end,
        time=int(now.timestamp()),
        origin=origin,
        ends=None if ends is None else int(ends.timestamp()),
        latest=end,
    )


def day(seconds: int) -> str:
    """Epoch seconds as people write them, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
