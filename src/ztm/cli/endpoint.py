"""Endpoints: how they are shown, and their labels.

Probing and watching them is in `observe`.
"""

from typing import Any

from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli.context import Context, attempting
from ztm.cli.hub import MISSING, version_table
from ztm.cli.objects import Description, Listing
from ztm.cli.resolve import find_endpoint, list_endpoints, list_hubs

HEADINGS = ("NAME", "USER", "IP", "PORT", "STATUS", "PING", "ID", "EDITION", "VERSION", "LABELS")
SHOWN_LABELS = 3
"""Labels shown in a table; more are hinted at by dots (spec cli 10)."""


def listing(context: Context, keyword: str) -> Listing:
    """The endpoints of the mesh, or those with `keyword` in their name or a label."""
    filters = {"keyword": keyword} if keyword else {}
    return Listing(list_endpoints(context.client, context.mesh, **filters), HEADINGS, _row)


def _row(endpoint: dict[str, Any]) -> tuple[object, ...]:
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


def _name(endpoint: dict[str, Any]) -> str:
    return f"{endpoint.get('name') or ''}{' (local)' if endpoint.get('isLocal') else ''}"


def _status(endpoint: dict[str, Any]) -> str:
    return "Online" if endpoint.get("online") else "Offline"


def _ping(endpoint: dict[str, Any]) -> str:
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
    return Description(endpoint, "\n".join(lines))


def _hubs(context: Context, endpoint: dict[str, Any]) -> list[str]:
    ids = endpoint.get("hubs") or ()
    names = (
        {hub["id"]: ", ".join(hub.get("ports", ())) for hub in list_hubs(context.client, context.mesh)} if ids else {}
    )
    return [f"  {id_} {names.get(id_, '')}".rstrip() for id_ in ids]


def label(context: Context, arguments: Arguments) -> None:
    """Print the labels of an endpoint, sorted, after deleting some and adding others.

    Raises:
        ForbiddenError: the endpoint is another user's.
    """
    gone, added = set(arguments.values("--delete")), arguments.values("--add")
    target = context.endpoint
    path = f"/endpoints/{target.id}/labels"
    with attempting(f"labels of endpoint '{target.name}'"):
        labels: list[str] = context.ask("GET", path) or []
        if gone or added:
            labels = list(dict.fromkeys([*(one for one in labels if one not in gone), *added]))
            context.ask("POST", path, labels)
    if labels:
        context.out("\n".join(sorted(labels)))


COMMANDS = (
    Command(
        usage="label",
        title="Show or change the labels of an endpoint",
        run=label,
        options=(
            Option("--add", "<label ...>", "Labels to add"),
            Option("--delete", "<label ...>", "Labels to delete"),
        ),
        notes="Acts on this endpoint; on another one of yours with 'ztm ep NAME label'.",
    ),
)
