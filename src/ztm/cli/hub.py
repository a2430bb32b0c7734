"""Hubs, as `ztm get` and `ztm describe` show them.

Running a hub is in `run`.
"""

from collections.abc import Mapping
from typing import Any

from ztm.apps.formats import Description, Listing
from ztm.apps.text import table
from ztm.cli.context import Context
from ztm.cli.resolve import find_hub_id, list_hubs

HEADINGS = ("NAMES", "ZONE", "ATTACHED", "EDITION", "VERSION", "ID")
MISSING = "n/a"
"""Shown for a version that a peer does not tell."""


def listing(context: Context, name: str) -> Listing:
    """The known hubs, or those with this id or with `name` in one of their addresses."""
    hubs = list_hubs(context.client, context.mesh)
    chosen = [hub for hub in hubs if name == hub["id"] or any(name in port for port in hub.get("ports", ()))]
    return Listing(chosen if name else hubs, HEADINGS, _row, name=lambda hub: str(hub["id"]))


def _row(hub: Mapping[str, Any]) -> tuple[object, ...]:
    version = (hub.get("version") or {}).get("ztm") or {}
    attached = "Yes" if hub.get("connected") else ""
    names = ", ".join(hub.get("ports", ()))
    return names, hub.get("zone"), attached, version.get("edition") or MISSING, version.get("tag") or MISSING, hub["id"]


def description(context: Context, name: str) -> Description:
    """All about the hub with this id or address; the agent probes its ports for it.

    Raises:
        NotFoundError: there is none, or none of its ports answers.
    """
    hub = context.ask("GET", f"/hubs/{find_hub_id(context.client, context.mesh, name)}")
    lines = [f"Hub: {hub['id']}", f"Zone: {hub.get('zone') or ''}", "Ports:"]
    lines += [table(("NAME", "STATUS", "PING"), [_port(port) for port in hub.get("ports", ())], indent="  ")]
    lines += [_peers(hub.get("peers") or ()), "Load:", _load(hub, "agents"), _load(hub, "sessions")]
    lines += [f"Attached: {'Yes' if hub.get('connected') else 'No'}", "Version:", version_table(hub.get("version"))]
    return Description(hub, "\n".join(lines), str(hub["id"]))


def _port(port: dict[str, Any]) -> tuple[object, ...]:
    online, ping = port.get("online"), port.get("ping")
    return port.get("name"), "Online" if online else "Offline", MISSING if ping is None else f"{ping:g}ms"


def _peers(peers: Any) -> str:
    if not peers:
        return "Peers: (no peers)"
    rows = [
        (
            peer.get("id"),
            peer.get("zone"),
            ", ".join(map(str, peer.get("ports") or ())),
            "Connected" if peer.get("connected") else "Disconnected",
        )
        for peer in peers
    ]
    return "Peers:\n" + table(("ID", "ZONE", "PORTS", "STATE"), rows, indent="  ")


def _load(hub: dict[str, Any], what: str) -> str:
    load, capacity = hub.get("load") or {}, hub.get("capacity") or {}
    return f"  {what.capitalize()}: {load.get(what, 0)}/{capacity.get(what, MISSING)}"


def version_table(version: Mapping[str, Any] | None) -> str:
    """What a hub or endpoint runs, as the indented table of `describe`."""
    parts = {name: (version or {}).get(name) or {} for name in ("ztm", "pipy")}
    rows = [
        (name, *(part.get(field) or MISSING for field in ("edition", "tag", "commit", "date")))
        for name, part in parts.items()
    ]
    return table(("", "EDITION", "TAG", "COMMIT", "DATE"), rows, indent="  ")
