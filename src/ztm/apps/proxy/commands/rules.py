"""`ztm proxy rules`: showing the rules of an exit, and changing one of them.

What a rule may be is decided by the app's API. Source: spec apps-network 2.1.
"""

from collections.abc import Mapping
from typing import Any

from ztm.apps.command import AppCommand
from ztm.apps.formats import NO_HEADERS, OUTPUT, Listing
from ztm.apps.grammar import Arguments
from ztm.apps.proxy.commands.description import is_for_others
from ztm.apps.proxy.commands.paths import app_path
from ztm.apps.rewrite import FIELD
from ztm.errors import ConflictError, ForbiddenError, NotFoundError


async def rules(context: AppCommand, arguments: Arguments) -> None:
    """Print the rules of the exit, after changing one if an index is given.

    Raises:
        NotFoundError: there is no such rule, or no such group.
        ForbiddenError: the exit is another user's.
        UsageError: an option's value is malformed.
    """
    path = app_path(context, "config")
    found: dict[str, Any] = await context.api("GET", path)
    if is_for_others(found):
        raise ForbiddenError(f"endpoint {context.endpoint.name} shows its proxy's rules to its owner only")
    if arguments.flag("--index"):
        body = {name: found.get(name) for name in ("listen", "targets", "exclusions", "generateCert", "log")}
        body |= {FIELD: found[FIELD]} if FIELD in found else {}  # what has an index is not changed again blindly
        body["rules"] = await _new_rules(context, arguments, list(found.get("rules") or ()))
        found = await context.api("POST", path, body) or await context.api("GET", path)
    elif set(arguments.options) - {OUTPUT.name, NO_HEADERS.name}:
        raise arguments.error("which rule? option --index is required to change one")
    shown = found.get("rules") or []
    names = await _group_names(context) if any(one.get("groups") for one in shown) else {}
    numbered = [{"index": number, **one} for number, one in enumerate(shown)]

    def row(one: Mapping[str, Any]) -> tuple[object, ...]:
        groups = (names.get(id_, id_) for id_ in one.get("groups") or ())
        return (
            f"#{one['index']}",
            ", ".join(one.get("targets") or ("(all)",)),
            ", ".join(one.get("users") or ()) or ("" if one.get("groups") else "(all)"),
            ", ".join(groups),
            one["action"],
        )

    headings = ("INDEX", "TARGETS", "USERS", "GROUPS", "ACTION")
    await context.show(Listing(numbered, headings, row, name=lambda one: f"#{one['index']}"), arguments)


async def _new_rules(context: AppCommand, arguments: Arguments, old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    index = _index(arguments)
    is_new = arguments.flag("--insert")
    if arguments.flag("--delete"):
        if is_new or {"--users", "--groups", "--targets", "--action"} & set(arguments.options):
            raise arguments.error("option --delete goes with --index alone")
        _existing(index, old)
        return old[:index] + old[index + 1 :]
    rule = await _rule(context, arguments)
    if index == len(old):
        return [*old, rule]
    _existing(index, old)
    return [*old[:index], rule, *old[index + (0 if is_new else 1) :]]


def _index(arguments: Arguments) -> int:
    text = (arguments.value("--index") or "").removeprefix("#")
    if not (text.isascii() and text.isdigit()):
        raise arguments.error(f"invalid value {arguments.value('--index')!r} for option --index (0, 1, ...)")
    return int(text)


def _existing(index: int, old: list[dict[str, Any]]) -> None:
    if index >= len(old):
        raise NotFoundError(f"there is no rule #{index}: the exit has {len(old)} (see 'ztm proxy rules')")


async def _rule(context: AppCommand, arguments: Arguments) -> dict[str, Any]:
    action = arguments.require("--action")
    if action not in ("allow", "deny"):
        raise arguments.error(f"invalid value {action!r} for option --action (allow or deny)")
    groups = arguments.values("--groups")
    return {
        "targets": list(arguments.values("--targets")),
        "users": list(arguments.values("--users")),
        "groups": [await _group_id(context, name) for name in groups],
        "action": action,
    }


async def _group_id(context: AppCommand, name: str) -> str:
    found = [id_ for id_, called in (await _group_names(context)).items() if name in (called, id_)]
    if not found:
        raise NotFoundError(f"group '{name}' not found (see 'ztm users list')")
    if len(found) > 1:
        raise ConflictError(f"ambiguous group name '{name}': use one of the ids {', '.join(found)}")
    return found[0]


async def _group_names(context: AppCommand) -> dict[str, str]:
    """Id to name of all groups of the mesh."""
    groups: list[dict[str, Any]] = await context.api("GET", "/api/groups") or []
    return {one["id"]: one["name"] for one in groups}
