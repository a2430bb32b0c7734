"""The configuration of a proxy as text for people; it holds no secret."""

from collections.abc import Mapping
from typing import Any

from ztm.apps.command import AppCommand
from ztm.apps.text import not_open

EVERYONE = "*"


def lines(context: AppCommand, found: Mapping[str, Any]) -> list[str]:
    """All that the caller may see of it."""
    if is_for_others(found):
        return [f"Endpoint: {context.endpoint}", *_served(found), "(its owner sees more of it)"]
    lines = [f"Endpoint: {context.endpoint}", f"Listen: {_listen(found)}"]
    if auth := found.get("auth"):
        lines.append(f"Clients Sign In As: {auth['user']}")
    if found.get("fromUsers"):
        lines += ["Also Exits Of:", *(f"  {_user(one)}" for one in found["fromUsers"])]
    lines += _served(found)
    if found.get("targets") and "users" in found:
        lines += ["Users:", *(f"  {_user(one)}" for one in found["users"] or ("(owner only)",))]
    lines.append(f"Generate Certificate: {'On (TLS is opened at this exit)' if found.get('generateCert') else 'Off'}")
    if found.get("originCa"):
        lines.append(f"Origin CA: {found['originCa']}")
    lines += _log_lines(found.get("log"))
    if traffic := found.get("traffic"):
        lines.append("Traffic: {open} open, {total} in all, {sent} bytes sent, {received} received".format(**traffic))
    if last := found.get("lastError"):
        lines.append(f"Last Error: {last['time']} {last['message']}")
    return lines


def is_for_others(found: Mapping[str, Any]) -> bool:
    """Whether this is all that an exit tells users who do not own it."""
    return set(found) == {"targets", "exclusions"}


def _served(found: Mapping[str, Any]) -> list[str]:
    lines = ["Targets:", *(f"  {one}" for one in found.get("targets") or ("(not an exit)",))]
    if found.get("exclusions"):
        lines += ["Excluded Targets:", *(f"  {one}" for one in found["exclusions"])]
    return lines


def _listen(found: Mapping[str, Any]) -> str:
    errors = [one["error"] for one in found.get("listening") or () if one.get("error")]
    listen = found.get("listen") or "(not listening)"
    return f"{listen} {not_open(errors[0])}" if errors else str(listen)


def _log_lines(log: Mapping[str, Any] | None) -> list[str]:
    if log and (splunk := log.get("splunk")):
        return ["Logging:", "  Target: splunk", f"  Address: {splunk['address']}", "  Token: (set)"]
    if log and (file := log.get("file")):
        return ["Logging:", "  Target: file", f"  File: {file['name']}"]
    return ["Logging: Off"]


def _user(name: str) -> str:
    return "(all users)" if name == EVERYONE else name
