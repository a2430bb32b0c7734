"""`ztm users ...`: the users of the mesh, and groups of them.

It only asks the app's API; who may change a group is decided by the app. Source: spec apps-network 5.
"""

from typing import Any

from ztm.apps import text
from ztm.apps.command import AppCommand, AppCommands
from ztm.apps.formats import OUTPUT, Description
from ztm.apps.grammar import Arguments, Command, Option
from ztm.errors import NotFoundError, UsageError
from ztm.wire.paths import encode

SHOWN = 3
"""Endpoints of a user that are named in a table; the others are counted."""
NOT_IN_MESH = "(not in the mesh: evicted, or not joined yet)"
NOTES = """Groups are kept by root for all of the mesh. Proxy rules take them by name."""


async def list_all(context: AppCommand, arguments: Arguments) -> None:
    """Print the users of the mesh, and the groups."""
    users: list[dict[str, Any]] = await context.api("GET", "/api/users") or []
    groups: list[dict[str, Any]] = await context.api("GET", "/api/groups") or []
    here = (await context.api("GET", "/api/appinfo"))["endpoint"]["id"]
    people = text.table(("USERNAME", "ENDPOINTS"), [(user["name"], _endpoints(user, here)) for user in users])
    shown = [people]
    if groups:
        rows = [(group["name"], ", ".join(_members(group))) for group in groups]
        shown.append(text.table(("GROUP", "MEMBERS"), rows))
    names = "\n".join(str(user["name"]) for user in users)
    await context.show(Description({"users": users, "groups": groups}, "\n\n".join(shown), names), arguments)


def _endpoints(user: dict[str, Any], here: str) -> str:
    known = user.get("endpoints") or {}
    some = known.get("instances") or []
    names = [f"{one['name']} (local)" if one["id"] == here else str(one["name"]) for one in some[:SHOWN]]
    more = int(known.get("count") or len(some)) - len(names)
    return ", ".join(names) + (f" ... (and {more} more)" if more > 0 else "")


def _members(group: dict[str, Any]) -> list[str]:
    unknown = frozenset(group.get("unknown") or ())
    return [f"{user} (not in the mesh)" if user in unknown else user for user in group["users"]]


async def group(context: AppCommand, arguments: Arguments) -> int | None:
    """Print a group's members, or change the group.

    Raises:
        NotFoundError: there is no such group, or somebody to be removed is not in it.
        UsageError: the options contradict each other.
        ZtmError: the app refused.
    """
    name = arguments.word("group name")
    found = await _find(context, name)
    if arguments.flag("--delete-group"):
        if len(arguments.options) > 1:
            raise arguments.error("option --delete-group goes with no other")
        await context.api("DELETE", _path(_existing(found, name)["id"]))
    elif any(arguments.flag(option) for option in ("--add-users", "--remove-users", "--rename-group")):
        await _change(context, arguments, found, name)
    else:
        await _print(context, arguments, _existing(found, name))
    return None


async def _find(context: AppCommand, name: str) -> dict[str, Any] | None:
    groups: list[dict[str, Any]] = await context.api("GET", "/api/groups") or []
    return next((one for one in groups if one["name"] == name), None)


def _existing(found: dict[str, Any] | None, name: str) -> dict[str, Any]:
    if found is None:
        raise NotFoundError(f"Group not found: {name} (see 'ztm users list')")
    return found


def _path(id_: str) -> str:
    return f"/api/groups/{encode(id_)}"


async def _change(context: AppCommand, arguments: Arguments, found: dict[str, Any] | None, name: str) -> None:
    added, removed = arguments.values("--add-users"), arguments.values("--remove-users")
    both = sorted(set(added) & set(removed))
    if both:
        raise UsageError(f"{', '.join(both)} cannot be added and removed at once")
    if not added:
        _existing(found, name)
    members = set(found["users"] if found else ())
    missing = [user for user in removed if user not in members]
    if missing:
        raise NotFoundError(f"not in group {name}: {', '.join(missing)}")
    body = {"name": arguments.value("--rename-group") or name, "users": sorted((members | set(added)) - set(removed))}
    await context.api("POST", _path(_id(found)) + ("?force" if arguments.flag("--force") else ""), body)


def _id(found: dict[str, Any] | None) -> str:
    """The id of the group, or a new one."""
    from uuid import uuid4

    return str(found["id"]) if found else str(uuid4())


async def _print(context: AppCommand, arguments: Arguments, found: dict[str, Any]) -> None:
    whole = await context.api("GET", _path(found["id"]))
    if arguments.flag("--history"):
        rows = [(text.day_time(one["time"]), one["user"], one["endpoint"], one["change"]) for one in whole["history"]]
        shown = text.table(("TIME", "USER", "ENDPOINT", "CHANGE"), rows)
    else:
        unknown = frozenset(whole.get("unknown") or ())
        shown = "\n".join(f"{user} {NOT_IN_MESH}" if user in unknown else user for user in whole["users"])
    names = "\n".join(whole["users"])
    if shown or arguments.flag(OUTPUT.name):
        await context.show(Description(whole, shown, names), arguments)


COMMANDS: AppCommands = (
    Command(
        usage="list",
        title="List the users of the mesh with their endpoints, and the groups",
        run=list_all,
        options=(OUTPUT,),
    ),
    Command(
        usage="group <group name>",
        title="Show the members of a group, or change it (root only)",
        run=group,
        options=(
            Option("--add-users", "<username ...>", "Add these users; a group that is not there is created"),
            Option("--remove-users", "<username ...>", "Remove these users"),
            Option("--rename-group", "<new name>", "Give the group another name"),
            Option("--delete-group", "", "Delete the group"),
            Option("--force", "", "Add also users who are not in the mesh, or not yet"),
            Option("--history", "", "Show who changed the group, and when"),
            OUTPUT,
        ),
    ),
)
