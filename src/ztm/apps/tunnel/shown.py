"""How `ztm tunnel describe` writes a tunnel and its ends: addresses, who is allowed, health, traffic and reasons.

It asks for what an end does not say itself; an end that does not answer is shown with the reason.
"""

from typing import Any

from ztm.apps.command import AppCommand
from ztm.apps.text import not_open
from ztm.errors import ZtmError
from ztm.model import Address
from ztm.wire.paths import encode

ALL_ENDPOINTS, ALL_USERS, OWNER_ONLY = "(all endpoints)", "(all users)", "(owner only)"

Fields = dict[str, Any]
Names = dict[str, str]


async def end_lines(context: AppCommand, kind: str, end: Fields) -> list[str]:
    """An inbound or outbound (`kind`) of the chosen endpoint."""
    has_ids = any(end.get(field) for field in ("exits", "entrances", "health"))
    names = await context.endpoint_names() if has_ids else {}
    return [f"Endpoint: {context.endpoint}", *_end(kind, end, names)]


async def tunnel_lines(context: AppCommand, tunnel: Fields) -> list[str]:
    """A tunnel with both ends on all endpoints; what the own ones are like is asked of each of them."""
    path = f"{tunnel['protocol']}/{encode(tunnel['name'])}"
    ends = [(kind, one) for kind in ("inbound", "outbound") for one in tunnel.get(kind) or ()]
    from asyncio import gather  # the command line reads this file for its help, and has no use for a loop

    details = await gather(*(_details(context, kind, one["id"], path) for kind, one in ends))
    names = {str(one["id"]): str(one.get("name") or one["id"]) for _, one in ends}
    lines: list[str] = []
    for kind in ("inbound", "outbound"):
        lines.append(f"{kind.capitalize()}:")
        found = [(one, detail) for (end, one), detail in zip(ends, details, strict=True) if end == kind]
        for one, detail in found:
            lines.append(f"  {one.get('name') or '(unknown)'} ({one['id']})")
            told = [f"({detail})"] if isinstance(detail, str) else _end(kind, detail, names)
            lines += [f"    {line}" for line in told]
        if not found:
            lines.append("  (none)")
    return lines


async def _details(context: AppCommand, kind: str, endpoint: str, path: str) -> Fields | str:
    """All about one end, or why it is not to be had."""
    try:
        found = await context.api("GET", f"/api/endpoints/{endpoint}/{kind}/{path}")
    except ZtmError as error:
        return " ".join(str(error).split())
    return found if isinstance(found, dict) else "it tells nothing"


def _end(kind: str, end: Fields, names: Names) -> list[str]:
    lines = _inbound(end, names) if kind == "inbound" else _outbound(end, names)
    if end.get("idleTimeout"):
        lines.append(f"Idle Timeout: {end['idleTimeout']} s")
    if traffic := end.get("traffic"):
        lines.append("Traffic: {open} open, {total} in all, {sent} bytes sent, {received} received".format(**traffic))
    last = _reason(end, "lastError") or _reason(end, "error")
    return [*lines, f"Last Error: {last}"] if last else lines


def _inbound(end: Fields, names: Names) -> list[str]:
    lines = ["Listens:", *(f"  {listen(one)}" for one in end.get("listens") or ())]
    lines += ["Exits:", *_endpoints(end.get("exits"), names)]
    if end.get("fromUsers"):
        lines += ["Also Exits Of:", *(f"  {user}" for user in end["fromUsers"])]
    if "health" in end:
        lines += ["Health:", *(f"  {_health(one, names)}" for one in end["health"] or ())]
        lines += [] if end["health"] else ["  (no exit is known)"]
    return lines


def _outbound(end: Fields, names: Names) -> list[str]:
    lines = ["Targets:", *(f"  {_target(one)}" for one in end.get("targets") or ())]
    lines += ["Entrances:", *_endpoints(end.get("entrances"), names)]
    return [*lines, "Users:", *(f"  {user}" for user in users(end))]


def users(outbound: Fields) -> list[str]:
    """Who may use an outbound, or in brackets that it is everyone, or nobody but its owner."""
    named = outbound.get("users") or [ALL_USERS]
    return [OWNER_ONLY] if named == [outbound.get("owner")] else list(named)


def _endpoints(ids: list[str] | None, names: Names) -> list[str]:
    if not ids:
        return [f"  {ALL_ENDPOINTS}"]
    return [f"  {_endpoint(id_, names)}" for id_ in ids]


def _endpoint(id_: str, names: Names) -> str:
    return f"{names[id_]} ({id_})" if names.get(id_) else id_


def _health(exit_: Fields, names: Names) -> str:
    reason = _reason(exit_, "error")
    return f"{_endpoint(exit_['id'], names)}: {exit_['state']}{': ' if reason else ''}{reason}"


def listen(one: Fields) -> str:
    """An address listened on; one that is not open says why."""
    address = str(Address(str(one["ip"]), int(one["port"])))
    if one.get("open", True) and not one.get("error"):
        return address
    return f"{address} {not_open(_reason(one, 'error'))}"


def target(one: Fields) -> str:
    """An address dialled; one that failed lately says why."""
    return _target({**one, "state": "" if one.get("state") == "healthy" else one.get("state")})


def _target(one: Fields) -> str:
    """An address dialled; how it is doing, and why it failed if it did last."""
    address = str(Address(str(one["host"]), int(one["port"])))
    reason = _reason(one, "error") or _reason(one, "lastError")
    state = str(one.get("state") or ("failed" if reason else ""))
    said = f"{state}: {reason}" if reason else state
    return f"{address} ({said})" if said else address


def _reason(fields: Fields, key: str) -> str:
    """The text of an error field, which may be a text or ``{time, message}``."""
    error = fields.get(key)
    if isinstance(error, dict):
        return " ".join(str(error[part]) for part in ("time", "message") if error.get(part))
    return str(error or "")
