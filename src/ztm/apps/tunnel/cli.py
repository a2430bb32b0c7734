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
from ztm.apps.tunnel.shown import ALL_ENDPOINTS, end_lines, listen, target, tunnel_lines, users
from ztm.errors import NotFoundError, RefusedError, UsageError
from ztm.model import Address, check_name
from ztm.wire.paths import encode

EVERYONE = "*"
"""Given as a user, it opens an outbound to every user of the mesh."""
OWN_EXITS = "(own user)"
IDLE = Option("--idle-timeout", "<seconds>", "UDP only: forget a sender after this silence (default 60)")
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

    wide, wide_cells = _WIDE[kind]
    await context.show(Listing(found, headings, row, wide, wide_cells, name=_full_name), arguments)


def _full_name(one: Mapping[str, Any]) -> str:
    return f"{one['protocol']}/{one['name']}"


def _tunnel_cells(tunnel: Mapping[str, Any], names: dict[str, str]) -> tuple[str, ...]:  # noqa: ARG001
    return tuple(
        ", ".join(str(one.get("name") or one["id"]) for one in tunnel.get(end) or ()) for end in ("inbound", "outbound")
    )


def _inbound_cells(inbound: Mapping[str, Any], names: dict[str, str]) -> tuple[str, ...]:
    listens = ", ".join(listen(one) for one in inbound.get("listens") or ())
    return listens, ", ".join(names.get(id_) or id_ for id_ in inbound.get("exits") or ()) or ALL_ENDPOINTS


def _outbound_cells(outbound: Mapping[str, Any], names: dict[str, str]) -> tuple[str, ...]:
    targets = ", ".join(target(one) for one in outbound.get("targets") or ())
    return targets, ", ".join(names.get(id_) or id_ for id_ in outbound.get("entrances") or ()) or ALL_ENDPOINTS


def _trusted(inbound: Mapping[str, Any]) -> tuple[str, ...]:
    return (", ".join(inbound.get("fromUsers") or ()) or OWN_EXITS, *_traffic(inbound))


def _allowed(outbound: Mapping[str, Any]) -> tuple[str, ...]:
    return (", ".join(users(dict(outbound))), *_traffic(outbound))


def _traffic(end: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str((end.get("traffic") or {}).get(field, "")) for field in ("open", "total", "sent", "received"))


_TRAFFIC = ("OPEN", "TOTAL", "SENT", "RECEIVED")
_WIDE: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], tuple[str, ...]]]] = {
    "tunnel": ((), lambda _one: ()),
    "inbound": (("EXITS OF", *_TRAFFIC), _trusted),
    "outbound": (("USERS", *_TRAFFIC), _allowed),
}
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
    lines = await (tunnel_lines(context, found) if kind == "tunnel" else end_lines(context, kind, found))
    shown = await context.named("\n".join([f"{kind.capitalize()} {protocol}/{name}", *lines]))
    await context.show(Description(found, shown, f"{protocol}/{name}"), arguments)


async def open_inbound(context: AppCommand, arguments: Arguments) -> None:
    """Create or replace an inbound.

    Raises:
        NotFoundError: an exit does not exist.
        RefusedError: it is stored, and an address cannot be listened on.
    """
    protocol, name = _protocol_and_name(arguments, "inbound")
    listens = [_listen_address(text) for text in _required(arguments, "--listen")]
    body: dict[str, object] = {"listens": listens, "exits": await _endpoint_ids(context, arguments.values("--exits"))}
    if trusted := arguments.values("--from-users"):
        body["fromUsers"] = list(trusted)
    body |= _idle(arguments)
    path = _path(context, "inbound", protocol, name)
    stored = await context.api("POST", path, body)
    failed = [one for one in _listens(stored) if one.get("open") is False or one.get("error")]
    if failed:
        raise RefusedError(f"inbound '{protocol}/{name}' is stored, but {', '.join(map(listen, failed))}")


def _idle(arguments: Arguments) -> dict[str, int]:
    return {"idleTimeout": arguments.number(IDLE.name, 60, 1)} if arguments.flag(IDLE.name) else {}


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
    named = arguments.values("--users")
    if named:
        # An empty list means everyone to the app, and to v1 (spec apps-network 1.3).
        body["users"] = [] if EVERYONE in named else [check_name("user", user) for user in named]
    body |= _idle(arguments)
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
            IDLE,
        ),
    ),
    Command(
        usage="open outbound|out <proto/name>",
        title="Open an exit, which dials its targets",
        run=open_outbound,
        options=(
            Option("--targets", "<host:port ...>", "What to dial (default host 127.0.0.1)"),
            Option("--entrances", "<endpoint ...>", "Serve these entrances only (default: any)"),
            Option("--users", "<username ...>", "Serve these users too; '*' is every user of the mesh"),
            IDLE,
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
