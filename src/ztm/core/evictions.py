"""Who is shut out of the mesh, by name and by key.

It closes no sessions and stores nothing: the caller does both with what it is told here. Times are whole
epoch seconds by the hub's clock. Source: spec mesh-protocol 13 and W11.
"""

from collections.abc import Iterable

from ztm.errors import ForbiddenError, UsageError
from ztm.model import CA, HUB_PREFIX, ROOT, Eviction, Identity

DEFAULT_TERM = 365 * 86400
"""Seconds that an eviction acts for if nothing is said: as long as the certificates v1 issues."""


class Evictions:
    """The evictions in force. A certificate is refused if it began no later than an eviction of its user
    name, or of its key under any name; one signed at least a second later is let in again.
    """

    def __init__(self, stored: Iterable[Eviction] = ()) -> None:
        self._of: dict[str, Eviction] = {}
        self._by_key: dict[str, dict[str, None]] = {}
        for eviction in stored:
            self._put(eviction)

    def evict(self, user: str, keys: Iterable[str], now_s: int, expiration: int | None = None) -> bool:
        """Shut `user` out, and the `keys` it was known to hold; False if the present eviction is as new.

        A newer eviction keeps the keys of the one it replaces.

        Raises:
            ForbiddenError: `user` is root, a hub or the CA.
            UsageError: `expiration` is not in the future.
        """
        if user in (ROOT, CA) or user.startswith(HUB_PREFIX):
            raise ForbiddenError(f"{user} cannot be evicted")
        if expiration is None:
            expiration = now_s + DEFAULT_TERM
        if expiration <= now_s:
            raise UsageError(f"the eviction of {user} would have expired already")
        known = self._of.get(user)
        if known and now_s <= known.time:
            return False
        held = dict.fromkeys((*(known.keys if known else ()), *keys))
        self._put(Eviction(user, now_s, expiration, tuple(held)))
        return True

    def remove(self, user: str) -> bool:
        """Let `user` and its keys in again; False if there was no eviction."""
        known = self._of.pop(user, None)
        if known is None:
            return False
        for key in known.keys:
            users = self._by_key[key]
            del users[user]
            if not users:
                del self._by_key[key]
        return True

    def of(self, user: str) -> Eviction | None:
        """The eviction of `user`, expired or not."""
        return self._of.get(user)

    def all(self) -> list[Eviction]:
        """All evictions, oldest entry first, expired ones included."""
        return list(self._of.values())

    def refuses(self, identity: Identity, now_s: int) -> str | None:
        """Why the holder of `identity` is shut out at `now_s`, or None if it is not."""
        if identity.user == ROOT or identity.is_hub:
            return None
        since = int(identity.not_before.timestamp())
        own = self._of.get(identity.user)
        if own and _acts(own, since, now_s):
            return f"user {identity.user} is evicted"
        for user in self._by_key.get(identity.key, ()):
            if _acts(self._of[user], since, now_s):
                return f"the key of user {identity.user} is evicted"
        return None

    def _put(self, eviction: Eviction) -> None:
        self.remove(eviction.user)
        self._of[eviction.user] = eviction
        for key in eviction.keys:
            self._by_key.setdefault(key, {})[eviction.user] = None


def _acts(eviction: Eviction, since: int, now_s: int) -> bool:
    return since <= eviction.time and now_s < eviction.expiration
