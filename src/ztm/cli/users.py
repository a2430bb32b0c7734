"""Users, as `ztm user list`, `ztm get` and `ztm describe` show them.

A user is known by having an endpoint now, or by being evicted; permits that were never used are known to nobody.
"""

from collections.abc import Mapping
from typing import Any

from ztm.apps.formats import Description, Listing
from ztm.apps.text import day_time, table
from ztm.cli.context import Context
from ztm.cli.resolve import list_endpoints, list_users
from ztm.errors import ForbiddenError, MethodError, NotFoundError

HEADINGS = ("NAME", "ENDPOINTS", "ONLINE", "EVICTED")
WIDE = ("EVICTED UNTIL", "ENDPOINT NAMES")
UNKNOWN = "n/a"
"""Shown where the agent does not tell who is evicted."""


def listing(context: Context, name: str) -> Listing:
    """All users, or the one called `name`; each with how many of its endpoints are online, and its eviction."""
    found = {str(user["name"]): user for user in list_users(context.client, context.mesh, name)}
    evictions = _evictions(context)
    for evicted in evictions or {}:
        if name in ("", evicted) and evicted not in found:
            found[evicted] = {"name": evicted, "endpoints": {"count": 0, "instances": []}}
    users = [_whole(context, user, evictions) for user in found.values()]
    keys = {
        "EVICTED": lambda user: (user.get("eviction") or {}).get("time"),
        "EVICTED UNTIL": lambda user: (user.get("eviction") or {}).get("expiration"),
    }
    return Listing(users, HEADINGS, _row, wide=WIDE, wide_row=_wide_row, keys=keys)


def _evictions(context: Context) -> dict[str, dict[str, Any]] | None:
    """Evictions by user; None where the agent or the hub does not tell."""
    try:
        return {str(one["username"]): one for one in context.ask("GET", "/evictions") or []}
    except (NotFoundError, MethodError, ForbiddenError):
        return None


def _whole(context: Context, user: dict[str, Any], evictions: Mapping[str, Any] | None) -> dict[str, Any]:
    """A user with all endpoints, of which the agent's list has a few only, and its eviction."""
    name, endpoints = str(user["name"]), user["endpoints"]
    instances = endpoints.get("instances") or []
    if len(instances) < endpoints["count"]:
        instances = list_endpoints(context.client, context.mesh, user=name)
    online = sum(bool(one.get("online")) for one in instances)
    counted = {"count": len(instances), "online": online, "instances": instances}
    told = {} if evictions is None else {"eviction": evictions.get(name)}
    return {"name": name, "endpoints": counted, **told}


def _row(user: Mapping[str, Any]) -> tuple[object, ...]:
    endpoints = user["endpoints"]
    eviction = user.get("eviction")
    evicted = UNKNOWN if "eviction" not in user else day_time(eviction["time"]) if eviction else ""
    return user["name"], endpoints["count"], endpoints["online"], evicted


def _wide_row(user: Mapping[str, Any]) -> tuple[object, ...]:
    until = (user.get("eviction") or {}).get("expiration")
    return day_time(until), ", ".join(str(one.get("name") or one["id"]) for one in user["endpoints"]["instances"])


def description(context: Context, name: str) -> Description:
    """All about the user called `name`.

    Raises:
        NotFoundError: there is none.
    """
    found = listing(context, name).objects
    if not found:
        raise NotFoundError(f"user '{name}' not found (see 'ztm user list')")
    user = found[0]
    endpoints, eviction = user["endpoints"], user.get("eviction")
    evicted = "unknown" if "eviction" not in user else _eviction(eviction) if eviction else "No"
    rows = [
        (one.get("name"), one["id"], "Online" if one.get("online") else "Offline") for one in endpoints["instances"]
    ]
    lines = [f"User: {name}", f"Evicted: {evicted}"]
    lines += ["Endpoints:", table(("NAME", "ID", "STATUS"), rows, indent="  ")] if rows else ["Endpoints: (none)"]
    return Description(user, "\n".join(lines), name)


def _endpoint(one: Mapping[str, Any]) -> tuple[object, ...]:
    return one.get("name"), one["id"], "Online" if one.get("online") else "Offline"


def _eviction(eviction: Mapping[str, Any]) -> str:
    begin, end = day_time(eviction["time"]), day_time(eviction["expiration"])
    return f"since {begin}, with all certificates issued before; until {end}"
