"""`ztm proxy ...`: configuring the proxy of an endpoint, its rules, and looking at exits.

It only asks the app's API; what a target or a rule may be is decided there. A password or token is read from the
caller's terminal or pipe, and printed nowhere.

Source: spec apps-network 2.1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ztm.apps.command import AppCommand, AppCommands
from ztm.apps.formats import NO_HEADERS, OUTPUT, Description, Listing
from ztm.apps.grammar import Arguments, Command, Option
from ztm.errors import BrokenStreamError, ConflictError, NotFoundError, RefusedError, UsageError

EVERYONE = "*"
SWITCH = ("on", "off")
_MAX_SECRET = 4096
NOTES = """A proxy listens for clients on one endpoint and leads them to exits: endpoints that have targets.

Targets and exclusions are names (example.org), patterns (*.example.org, or * for every name),
addresses and networks (10.0.0.0/8). A name is also excluded where it leads to an excluded address.
On another endpoint of yours: ztm ep NAME proxy ..."""


async def config(context: AppCommand, arguments: Arguments) -> None:
    """Print the configuration of the proxy, after changing it as the options say.

    Raises:
        UsageError: an option's value is malformed.
        RefusedError: it is saved, and its port cannot be listened on; or the endpoint, of v1, knows no such option.
    """
    path = _path(context, "config")
    found: dict[str, Any] = await context.api("GET", path)
    if any(one for one in arguments.options if one != OUTPUT.name):
        body = await _changed(context, arguments, found)
        found = await context.api("POST", path, body) or await context.api("GET", path)
    names = f"{context.endpoint.name}"
    await context.show(Description(found, "\n".join(_lines(context, found)), names), arguments)
    failed = [one for one in found.get("listening") or () if one.get("error")]
    if failed and arguments.flag("--set-listen"):
        raise RefusedError(f"saved, but the proxy cannot listen yet, and tries again: {failed[0]['error']}")


async def _changed(context: AppCommand, arguments: Arguments, found: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration to ask for."""
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
    await _change_secrets(context, arguments, body)
    return body


async def _change_secrets(context: AppCommand, arguments: Arguments, body: dict[str, Any]) -> None:
    if arguments.flag("--unset-auth"):
        if arguments.flag("--set-auth"):
            raise arguments.error("options --set-auth and --unset-auth exclude each other")
        body["auth"] = None
    if (user := arguments.value("--set-auth")) is not None:
        body["auth"] = {"user": user, "password": await _secret(context, f"Password for proxy user {user}: ")}
    kind = arguments.value("--set-log")
    if kind is not None:
        body["log"] = await _log(context, arguments, kind)
    elif any(arguments.flag(one) for one in ("--log-address", "--log-token", "--log-file")):
        raise arguments.error("options --log-address, --log-token and --log-file need --set-log")


async def _log(context: AppCommand, arguments: Arguments, kind: str) -> dict[str, Any] | None:
    match kind:
        case "off":
            return None
        case "file":
            return {"file": {"name": arguments.value("--log-file") or "requests.log"}}
        case "splunk":
            made: dict[str, Any] = {"address": arguments.require("--log-address")}
            if arguments.flag("--log-token"):
                made["token"] = arguments.value("--log-token") or await _secret(context, "Splunk token: ")
            return {"splunk": made}
    raise arguments.error(f"invalid value {kind!r} for option --set-log (splunk, file or off)")


def _merged(now: Iterable[str], added: Iterable[str], removed: Iterable[str], what: str) -> list[str]:
    kept = list(dict.fromkeys(now))
    for one in removed:
        if one not in kept:
            raise NotFoundError(f"{one!r} is not one of the {what}")
        kept.remove(one)
    return list(dict.fromkeys([*kept, *added]))


async def _secret(context: AppCommand, prompt: str) -> str:
    """One line that the caller types unseen, or pipes in.

    Raises:
        UsageError: there is none, or it is too long.
        BrokenStreamError: the caller went away.
    """
    console = context.console
    is_typed = console.window is not None
    if is_typed:
        await console.complain(prompt.encode())
        await console.pass_keys(raw=True)
    typed = b""
    try:
        while not any(end in typed for end in (b"\n", b"\r", b"\x04")):
            data = await console.read()
            if not data:
                break
            typed += data
            if b"\x03" in data or len(typed) > _MAX_SECRET:
                raise UsageError("cancelled" if b"\x03" in data else "that is too long for a secret")
    finally:
        if is_typed:
            await console.pass_keys(raw=False)
            await console.complain(b"\n")
    line = typed.replace(b"\r", b"\n").replace(b"\x04", b"\n").split(b"\n")[0]
    secret = _edited(line) if is_typed else line
    if not secret:
        raise UsageError("nothing was given: type the secret, or pipe it into standard input")
    return secret.decode("utf-8", "replace")


def _edited(line: bytes) -> bytes:
    """What remains of typed keys where some rubbed out others."""
    kept = ""
    for key in line.decode("utf-8", "replace"):
        kept = kept[:-1] if key in "\x7f\b" else kept + key
    return kept.encode()


def _lines(context: AppCommand, found: Mapping[str, Any]) -> list[str]:
    lines = [f"Endpoint: {context.endpoint}", f"Listen: {_listen(found)}"]
    if auth := found.get("auth"):
        lines.append(f"Clients Sign In As: {auth['user']}")
    if found.get("fromUsers"):
        lines += ["Also Exits Of:", *(f"  {_user(one)}" for one in found["fromUsers"])]
    targets = found.get("targets") or ()
    lines += ["Targets:", *(f"  {one}" for one in targets or ("(not an exit)",))]
    if found.get("exclusions"):
        lines += ["Excluded Targets:", *(f"  {one}" for one in found["exclusions"])]
    if targets and "users" in found:
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


def _listen(found: Mapping[str, Any]) -> str:
    errors = [one["error"] for one in found.get("listening") or () if one.get("error")]
    listen = found.get("listen") or "(not listening)"
    return f"{listen} (not open: {errors[0]})" if errors else str(listen)


def _log_lines(log: Mapping[str, Any] | None) -> list[str]:
    if log and (splunk := log.get("splunk")):
        return ["Logging:", "  Target: splunk", f"  Address: {splunk['address']}", "  Token: (set)"]
    if log and (file := log.get("file")):
        return ["Logging:", "  Target: file", f"  File: {file['name']}"]
    return ["Logging: Off"]


def _user(name: str) -> str:
    return "(all users)" if name == EVERYONE else name


# ---------------------------------------------------------------------- rules


async def rules(context: AppCommand, arguments: Arguments) -> None:
    """Print the rules of the exit, after changing one if an index is given.

    Raises:
        NotFoundError: there is no such rule, or no such group.
        UsageError: an option's value is malformed.
    """
    path = _path(context, "config")
    found: dict[str, Any] = await context.api("GET", path)
    if arguments.flag("--index"):
        body = {name: found.get(name) for name in ("listen", "targets", "exclusions", "generateCert", "log")}
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


# ---------------------------------------------------------------------- looking


async def authority(context: AppCommand, arguments: Arguments) -> None:  # noqa: ARG001
    """Print the certificate by which the certificates of the exit are signed.

    Raises:
        NotFoundError: the exit generates none.
    """
    found = await context.api("GET", _path(context, "ca"))
    await context.out(str(found["certificate"]).rstrip())


async def exits(context: AppCommand, arguments: Arguments) -> None:
    """Print the exits that the endpoint knows, and how they fared."""
    found: list[dict[str, Any]] = await context.api("GET", _path(context, "exits")) or []
    names = await _endpoint_names(context) if found else {}

    def row(one: Mapping[str, Any]) -> tuple[object, ...]:
        seconds = one.get("seconds")
        held = one.get("heldOff")
        return (
            names.get(one["endpoint"]) or one["endpoint"],
            one["user"],
            ", ".join(one.get("targets") or ()),
            "" if seconds is None else f"{seconds * 1000:.1f} ms",
            "" if held is None else f"{held:.0f} s",
            one.get("lastError"),
        )

    headings = ("EXIT", "USER", "TARGETS", "TIME", "HELD OFF", "LAST ERROR")
    await context.show(Listing(found, headings, row, name=lambda one: str(one["endpoint"])), arguments)


async def _endpoint_names(context: AppCommand) -> dict[str, str]:
    try:
        return await context.endpoint_names()
    except BrokenStreamError:
        raise
    except RefusedError:
        return {}


def _path(context: AppCommand, what: str) -> str:
    return f"/api/endpoints/{context.endpoint.id}/{what}"


COMMANDS: AppCommands = (
    Command(
        usage="config",
        title="Show the proxy's configuration, or change it",
        run=config,
        options=(
            Option("--set-listen", "[[ip:]port]", "Listen for clients there (default ip 127.0.0.1); without: nowhere"),
            Option("--add-target", "<target ...>", "Be an exit for these"),
            Option("--remove-target", "<target ...>", "No longer be an exit for these"),
            Option("--add-exclusion", "<target ...>", "Never be an exit for these"),
            Option("--remove-exclusion", "<target ...>", "Exclude these no longer"),
            Option("--users", "<username ...>", "Let these use the exit, besides its owner ('*': all; '': none)"),
            Option("--from-users", "<username ...>", "Also use exits of these users ('*': anyone; '': only your own)"),
            Option("--set-auth", "<user>", "Ask clients for this user name and a password, which is read from input"),
            Option("--unset-auth", "", "Ask clients for no password"),
            Option("--gen-cert", "<on|off>", "Open TLS at the exit, with certificates of its own", "", SWITCH),
            Option("--set-origin-ca", "[file]", "Further certificates that origins may be signed by"),
            Option("--set-log", "<where>", "Log requests: splunk, file or off", "", ("splunk", "file", "off")),
            Option("--log-address", "<host:port>", "Splunk's collector; https unless http:// is written"),
            Option("--log-token", "[token]", "Splunk's token; without a value it is read from input"),
            Option("--log-file", "<name>", "File in the app's own directory (default requests.log)"),
            OUTPUT,
        ),
        notes=NOTES,
    ),
    Command(
        usage="rules",
        title="Show the rules of an exit, or change one",
        run=rules,
        options=(
            Option("--index", "<number>", "The rule to replace; the number after the last appends"),
            Option("--insert", "", "Insert before that rule instead"),
            Option("--delete", "", "Delete that rule instead"),
            Option("--users", "<username ...>", "For these users only"),
            Option("--groups", "<group ...>", "For the members of these groups only"),
            Option("--targets", "<target ...>", "For these destinations only"),
            Option("--action", "<allow|deny>", "What is done", "", ("allow", "deny")),
            OUTPUT,
            NO_HEADERS,
        ),
        notes="The first rule that fits decides; without one, whoever may use the exit is let through.",
    ),
    Command(usage="ca", title="Print the certificate of the exit's authority", run=authority),
    Command(
        usage="get exits", title="List the exits known, and how they fare", run=exits, options=(OUTPUT, NO_HEADERS)
    ),
)
