"""Watching a mesh at work: `ztm ping`, `ztm stats` and `ztm log`.

Everything shown is measured by the hub or told by an agent; nothing is computed here but units.
"""

from typing import Any

from ztm.apps.command import NO_HEADERS, OUTPUT, wants_json
from ztm.apps.grammar import Arguments, Command
from ztm.cli.context import Context, attempting
from ztm.cli.objects import KINDS, kind_of
from ztm.cli.output import clock_time, rate, seconds
from ztm.errors import UnreachableError

PING_TIMEOUT = 40.0
"""Seconds; the agent itself gives up after 30 (spec cli 11)."""
HOP_HEADINGS = ("ID", "TYPE", "NAME", "START", "END", "DURATION", "ERROR")


def ping(context: Context, arguments: Arguments) -> None:
    """Send one probe to an endpoint and print each hop of its way.

    Raises:
        UnreachableError: a hop failed; the table was printed before.
    """
    target = context.find_endpoint(_ping_target(arguments))
    as_json = wants_json(arguments)
    hops: list[dict[str, Any]] = context.ask("GET", f"/ping/endpoints/{target.id}", timeout=PING_TIMEOUT) or []
    if as_json:
        context.json(hops)
    else:
        context.table(HOP_HEADINGS, [_hop(hop) for hop in hops], headed=not arguments.flag(NO_HEADERS.name))
    for hop in hops:
        if hop.get("error"):
            raise UnreachableError(f"no answer from endpoint '{target.name}': {hop['error']}")


def _ping_target(arguments: Arguments) -> str:
    """The name asked for: after the word ``ep``, or alone; empty for the own endpoint."""
    first, second = arguments.word("object type"), arguments.word("object name")
    if KINDS.get(first) == "endpoint":
        return second
    if second:
        raise arguments.error(f"invalid object type '{first}' for command 'ping'")
    return first


def _hop(hop: dict[str, Any]) -> tuple[object, ...]:
    hub = hop.get("hub")
    at = hub or hop.get("endpoint") or {}
    name = ", ".join(at.get("names") or ()) if hub else at.get("name")
    start, end = hop.get("start"), hop.get("end")
    duration = seconds(end - start) if start is not None and end is not None else ""
    kind = "Hub" if hub else "Endpoint"
    return at.get("id"), kind, name, clock_time(start), clock_time(end), duration, hop.get("error")


def stats(context: Context, arguments: Arguments) -> None:
    """Print data rates: of all endpoints, or of one endpoint to each of its peers.

    Raises:
        NotFoundError: there is no such endpoint.
    """
    _only_endpoints(arguments, "stats")
    name, as_json = arguments.word("object name"), wants_json(arguments)
    if name or context.named_endpoint:
        rates = context.ask("GET", f"/stats/endpoints/{context.find_endpoint(name).id}") or {}
        heading, shown = "PEER", {**(rates.get("peers") or {}), "(All Peers)": rates}
    else:
        rates = context.ask("GET", "/stats/endpoints") or {}
        heading, shown = "ENDPOINT", rates
    if as_json:
        context.json(rates)
        return
    names = context.endpoint_names() if shown else {}
    rows = [
        (names.get(id_) or id_, rate(one.get("send") or 0), rate(one.get("receive") or 0)) for id_, one in shown.items()
    ]
    context.table((heading, "SEND", "RECEIVE"), rows, headed=not arguments.flag(NO_HEADERS.name))


def log(context: Context, arguments: Arguments) -> None:
    """Print the last messages of an agent or a hub about this mesh.

    Raises:
        ForbiddenError: the endpoint is another user's.
        NotFoundError: there is no such endpoint or hub.
    """
    from ztm.cli.resolve import find_hub_id

    kind, name, as_json = kind_of(arguments, "log"), arguments.word("object name"), wants_json(arguments)
    if kind == "hub":
        if not name:
            raise arguments.error("missing argument <object name>: which hub")
        path = f"/hubs/{find_hub_id(context.client, context.mesh, name)}/log"
    else:
        _only_endpoints(arguments, "log")
        path = f"/endpoints/{context.find_endpoint(name).id}/log"
    with attempting(f"cannot read the log of {kind} '{name or context.endpoint.name}'"):
        messages = context.ask("GET", path) or []
    if as_json:
        context.json(messages)
    elif messages:
        context.out("\n".join(f"{one.get('time')} {one.get('message')}" for one in messages))


def _only_endpoints(arguments: Arguments, command: str) -> None:
    if KINDS.get(arguments.word("object type")) != "endpoint":
        raise arguments.error(f"invalid object type '{arguments.word('object type')}' for command '{command}'")


COMMANDS = (
    Command(
        usage="log <object type> [object name]",
        title="Show the latest messages of an endpoint or a hub",
        run=log,
        options=(OUTPUT,),
    ),
    Command(
        usage="stats <object type> [object name]",
        title="Show data rates of endpoints",
        run=stats,
        options=(OUTPUT, NO_HEADERS),
    ),
    Command(
        usage="ping [object type] [object name]",
        title="Send a probe to an endpoint and show its way",
        run=ping,
        options=(OUTPUT, NO_HEADERS),
        notes="'ztm ping ep NAME', 'ztm ping NAME', or 'ztm ping' for this endpoint itself.",
    ),
)
