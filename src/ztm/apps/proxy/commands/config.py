"""`ztm proxy config`: showing the configuration, and changing what the options name.

What a target may be is decided by the app's API. Source: spec apps-network 2.1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ztm.apps.command import AppCommand
from ztm.apps.formats import OUTPUT, Description
from ztm.apps.grammar import Arguments
from ztm.apps.proxy.commands.description import lines
from ztm.apps.proxy.commands.paths import app_path
from ztm.apps.proxy.commands.secret import read_secret
from ztm.apps.rewrite import change_config
from ztm.errors import NotFoundError, RefusedError

SWITCH = ("on", "off")


async def config(context: AppCommand, arguments: Arguments) -> None:
    """Print the configuration of the proxy, after changing it as the options say.

    Raises:
        UsageError: an option's value is malformed.
        RefusedError: it is saved, and its port cannot be listened on; or the endpoint, of v1, knows no such option.
    """
    path = app_path(context, "config")
    found: dict[str, Any] | None = None
    if any(one for one in arguments.options if one != OUTPUT.name):
        secrets = await _secrets(context, arguments)

        async def changed(now: dict[str, Any]) -> dict[str, Any]:
            return {**_changed(arguments, now), **secrets}

        found = await change_config(context, path, changed)
    found = found or await context.api("GET", path) or {}
    shown = await context.named("\n".join(lines(context, found)))
    await context.show(Description(found, shown, context.endpoint.name), arguments)
    failed = [one for one in found.get("listening") or () if one.get("error")]
    if failed and arguments.flag("--set-listen"):
        raise RefusedError(f"saved, but the proxy cannot listen yet, and tries again: {failed[0]['error']}")


def _changed(arguments: Arguments, found: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration to ask for, but for what may have to be typed."""
    kept = ("listen", "targets", "exclusions", "generateCert", "log", "rules")
    body = {name: found.get(name) for name in kept}
    if arguments.flag("--set-listen"):
        body["listen"] = arguments.value("--set-listen") or ""
    for field, added, removed in (
        ("targets", "--add-target", "--remove-target"),
        ("exclusions", "--add-exclusion", "--remove-exclusion"),
    ):
        body[field] = _merged(found.get(field) or (), arguments.values(added), arguments.values(removed), field)
    if (switch := arguments.value("--gen-cert")) is not None:
        if switch not in SWITCH:
            raise arguments.error(f"invalid value {switch!r} for option --gen-cert (on or off)")
        body["generateCert"] = switch == "on"
    if arguments.flag("--users"):
        body["users"] = [one for one in arguments.values("--users") if one]
    if arguments.flag("--from-users"):
        body["fromUsers"] = [one for one in arguments.values("--from-users") if one]
    if arguments.flag("--set-origin-ca"):
        body["originCa"] = arguments.value("--set-origin-ca") or ""
    return body


async def _secrets(context: AppCommand, arguments: Arguments) -> dict[str, Any]:
    """The fields that hold secrets, as far as they are to change; asked for once."""
    body: dict[str, Any] = {}
    if arguments.flag("--unset-auth"):
        if arguments.flag("--set-auth"):
            raise arguments.error("options --set-auth and --unset-auth exclude each other")
        body["auth"] = None
    if (user := arguments.value("--set-auth")) is not None:
        body["auth"] = {"user": user, "password": await read_secret(context, f"Password for proxy user {user}: ")}
    kind = arguments.value("--set-log")
    if kind is not None:
        body["log"] = await _log(context, arguments, kind)
    elif any(arguments.flag(one) for one in ("--log-address", "--log-token", "--log-file")):
        raise arguments.error("options --log-address, --log-token and --log-file need --set-log")
    return body


async def _log(context: AppCommand, arguments: Arguments, kind: str) -> dict[str, Any] | None:
    match kind:
        case "off":
            return None
        case "file":
            return {"file": {"name": arguments.value("--log-file") or "requests.log"}}
        case "splunk":
            made: dict[str, Any] = {"address": arguments.require("--log-address")}
            if arguments.flag("--log-token"):
                made["token"] = arguments.value("--log-token") or await read_secret(context, "Splunk token: ")
            return {"splunk": made}
    raise arguments.error(f"invalid value {kind!r} for option --set-log (splunk, file or off)")


def _merged(now: Iterable[str], added: Iterable[str], removed: Iterable[str], what: str) -> list[str]:
    kept = list(dict.fromkeys(now))
    for one in removed:
        if one not in kept:
            raise NotFoundError(f"{one!r} is not one of the {what}")
        kept.remove(one)
    return list(dict.fromkeys([*kept, *added]))
