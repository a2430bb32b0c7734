"""`ztm tunnel ...`: showing, opening and closing the ends of tunnels on an endpoint.

It only asks the app's API; whether a listen or a target works is decided and checked by the app.

Source: spec apps-network.md sections 1.1 and 1.2.
"""

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from ztm.apps.command import AppCommand, AppCommands
from ztm.apps.formats import NO_HEADERS, OUTPUT, Description, Listing
from ztm.apps.grammar import Arguments, Command, Option
from ztm.errors import NotFoundError, RefusedError, UsageError
from ztm.model import Address, check_name
from ztm.wire.paths import encode

EVERYONE = "*"
"""Given as a user, it opens an outbound to every user of the mesh."""
ALL_ENDPOINTS, ALL_USERS = "(all endpoints)", "(all users)"
KINDS = {"inbound": "inbound", "in": "inbound", "outbound": "outbound", "out": "outbound"} | dict.fromkeys(
    ("tunnel", "tunnels", "tun"), "tunnel"
)
NOTES = """Object types:

  inbound   in            Where a tunnel is entered: it listens
  outbound  out           Where a tunnel ends: it dials its targets
  tunnel    tunnels, tun  Both ends on all endpoints, for get and describe

Names are tcp/NAME or udp/NAME; ends of the same name belong together.
On another endpoint of yours: ztm ep NAME tunnel ..."""


async def get(context: AppCommand, arguments: Arguments) -> None:
    """Print the tunnels of the mesh, or the ends on the chosen endpoint."""
    kind = _kind(arguments, "get", KINDS)
    path = "/api/tunnels" if kind == "tunnel" else f"/api/endpoints/{context.endpoint.id}/{kind}"
    found: list[dict[str, Any]] = await context.api("GET", path) or []
    headings, cells = _COLUMNS[kind]
    # Only ids need looking up: a list without any costs no second request.
    names = await context.endpoint_names() if any(one.get("exits") or one.get("entrances") for one in found) else {}

    def row(one: Mapping[str, Any]) -> tuple[object, ...]:
        return (_full_name(one), *cells(one, names))

    await context.show(Listing(found, headings, row, name=_full_name), arguments)


def _full_name(one: Mapping[str, Any]) -> str:
    return f"{one['protocol']}/{one['name']}"


def _tunnel_cells(tunnel: Mapping[str, Any], names: dict[str, str]) -> tuple[str, ...]:  # noqa: ARG001
    return tuple(
        ", ".join(str(one.get("name") or one["id"]) for one in tunnel.get(end) or ()) for end in ("inbound", "outbound")
    )


def _inbound_cells(inbound: Mapping[str, Any], names: dict[str, str]) -> tuple[str, ...]:
    listens = ", ".join(_listen(one) for one in inbound.get("listens") or ())
    return listens, ", ".join(names.get(id_) or id_ for id_ in inbound.get("exits") or ()) or ALL_ENDPOINTS


def _outbound_cells(outbound: Mapping[str, Any], names: dict[str, str]) -> tuple[str, ...]:
    targets = ", ".join(_target(one) for one in outbound.get("targets") or ())
    return targets, ", ".join(names.get(id_) or id_ for id_ in outbound.get("entrances") or ()) or ALL_ENDPOINTS


_Cells = Callable[[Mapping[str, Any], dict[str, str]], tuple[str, ...]]
_COLUMNS: dict[str, tuple[tuple[str, ...], _Cells]] = {
    "tunnel": (("NAME", "INBOUND", "OUTBOUND"), _tunnel_cells),
    "inbound": (("NAME", "LISTENS", "EXITS"), _inbound_cells),
    "outbound": (("NAME", "TARGETS", "ENTRANCES"), _outbound_cells),
}


async def describe(context: AppCommand, arguments: Arguments) -> None:
    """Print all about one tunnel, or about its end on the chosen endpoint.

    Raises:
        NotFoundError: there is none of that name.
    """
    kind = _kind(arguments, "describe", KINDS)
    protocol, name = _protocol_and_name(arguments, kind)
    found = await _find(context, kind, protocol, name)
    lines = _tunnel_lines(found) if kind == "tunnel" else await _end_lines(context, kind, found)
    title = f"{kind.capitalize()} {protocol}/{name}"
    await context.show(Description(found, "\n".join([title, *lines]), f"{protocol}/{name}"), arguments)


def _tunnel_lines(tunnel: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for end in ("inbound", "outbound"):
        ends = [f"  {one.get('name') or '(unknown)'} ({one['id']})" for one in tunnel.get(end) or ()]
        lines += [f"{end.capitalize()}:", *(ends or ["  (none)"])]
    return lines


async def _end_lines(context: AppCommand, kind: str, end: dict[str, Any]) -> list[str]:
    lines = [f"Endpoint: {context.endpoint}"]
    if kind == "inbound":
        lines += ["Listens:", *(f"  {_listen(one)}" for one in end.get("listens") or ())]
        lines += ["Exits:", *await _endpoint_lines(context, end.get("exits"))]
        if end.get("fromUsers"):
            lines += ["Also Exits Of:", *(f"  {user}" for user in end["fromUsers"])]
    else:
        lines += ["Targets:", *(f"  {_target(one)}" for one in end.get("targets") or ())]
        lines += ["Entrances:", *await _endpoint_lines(context, end.get("entrances"))]
        lines += ["Users:", *(f"  {user}" for user in end.get("users") or (ALL_USERS,))]
    if traffic := end.get("traffic"):
        lines.append("Traffic: {open} open, {total} in all, {sent} bytes sent, {received} received".format(**traffic))
    last = _reason(end, "lastError") or _reason(end, "error")
    return [*lines, f"Last Error: {last}"] if last else lines


async def _endpoint_lines(context: AppCommand, ids: list[str] | None) -> list[str]:
    if not ids:
        return [f"  {ALL_ENDPOINTS}"]
    names = await context.endpoint_names()
    return [f"  {names[id_]} ({id_})" if names.get(id_) else f"  {id_}" for id_ in ids]


def _listen(listen: dict[str, Any]) -> str:
    """An address listened on; one that is not open says why."""
    address = str(Address(str(listen["ip"]), int(listen["port"])))
    if listen.get("open", True) and not listen.get("error"):
        return address
    return f"{address} (not open{': ' if listen.get('error') else ''}{_reason(listen, 'error')})"


def _target(target: dict[str, Any]) -> str:
    """An address dialled; one that failed lately says why."""
    address = str(Address(str(target["host"]), int(target["port"])))
    reason = _reason(target, "error") or _reason(target, "lastError")
    return f"{address} (failed: {reason})" if reason else address


def _reason(fields: dict[str, Any], key: str) -> str:
    """The text of an error field, which may be a text or ``{time, message}``."""
    error = fields.get(key)
    if isinstance(error, dict):
        return " ".join(str(error[part]) for part in ("time", "message") if error.get(part))
    return str(error or "")


async def open_inbound(context: AppCommand, arguments: Arguments) -> None:
    """Create or replace an inbound.

    Raises:
        NotFoundError: an exit does not exist.
        RefusedError: it is stored, and an address cannot be listened on.
    """
    protocol, name = _protocol_and_name(arguments, "inbound")
    listens = [_listen_address(text) for text in _required(arguments, "--listen")]
    body = {"listens": listens, "exits": await _endpoint_ids(context, arguments.values("--exits"))}
    if users := arguments.values("--from-users"):
        body["fromUsers"] = list(users)
    path = _path(context, "inbound", protocol, name)
    stored = await context.api("POST", path, body)
    failed = [one for one in _listens(stored) if one.get("open") is False or one.get("error")]
    if failed:
        raise RefusedError(f"inbound '{protocol}/{name}' is stored, but {', '.join(map(_listen, failed))}")


def _listens(stored: Any) -> list[dict[str, Any]]:
    return stored.get("listens") or [] if isinstance(stored, dict) else []


async def open_outbound(context: AppCommand, arguments: Arguments) -> None:
    """Create or replace an outbound. Without ``--users`` the app decides who may use it.

    Raises:
        NotFoundError: an entrance does not exist.
    """
    protocol, name = _protocol_and_name(arguments, "outbound")
    targets = [Address.parse(text, "127.0.0.1") for text in _required(arguments, "--targets")]
    body: dict[str, object] = {"targets": [{"host": one.host, "port": one.port} for one in targets]}
    body["entrances"] = await _endpoint_ids(context, arguments.values("--entrances"))
    users = arguments.values("--users")
    if users:
        # An empty list means everyone to the app, and to v1 (spec apps-network 1.3).
        body["users"] = [] if EVERYONE in users else [check_name("user", user) for user in users]
    await context.api("POST", _path(context, "outbound", protocol, name), body)


async def close(context: AppCommand, arguments: Arguments) -> None:
    """Remove an inbound or outbound.

    Raises:
        NotFoundError: there is none of that name.
    """
    kind = _kind(arguments, "close", {word: kind for word, kind in KINDS.items() if kind != "tunnel"})
    protocol, name = _protocol_and_name(arguments, kind)
    await _find(context, kind, protocol, name)
    await context.api("DELETE", _path(context, kind, protocol, name))


async def _find(context: AppCommand, kind: str, protocol: str, name: str) -> dict[str, Any]:
    """The object called so; an agent may answer an unknown name with 404, nothing, or empty lists."""
    try:
        found = await context.api("GET", _path(context, kind, protocol, name))
    except NotFoundError:
        found = None
    if not found or (kind == "tunnel" and not found.get("inbound") and not found.get("outbound")):
        where = f"in mesh '{context.mesh}'" if kind == "tunnel" else f"on endpoint '{context.endpoint.name}'"
        raise NotFoundError(f"{kind} '{protocol}/{name}' not found {where} (see 'ztm tunnel get {kind}')")
    return dict(found)


def _path(context: AppCommand, kind: str, protocol: str, name: str) -> str:
    end = f"{protocol}/{encode(name)}"
    return f"/api/tunnels/{end}" if kind == "tunnel" else f"/api/endpoints/{context.endpoint.id}/{kind}/{end}"


def _kind(arguments: Arguments, command: str, kinds: dict[str, str]) -> str:
    word = arguments.word("object type")
    if word not in kinds:
        choices = ", ".join(dict.fromkeys(kinds.values()))
        raise arguments.error(f"invalid object type '{word}' for command '{command}' ({choices})")
    return kinds[word]


def _protocol_and_name(arguments: Arguments, kind: str) -> tuple[str, str]:
    word = arguments.word("proto/name")
    protocol, slash, name = word.partition("/")
    if protocol not in ("tcp", "udp") or not slash:
        raise arguments.error(f"invalid {kind} name '{word}' (write tcp/NAME or udp/NAME)")
    return protocol, check_name(kind, name)


def _required(arguments: Arguments, option: str) -> tuple[str, ...]:
    values = arguments.values(option)
    if not values:
        raise arguments.error(f"option '{option}' is required")
    return values


def _listen_address(text: str) -> dict[str, object]:
    address = Address.parse(text, "127.0.0.1")
    try:
        ip_address(address.host)
    except ValueError:
        raise UsageError(
            f"malformed IP address '{address.host}' in '{text}' (listen on an IP, as in 127.0.0.1:{address.port})"
        ) from None
    return {"ip": address.host, "port": address.port}


async def _endpoint_ids(context: AppCommand, words: tuple[str, ...]) -> list[str]:
    """Ids of the endpoints named; a full id stands for itself, so that it may be offline."""
    return [word if _is_id(word) else (await context.find_endpoint(word)).id for word in words]


def _is_id(word: str) -> bool:
    try:
        return str(UUID(word)) == word
    except ValueError:
        return False


COMMANDS: AppCommands = (
    Command(
        usage="get <object type>",
        title="List tunnels, or their ends on an endpoint",
        run=get,
        options=(OUTPUT, NO_HEADERS),
        choices={"object type": tuple(KINDS)},
        notes=NOTES,
    ),
    Command(
        usage="describe <object type> <proto/name>",
        title="Show all about a tunnel, or about its end on an endpoint",
        run=describe,
        options=(OUTPUT,),
        choices={"object type": tuple(KINDS)},
        notes=NOTES,
    ),
    Command(
        usage="open inbound|in <proto/name>",
        title="Open an entrance, which listens",
        run=open_inbound,
        options=(
            Option("--listen", "<[ip:]port ...>", "Where to listen (default ip 127.0.0.1)"),
            Option(
                "--from-users", "<username ...>", "Also use exits of these users ('*': anyone; default: only your own)"
            ),
            Option("--exits", "<endpoint ...>", "Use these exits only (default: any that has the outbound)"),
        ),
    ),
    Command(
        usage="open outbound|out <proto/name>",
        title="Open an exit, which dials its targets",
        run=open_outbound,
        options=(
            Option("--targets", "<host:port ...>", "What to dial (default host 127.0.0.1)"),
            Option("--entrances", "<endpoint ...>", "Serve these entrances only (default: any)"),
            Option("--users", "<username ...>", "Serve these users only; '*' is every user of the mesh"),
        ),
    ),
    Command(
        usage="close <object type> <proto/name>",
        title="Close an entrance or exit",
        run=close,
        notes=NOTES,
        choices={"object type": tuple(word for word, kind in KINDS.items() if kind != "tunnel")},
    ),
)
