"""`ztm port ...`: showing, setting and deleting the ports and the access list of an endpoint.

It reads the whole configuration, changes one entry and writes it back, as the app's API has it; what is allowed is
decided and checked by the app.

Source: spec apps-network 6.
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from ztm.apps.command import AppCommand, AppCommands
from ztm.apps.formats import NO_HEADERS, OUTPUT, Listing
from ztm.apps.grammar import Arguments, Command, Option
from ztm.apps.rewrite import change_config
from ztm.apps.text import with_names
from ztm.errors import NotFoundError, RefusedError
from ztm.model import Address

Fields = dict[str, Any]

PROTOCOL = Option("--protocol", "<protocol>", "tcp or udp (default tcp)", "", ("tcp", "udp"))
LISTEN = Option("--listen", "<[ip:]port>", "Where to listen (default ip 127.0.0.1)")
ADDRESS = Option("--address", "<address>", "An IP address, a CIDR, a host name, *.NAME, or a pattern of names")
ALL_PORTS, ALL_USERS, NOBODY = "(all)", "(all users)", "(nobody)"
NOTES = """A port listens here, and its target is dialled by the endpoint given with --via, which may be this one.

The access list of an endpoint says which targets behind it other users may reach; without an entry, none. Its owner
may reach everything, except where an entry with --owner-too holds him to the list as well:

  ztm port set acl --address '.*' --owner-too                      Nobody reaches anything by TCP
  ztm port set acl --address 10.0.0.5 --port 5432 --users alice    ... but user alice this, owner or not

A host name is resolved once, and what it leads to is compared with the entries that are IP addresses.
A pattern must match the whole name; it has ( ) | [ ] * + ? and .* as in regular expressions, and a lone . is a dot.
Of another endpoint of yours: ztm ep NAME port ..."""


async def get_ports(context: AppCommand, arguments: Arguments) -> None:
    """Print the ports of the chosen endpoint, and how they are doing."""
    found: list[Fields] = await context.api("GET", f"{_base(context)}/ports") or []
    names = await context.endpoint_names() if found else {}

    def row(one: Mapping[str, Any]) -> tuple[object, ...]:
        via = str(one.get("via") or "")
        status, reason = _status(one)
        return (_protocol(one), one["listen"], names.get(via) or via, one["target"], status, with_names(reason, names))

    headings = ("PROTOCOL", "LISTEN", "VIA", "TARGET", "STATUS", "ERROR")
    listing = Listing(found, headings, row, _WIDE, _wide, lambda one: f"{_protocol(one)}/{one['listen']}")
    await context.show(listing, arguments)


_WIDE = ("OPEN", "TOTAL", "SENT", "RECEIVED", "IDLE")


def _wide(one: Mapping[str, Any]) -> tuple[object, ...]:
    traffic = one.get("traffic") or {}
    idle = f"{one['idleTimeout']} s" if one.get("idleTimeout") else ""
    return (*(traffic.get(field, "") for field in ("open", "total", "sent", "received")), idle)


def _status(one: Mapping[str, Any]) -> tuple[str, str]:
    """Whether it is open; and why not, or else what went wrong with it last."""
    if not one.get("open", True) or one.get("error"):
        return "Error", _reason(one.get("error"))
    return "Open", _reason(one.get("lastError"))


def _reason(error: object) -> str:
    if isinstance(error, Mapping):
        return " ".join(str(error[part]) for part in ("time", "message") if error.get(part))
    return str(error or "")


async def get_acl(context: AppCommand, arguments: Arguments) -> None:
    """Print the access list of the chosen endpoint."""
    config = await _config(context)

    def row(one: Mapping[str, Any]) -> tuple[object, ...]:
        return (_protocol(one), one["address"], one.get("port") or ALL_PORTS, _users(one))

    headings = ("PROTOCOL", "ADDRESS", "PORT", "USERS")
    listing = Listing(config["acl"], headings, row, name=_acl_name)
    await context.show(listing, arguments)


def _acl_name(one: Mapping[str, Any]) -> str:
    port = f":{one['port']}" if one.get("port") else ""
    return f"{_protocol(one)}/{one['address']}{port}"


def _users(one: Mapping[str, Any]) -> str:
    users = one.get("users") or []
    said = ALL_USERS if "*" in users else ", ".join(users) or NOBODY
    return f"{said} (holds the owner too)" if one.get("ownerToo") else said


async def set_port(context: AppCommand, arguments: Arguments) -> None:
    """Create or replace a port.

    Raises:
        NotFoundError: the endpoint that it leads by does not exist.
        RefusedError: it is stored, and cannot be listened on.
    """
    protocol, listen = arguments.value(PROTOCOL.name) or "tcp", _listen(arguments)
    via = arguments.require("--via", "endpoint")
    target = str(Address.parse(arguments.require("--target", "target"), "127.0.0.1"))
    entry: Fields = {"protocol": protocol, "listen": listen}
    entry |= {"via": via if _is_id(via) else (await context.find_endpoint(via)).id, "target": target}
    if arguments.flag(IDLE.name):
        entry["idleTimeout"] = arguments.number(IDLE.name, 60, 1)
    await _change(context, "ports", lambda ports: _with(ports, entry, lambda one: (_protocol(one), one["listen"])))
    shown = await context.api("GET", f"{_base(context)}/ports") or []
    for one in shown:
        if (_protocol(one), one["listen"]) == (protocol, listen) and _status(one)[0] == "Error":
            raise RefusedError(f"port {protocol}/{listen} is stored, but not open: {_status(one)[1]}")


async def set_acl(context: AppCommand, arguments: Arguments) -> None:
    """Create or replace an entry of the access list: one for each protocol, address and port.

    Raises:
        RefusedError: the endpoint's agent does not know ``--owner-too``.
    """
    users, holds_owner = arguments.values("--users"), arguments.flag("--owner-too")
    if not users and not holds_owner:
        raise arguments.error("option '--users' is required")
    entry: Fields = {"protocol": arguments.value(PROTOCOL.name) or "tcp"}
    entry["address"] = arguments.require(ADDRESS.name, "address")
    if arguments.flag("--port"):
        entry["port"] = arguments.number("--port", 0, 1)
    entry["users"] = list(users)
    if holds_owner:
        entry["ownerToo"] = True
    answer = await _change(context, "acl", lambda acl: _with(acl, entry, _acl_key))
    if holds_owner and answer is None:
        raise RefusedError("the entry is stored, but that endpoint's agent does not hold its owner to the list")


def _acl_key(one: Fields) -> tuple[object, ...]:
    return _protocol(one), one["address"], one.get("port")


async def delete_port(context: AppCommand, arguments: Arguments) -> None:
    """Delete a port, and cut what it carries.

    Raises:
        NotFoundError: there is none.
    """
    key = arguments.value(PROTOCOL.name) or "tcp", _listen(arguments)

    def without(ports: list[Fields]) -> list[Fields]:
        left = [one for one in ports if (_protocol(one), one["listen"]) != key]
        if len(left) == len(ports):
            raise NotFoundError(f"port {key[0]}/{key[1]} not found on endpoint '{context.endpoint.name}'")
        return left

    await _change(context, "ports", without)


async def delete_acl(context: AppCommand, arguments: Arguments) -> None:
    """Delete the entries of an address, or the one of that address and port.

    Raises:
        NotFoundError: there is none.
    """
    protocol, address = arguments.value(PROTOCOL.name) or "tcp", arguments.require(ADDRESS.name, "address")
    port = arguments.number("--port", 0, 1) if arguments.flag("--port") else None

    def is_meant(one: Fields) -> bool:
        return (_protocol(one), one["address"]) == (protocol, address) and port in (None, one.get("port"))

    def without(acl: list[Fields]) -> list[Fields]:
        left = [one for one in acl if not is_meant(one)]
        if len(left) == len(acl):
            where = f"{address}{f' port {port}' if port else ''}"
            raise NotFoundError(f"no acl entry for {protocol}/{where} on endpoint '{context.endpoint.name}'")
        return left

    await _change(context, "acl", without)


# ---------------------------------------------------------------------- the configuration


def _base(context: AppCommand) -> str:
    return f"/api/endpoints/{context.endpoint.id}"


async def _config(context: AppCommand) -> Fields:
    found = await context.api("GET", f"{_base(context)}/config") or {}
    return {"ports": list(found.get("ports") or ()), "acl": list(found.get("acl") or ())}


async def _change(context: AppCommand, part: str, change: Callable[[list[Fields]], list[Fields]]) -> Any:
    """Change the ports or the access list, and leave the other as it is."""

    async def changed(found: Fields) -> Fields:
        config = {name: list(found.get(name) or ()) for name in ("ports", "acl")}
        config[part] = change(config[part])
        return config

    return await change_config(context, f"{_base(context)}/config", changed)


def _with(entries: list[Fields], entry: Fields, key: Any) -> list[Fields]:
    """`entries` with `entry`, in the place of the one that has its key."""
    if any(key(one) == key(entry) for one in entries):
        return [entry if key(one) == key(entry) else one for one in entries]
    return [*entries, entry]


def _protocol(one: Mapping[str, Any]) -> str:
    return str(one.get("protocol") or "tcp")


def _listen(arguments: Arguments) -> str:
    return str(Address.parse(arguments.require(LISTEN.name, "address to listen on"), "127.0.0.1"))


def _is_id(word: str) -> bool:
    try:
        return str(UUID(word)) == word
    except ValueError:
        return False


IDLE = Option("--idle-timeout", "<seconds>", "UDP only: forget a sender after this silence (default 60)")
COMMANDS: AppCommands = (
    Command(
        usage="get port|ports",
        title="List the ports of an endpoint, and how they are doing",
        run=get_ports,
        options=(OUTPUT, NO_HEADERS),
    ),
    Command(
        usage="get acl|acls",
        title="List who may reach what behind an endpoint",
        run=get_acl,
        options=(OUTPUT, NO_HEADERS),
    ),
    Command(
        usage="set port",
        title="Listen on a port that leads to a target behind an endpoint",
        run=set_port,
        options=(
            PROTOCOL,
            LISTEN,
            Option("--via", "<endpoint>", "The endpoint that dials the target, by name or id"),
            Option("--target", "<[host:]port>", "What it dials (default host 127.0.0.1, of that endpoint)"),
            IDLE,
        ),
        notes=NOTES,
    ),
    Command(
        usage="set acl",
        title="Let users reach a target behind an endpoint",
        run=set_acl,
        options=(
            PROTOCOL,
            ADDRESS,
            Option("--port", "<port>", "That port only (default all)"),
            Option("--users", "<username ...>", "Who may reach it; '*' is every user of the mesh"),
            Option("--owner-too", "", "Hold the endpoint's owner to the list there as well"),
        ),
        notes=NOTES,
    ),
    Command(
        usage="delete port",
        title="Close a port",
        run=delete_port,
        options=(PROTOCOL, LISTEN),
    ),
    Command(
        usage="delete acl",
        title="Delete entries of the access list",
        run=delete_acl,
        options=(
            PROTOCOL,
            ADDRESS,
            Option("--port", "<port>", "The entry of that port only (default all of the address)"),
        ),
    ),
)
