"""Endpoints: how they are shown, and their labels.

Probing and watching them is in `ping`, `log` and `stats`.
"""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

from ztm.apps.formats import OUTPUT, Description, Format, Listing, chosen_format
from ztm.apps.grammar import Arguments, Command, Option
from ztm.apps.text import day_time
from ztm.cli.context import Context, attempting
from ztm.cli.hub import MISSING, version_table
from ztm.cli.resolve import find_endpoint, list_endpoints, list_hubs

HEADINGS = ("NAME", "USER", "IP", "PORT", "STATUS", "PING", "ID", "EDITION", "VERSION", "LABELS")
WIDE = ("HUBS", "LAST SEEN", "ALL LABELS")
SHOWN_LABELS = 3
"""Labels shown in a table; more are hinted at by dots (spec cli 10)."""


def listing(context: Context, keyword: str) -> Listing:
    """The endpoints of the mesh, or those with `keyword` in their name or a label."""
    filters = {"keyword": keyword} if keyword else {}
    found = list_endpoints(context.client, context.mesh, **filters)
    named = Counter(str(one.get("name") or "") for one in found)

    @cache
    def hub_names() -> dict[str, str]:
        return _hub_names(context)

    def wide_row(one: Mapping[str, Any]) -> tuple[object, ...]:
        hubs = ", ".join(hub_names().get(id_) or id_ for id_ in one.get("hubs") or ())
        labels = (one.get("agent") or {}).get("labels") or ()
        return hubs, day_time(one.get("heartbeat") or None), " ".join(labels)

    def name(one: Mapping[str, Any]) -> str:
        own = str(one.get("name") or "")
        return own if own and named[own] == 1 else str(one["id"])

    keys = {"PING": lambda one: one.get("ping") or None, "LAST SEEN": lambda one: one.get("heartbeat")}
    return Listing(found, HEADINGS, _row, wide=WIDE, wide_row=wide_row, name=name, keys=keys)


def _row(endpoint: Mapping[str, Any]) -> tuple[object, ...]:
    agent = endpoint.get("agent") or {}
    version = (agent.get("version") or {}).get("ztm") or {}
    labels = agent.get("labels") or ()
    return (
        _name(endpoint),
        endpoint.get("username"),
        endpoint.get("ip"),
        endpoint.get("port") or None,
        _status(endpoint),
        _ping(endpoint) or MISSING,
        endpoint["id"],
        version.get("edition") or MISSING,
        version.get("tag") or MISSING,
        " ".join([*labels[:SHOWN_LABELS], *(["..."] if len(labels) > SHOWN_LABELS else [])]),
    )


def _name(endpoint: Mapping[str, Any]) -> str:
    return f"{endpoint.get('name') or ''}{' (local)' if endpoint.get('isLocal') else ''}"


def _status(endpoint: Mapping[str, Any]) -> str:
    return "Online" if endpoint.get("online") else "Offline"


def _ping(endpoint: Mapping[str, Any]) -> str:
    return f"{endpoint['ping']:g}ms" if endpoint.get("ping") else ""


def description(context: Context, name: str) -> Description:
    """All about the endpoint with this id or name.

    Raises:
        NotFoundError: there is none.
        ConflictError: several have this name.
    """
    found = find_endpoint(context.client, context.mesh, name)
    endpoint = context.ask("GET", f"/endpoints/{found['id']}") or found
    agent, stats = endpoint.get("agent") or {}, endpoint.get("stats") or {}
    lines = [f"Endpoint: {_name({**found, **endpoint})}", f"ID: {endpoint['id']}"]
    lines += [f"Username: {endpoint.get('username') or ''}", "Hubs:", *_hubs(context, endpoint)]
    lines += [f"IP: {endpoint.get('ip') or ''}", f"Port: {endpoint.get('port') or ''}"]
    lines += [f"Ping: {_ping(endpoint) or 'N/A'}", f"Status: {_status(endpoint)}", "Stats:"]
    lines += [f"  Control Sessions: {stats.get('controlSessions', 0)}"]
    lines += [f"  Passive Sessions: {stats.get('passiveSessions', 0)}"]
    lines += [f"Labels: {' '.join(agent.get('labels') or ()) or '(none)'}"]
    lines += ["Version:", version_table(agent.get("version"))]
    return Description(endpoint, "\n".join(lines), str(endpoint["id"]))


def _hubs(context: Context, endpoint: dict[str, Any]) -> list[str]:
    ids = endpoint.get("hubs") or ()
    names = _hub_names(context) if ids else {}
    return [f"  {id_} {names.get(id_, '')}".rstrip() for id_ in ids]


def _hub_names(context: Context) -> dict[str, str]:
    """Id to addresses of every known hub."""
    return {hub["id"]: ", ".join(hub.get("ports", ())) for hub in list_hubs(context.client, context.mesh)}


def label(context: Context, arguments: Arguments) -> None:
    """Print the labels of an endpoint, sorted, after deleting some and adding others.

    Raises:
        ForbiddenError: the endpoint is another user's.
    """
    chosen_format(arguments)
    gone, added = set(arguments.values("--delete")), arguments.values("--add")
    target = context.endpoint
    path = f"/endpoints/{target.id}/labels"
    with attempting(f"labels of endpoint '{target.name}'"):
        labels: list[str] = context.ask("GET", path) or []
        if gone or added:
            labels = list(dict.fromkeys([*(one for one in labels if one not in gone), *added]))
            context.ask("POST", path, labels)
    if labels or chosen_format(arguments) in (Format.JSON, Format.YAML):
        context.show(Description(sorted(labels), "\n".join(sorted(labels))), arguments)


COMMANDS = (
    Command(
        usage="label",
        title="Show or change the labels of an endpoint",
        run=label,
        options=(
            Option("--add", "<label ...>", "Labels to add"),
            Option("--delete", "<label ...>", "Labels to delete"),
            OUTPUT,
        ),
        notes="Acts on this endpoint; on another one of yours with 'ztm ep NAME label'.",
    ),
)
