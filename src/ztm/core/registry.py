"""The hub's endpoints: who owns which id, which sessions lead to it, and what it last said of itself.

It opens and closes nothing: sessions are opaque to it, and when one is to be cut the caller does so. Owner
bindings are only remembered; the caller keeps them on disk. Times are epoch seconds and come from the caller.
Source: spec mesh-protocol 5.1, 6, 18 and W5, W18, W26.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from ztm.errors import ForbiddenError, LimitError, NotFoundError
from ztm.model import Address, Endpoint, Version

S = TypeVar("S", bound=Hashable)

MAX_CLAIMS = 20_000
"""Endpoint ids that one user may ever have used: each is kept on disk for good."""
LISTED_ENDPOINTS = 5
"""How many endpoints the list of users shows of each (spec mesh-protocol 5.1)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """To whom an endpoint id belongs: the first user that used it, and the key it was used with."""

    user: str
    key: str
    """`ztm.model.Identity.key`."""


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A user as seen from its endpoints."""

    name: str
    count: int
    endpoints: tuple[Endpoint, ...]
    """The first `LISTED_ENDPOINTS` of them."""


@dataclass(slots=True)
class _Entry(Generic[S]):
    id: str
    user: str
    name: str
    remote: Address
    heartbeat: float
    hubs: tuple[str, ...]
    version: Version = field(default_factory=Version)
    labels: tuple[str, ...] = ()
    ping_ms: int | None = None
    controls: tuple[S, ...] = ()
    passives: tuple[S, ...] = ()
    left: float = 0.0
    """When the last control session ended."""


class Registry(Generic[S]):
    """The endpoints that a hub knows now, in the order in which they first appeared.

    An endpoint is *online* with a control session and a heartbeat younger than `online_after`, and *live*
    with a control session or, for `forget_after` after it was last heard of, without. Only live ones
    count against `max_agents`. All but the lists and `keys_of` take a time that does not grow with the endpoints known.
    """

    def __init__(
        self,
        hub_id: str,
        *,
        max_agents: int = 100,
        online_after: float = 30.0,
        forget_after: float = 120.0,
        owners: Mapping[str, Owner] | None = None,
    ) -> None:
        self._hub_id = hub_id
        self._max_agents = max_agents
        self._online_after = online_after
        self._forget_after = forget_after
        self._owners = dict(owners or {})
        self._claims = Counter(owner.user for owner in self._owners.values())
        self._entries: dict[str, _Entry[S]] = {}
        self._of_user: dict[str, dict[str, None]] = {}
        self._absent: dict[str, None] = {}
        """Ids without a control session: the only ones that can be forgotten."""
        self._told: tuple[tuple[str, ...], Version] = ((), Version())
        """The hubs and the version that an agent told last: most tell the same, and thousands share it then."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, endpoint_id: str) -> bool:
        """Whether the endpoint is known now."""
        return endpoint_id in self._entries

    def owner_of(self, endpoint_id: str) -> Owner | None:
        """To whom the id belongs, also when the endpoint itself is forgotten."""
        return self._owners.get(endpoint_id)

    def keys_of(self, user: str) -> list[str]:
        """The keys that endpoint ids of `user` are bound to, known now or not; this looks at all owners."""
        return list(dict.fromkeys(owner.key for owner in self._owners.values() if owner.user == user))

    def is_new(self, endpoint_id: str) -> bool:
        """Whether nobody owns the id yet; the binding that `attach` makes is then to be kept on disk first."""
        return endpoint_id not in self._owners

    def may_claim(self, endpoint_id: str, owner: Owner) -> None:
        """Return if `owner` may be that endpoint.

        Raises:
            ForbiddenError: the id belongs to another user, or to another key of the same one.
            LimitError: it is new, and the user has used as many as one may.
        """
        known = self._owners.get(endpoint_id)
        if known is None and self._claims[owner.user] >= MAX_CLAIMS:
            raise LimitError(f"user {owner.user} has used {MAX_CLAIMS} endpoint ids; no more are given")
        if known is None or known == owner:
            return
        whose = "another user" if known.user != owner.user else f"another key of user {owner.user}"
        raise ForbiddenError(f"endpoint id {endpoint_id} belongs to {whose}; join again to get a new one")

    def attach(
        self,
        endpoint_id: str,
        name: str,
        owner: Owner,
        session: S,
        remote: Address,
        now: float,
        *,
        passive: bool = False,
    ) -> None:
        """Add a session to an endpoint, and make the endpoint known if it is not.

        A control session counts as a heartbeat and gives the endpoint this hub; of several, requests go
        to the one added last. An empty name leaves the known one.

        Raises:
            ForbiddenError: the id belongs to someone else.
            LimitError: the endpoint is not live, and as many as allowed are.
        """
        self.may_claim(endpoint_id, owner)
        self.check_room(endpoint_id, now)
        if endpoint_id not in self._owners:
            self._claims[owner.user] += 1
            self._owners[endpoint_id] = owner
        entry = self._entries.get(endpoint_id) or self._add(endpoint_id, owner.user, remote, now)
        if name:
            entry.name = name
        if passive:
            entry.passives = (*_without(entry.passives, session), session)
            return
        if not entry.controls:
            entry.remote = remote
        entry.controls = (*_without(entry.controls, session), session)
        entry.heartbeat = now
        entry.hubs = self._with_own_hub(entry.hubs)
        self._absent.pop(endpoint_id, None)

    def detach(self, endpoint_id: str, session: S, now: float) -> None:
        """Forget a session that ended. Unknown ones are ignored."""
        entry = self._entries.get(endpoint_id)
        if entry is None:
            return
        entry.passives = _without(entry.passives, session)
        if session in entry.controls:
            entry.controls = _without(entry.controls, session)
            if not entry.controls:
                entry.left = now
                self._absent[endpoint_id] = None

    def heartbeat(
        self,
        endpoint_id: str,
        name: str,
        hubs: Iterable[str],
        version: Version,
        labels: Iterable[str],
        now: float,
    ) -> None:
        """Take over what an agent says of itself; while it has a control session this hub is among its hubs.

        Raises:
            NotFoundError: there is no such endpoint (any more).
        """
        entry = self._known(endpoint_id)
        entry.name = name or entry.name
        told = self._with_own_hub(tuple(hubs)) if entry.controls else tuple(hubs), version
        if told != self._told:
            self._told = told
        entry.hubs, entry.version = self._told
        entry.labels = tuple(labels)
        entry.heartbeat = now

    def pinged(self, endpoint_id: str, ms: int | None) -> None:
        """Note how long the last ping of the endpoint took; None if it was not answered."""
        if entry := self._entries.get(endpoint_id):
            entry.ping_ms = ms

    def control(self, endpoint_id: str) -> S | None:
        """The control session that requests go to: the one added last."""
        entry = self._entries.get(endpoint_id)
        return entry.controls[-1] if entry and entry.controls else None

    def controls(self, endpoint_id: str) -> list[S]:
        """All control sessions of an endpoint, oldest first."""
        entry = self._entries.get(endpoint_id)
        return list(entry.controls) if entry else []

    def absent_for(self, endpoint_id: str, now: float) -> float:
        """Seconds since the last control session of an endpoint ended; 0 while there is one, infinity if never."""
        entry = self._entries.get(endpoint_id)
        if entry is None:
            return math.inf
        return 0.0 if entry.controls else now - entry.left

    def passives(self, endpoint_id: str) -> list[S]:
        """All passive sessions of an endpoint, oldest first."""
        entry = self._entries.get(endpoint_id)
        return list(entry.passives) if entry else []

    def sessions_of_user(self, user: str) -> list[S]:
        """Every session to an endpoint of `user`, control and passive."""
        found: list[S] = []
        for endpoint_id in self._of_user.get(user, ()):
            entry = self._entries[endpoint_id]
            found += [*entry.controls, *entry.passives]
        return found

    def endpoint(self, endpoint_id: str, now: float) -> Endpoint | None:
        """One endpoint as the hub shows it."""
        entry = self._entries.get(endpoint_id)
        return self._shown(entry, now) if entry else None

    def endpoints(
        self,
        now: float,
        *,
        id: str = "",  # noqa: A002  # the filter's name on the wire
        name: str = "",
        user: str = "",
        keyword: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> list[Endpoint]:
        """The endpoints with this `id` or this `name`, of this `user`, with `keyword` in name or a label.

        Empty filters let everything pass. Source: spec mesh-protocol 5.1.
        """
        found = (entry for entry in self._candidates(id, name, user) if _has_keyword(entry, keyword))
        return [self._shown(entry, now) for entry in _page(found, limit, offset)]

    def users(
        self, now: float, *, name: str = "", keyword: str = "", limit: int = 100, offset: int = 0
    ) -> list[UserInfo]:
        """The users that have endpoints now, with this `name` and with `keyword` in their name."""
        found = (user for user in self._of_user if name in ("", user) and keyword in user)
        return [self._user(user, now) for user in _page(found, limit, offset)]

    def sweep(self, now: float) -> list[str]:
        """Forget the endpoints that are no longer live, and say which. Their ids stay with their owners."""
        gone = [endpoint_id for endpoint_id in self._absent if self._is_stale(endpoint_id, now)]
        for endpoint_id in gone:
            del self._absent[endpoint_id]
            user = self._entries.pop(endpoint_id).user
            del self._of_user[user][endpoint_id]
            if not self._of_user[user]:
                del self._of_user[user]
        return gone

    def check_room(self, endpoint_id: str, now: float) -> None:
        """Return if the endpoint is live, or may become so.

        Raises:
            LimitError: as many endpoints as allowed are live without it.
        """
        if len(self._entries) < self._max_agents:
            return  # enough even if all were live, and the usual case
        if endpoint_id in self._entries and not self._is_stale(endpoint_id, now):
            return
        live = len(self._entries) - sum(self._is_stale(absent, now) for absent in self._absent)
        if live >= self._max_agents:
            raise LimitError(f"Too many agents: this hub has {live} and takes {self._max_agents}")

    def _add(self, endpoint_id: str, user: str, remote: Address, now: float) -> _Entry[S]:
        entry = _Entry[S](endpoint_id, user, "", remote, now, (self._hub_id,), left=now)
        self._entries[endpoint_id] = entry
        self._of_user.setdefault(user, {})[endpoint_id] = None
        self._absent[endpoint_id] = None
        return entry

    def _known(self, endpoint_id: str) -> _Entry[S]:
        entry = self._entries.get(endpoint_id)
        if entry is None:
            raise NotFoundError(f"endpoint {endpoint_id} is not known here")
        return entry

    def _is_stale(self, endpoint_id: str, now: float) -> bool:
        entry = self._entries[endpoint_id]
        return not entry.controls and now - max(entry.heartbeat, entry.left) > self._forget_after

    def _with_own_hub(self, hubs: tuple[str, ...]) -> tuple[str, ...]:
        return hubs if self._hub_id in hubs else (*hubs, self._hub_id)

    def _candidates(self, endpoint_id: str, name: str, user: str) -> Iterator[_Entry[S]]:
        if endpoint_id and not name:
            only = self._entries.get(endpoint_id)
            return iter([only] if only and user in ("", only.user) else [])
        entries: Iterable[_Entry[S]] = self._entries.values()
        if user:
            entries = (self._entries[owned] for owned in self._of_user.get(user, ()))
        return (entry for entry in entries if not name or entry.name == name or entry.id == endpoint_id)

    def _user(self, user: str, now: float) -> UserInfo:
        ids = self._of_user[user]
        shown = tuple(self._shown(self._entries[owned], now) for owned in islice(ids, LISTED_ENDPOINTS))
        return UserInfo(user, len(ids), shown)

    def _shown(self, entry: _Entry[S], now: float) -> Endpoint:
        return Endpoint(
            id=entry.id,
            name=entry.name,
            user=entry.user,
            ip=entry.remote.host,
            port=entry.remote.port,
            hubs=entry.hubs,
            version=entry.version,
            labels=entry.labels,
            heartbeat_ms=int(entry.heartbeat * 1000),
            ping_ms=entry.ping_ms,
            online=bool(entry.controls) and now - entry.heartbeat < self._online_after,
            control_sessions=len(entry.controls),
            passive_sessions=len(entry.passives),
        )


def _without(sessions: tuple[S, ...], session: S) -> tuple[S, ...]:
    return tuple([one for one in sessions if one != session])


P = TypeVar("P")


def _page(found: Iterator[P], limit: int, offset: int) -> Sequence[P]:
    start = max(offset, 0)
    return list(islice(found, start, start + max(limit, 0)))


def _has_keyword(entry: _Entry[S], keyword: str) -> bool:
    return keyword in entry.name or any(keyword in label for label in entry.labels)
