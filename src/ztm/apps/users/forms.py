"""The users app's JSON: a group's file, what is asked with and what is shown.

Field names are v1's; those that v1 has not (``history``, ``unknown``, ``duplicates``) it ignores. Source: spec
apps-network 5.
"""

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ztm.apps.users.model import Change, Group
from ztm.errors import UsageError


class ChangeShown(Struct):
    """One change of a group; `time` in epoch milliseconds."""

    time: int
    user: str
    endpoint: str = ""
    change: str = ""


class GroupFile(Struct):
    """``/shared/root/groups/{id}.json``."""

    name: str
    users: list[str] = []
    history: list[ChangeShown] = []


class GroupBody(Struct):
    """What a group shall be."""

    name: str
    users: list[str] = []


class GroupShown(Struct):
    """A group as it is now."""

    name: str
    users: list[str]
    id: str
    unknown: list[str] | UnsetType = UNSET
    """Those of `users` that the hub does not list: evicted, or not joined. Left out where it cannot be asked."""
    duplicates: list[str] | UnsetType = UNSET
    """Ids of groups of the same name that are shown as this one."""
    history: list[ChangeShown] | UnsetType = UNSET


class Membership(Struct):
    """A group that a user is in."""

    id: str
    name: str


class UserShown(Struct):
    """A user, by the groups that name it."""

    name: str
    groups: list[Membership]


def group_file(group: Group) -> bytes:
    """The file of `group`."""
    history = [_change_shown(change) for change in group.changes]
    return msgspec.json.encode(GroupFile(group.name, list(group.users), history))


def read_group(id_: str, data: bytes) -> Group:
    """The group that a file holds.

    Raises:
        UsageError: it is no such file, or a name in it is malformed.
        LimitError: it has too many users.
    """
    try:
        file = msgspec.json.decode(data, type=GroupFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the file of group {id_} is damaged: {error}") from error
    changes = [Change(one.time, one.user, one.endpoint, one.change) for one in file.history]
    return Group.parse(id_, file.name, file.users, changes)


def group_shown(group: Group, known: frozenset[str] | None = None, *, whole: bool = False) -> GroupShown:
    """What is told of `group`; `known` are the users of the mesh, `whole` adds its history."""
    return GroupShown(
        group.name,
        list(group.users),
        group.id,
        UNSET if known is None else [user for user in group.users if user not in known],
        list(group.duplicates) or UNSET,
        [_change_shown(change) for change in group.changes] if whole else UNSET,
    )


def _change_shown(change: Change) -> ChangeShown:
    return ChangeShown(change.time_ms, change.user, change.endpoint, change.what)
