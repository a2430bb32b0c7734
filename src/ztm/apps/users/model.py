"""A group of users: what it is, and what becomes of several with one name.

Pure records; nothing is read, written or asked here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from ztm.errors import ConflictError, LimitError
from ztm.model import check_name

MAX_MEMBERS = 10_000
"""Users of one group."""
MAX_GROUPS = 1_000
"""Groups of one mesh that an endpoint keeps in memory."""
NAMED = 20
"""Users whose names one change tells; the others are counted."""
KEPT_CHANGES = 50
"""Of a group's history; older ones are in the audit log of the endpoint where they were made."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a group."""

    time_ms: int
    """Epoch milliseconds, by the clock of the endpoint that made it."""
    user: str
    endpoint: str
    """The name of the endpoint where it was made."""
    what: str
    """For people: ``created with alice``, ``added bob``."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of users."""

    id: str
    name: str
    users: tuple[str, ...] = ()
    """Sorted, each once."""
    changes: tuple[Change, ...] = ()
    """Oldest first; v1 keeps none."""
    duplicates: tuple[str, ...] = ()
    """Ids of other groups of the same name that were merged into this one; they go with its next change."""

    @classmethod
    def parse(cls, id_: str, name: str, users: Sequence[str], changes: Sequence[Change] = ()) -> Self:
        """The checked group.

        Raises:
            UsageError: the id, the name or a user is malformed.
            LimitError: it has more than `MAX_MEMBERS` users.
        """
        check_name("group id", id_)
        check_name("group", name)
        members = set(users)
        if len(members) > MAX_MEMBERS:
            raise LimitError(f"group {name} has {len(members)} users; {MAX_MEMBERS} are allowed")
        checked = sorted(check_name("user", user) for user in members)
        return cls(id_, name, tuple(checked), tuple(changes)[-KEPT_CHANGES:])

    def changed(self, wanted: Self, time_ms: int, user: str, endpoint: str) -> Self:
        """`wanted` in place of this one, with what has changed put down."""
        what = difference(self, wanted)
        changes = (*self.changes, Change(time_ms, user, endpoint, what)) if what else self.changes
        return replace(wanted, changes=changes[-KEPT_CHANGES:], duplicates=())

    def created(self, time_ms: int, user: str, endpoint: str) -> Self:
        """This group with its creation put down."""
        what = f"created with {_named(self.users) or 'nobody'}"
        return replace(self, changes=(Change(time_ms, user, endpoint, what),))


def difference(before: Group, after: Group) -> str:
    """What makes `after` of `before`, for people; empty if nothing does."""
    added = sorted(set(after.users) - set(before.users))
    removed = sorted(set(before.users) - set(after.users))
    said = [f"renamed from {before.name}"] if before.name != after.name else []
    said += [f"added {_named(added)}"] if added else []
    said += [f"removed {_named(removed)}"] if removed else []
    said += [f"merged with {len(before.duplicates)} more of this name"] if before.duplicates else []
    return "; ".join(said)


def _named(users: Sequence[str]) -> str:
    """Users for people: the history is kept in the group's file, so of many the first ones, and how many there are."""
    more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
    return ", ".join(users[:NAMED]) + more


def merged(groups: Iterable[Group]) -> list[Group]:
    """All groups by name, those of one name as one: the first by id, with the users of all.

    Every endpoint comes to the same whatever order the groups arrive in. Two are only ever made at once on two
    endpoints that do not see each other yet.
    """
    by_name: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda one: one.id):
        by_name.setdefault(group.name, []).append(group)
    return [_joined(same) for _, same in sorted(by_name.items())]


def _joined(same: Sequence[Group]) -> Group:
    first, *others = same
    if not others:
        return first
    users = sorted({user for group in same for user in group.users})
    changes = sorted((change for group in same for change in group.changes), key=lambda change: change.time_ms)
    return replace(
        first,
        users=tuple(users),
        changes=tuple(changes[-KEPT_CHANGES:]),
        duplicates=tuple(group.id for group in others),
    )


def check_free(name: str, id_: str, groups: Iterable[Group]) -> None:
    """Return if no other group than `id_` is called `name`.

    Raises:
        ConflictError: another one is.
    """
    for group in groups:
        if group.name == name and id_ not in (group.id, *group.duplicates):
            raise ConflictError(f"there is a group {name} already (id {group.id}): change that one, or choose a name")


def check_known(wanted: Iterable[str], before: Iterable[str], known: Iterable[str]) -> None:
    """Return if every user of `wanted` that is not in `before` is one of `known`.

    Raises:
        ConflictError: one is not.
    """
    unknown = sorted(set(wanted) - set(before) - set(known))
    if unknown:
        names = ", ".join(repr(name) for name in unknown)
        raise ConflictError(
            f"no such user in the mesh: {names} (a user shows up after joining; to name one before that, use --force)"
        )
