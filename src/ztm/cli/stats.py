"""`ztm stats`: how much is sent and received by whom.

The hub measures; nothing is computed here but units.
"""

from collections.abc import Mapping
from typing import Any

from ztm.apps.formats import NO_HEADERS, OUTPUT, SORT, Listing, chosen_format, sorted_by
from ztm.apps.grammar import Arguments, Command
from ztm.apps.text import rate
from ztm.cli.context import Context
from ztm.cli.watch import WATCH, watch

ALL_PEERS = "(All Peers)"


def stats(context: Context, arguments: Arguments) -> int | None:
    """Print data rates: of all endpoints, or of one endpoint to each of its peers.

    Raises:
        NotFoundError: there is no such endpoint.
    """
    from ztm.cli.objects import KINDS

    if KINDS.get(arguments.word("object type")) != "endpoint":
        raise arguments.error(f"invalid object type '{arguments.word('object type')}' for command 'stats' (endpoint)")

    chosen_format(arguments)

    def find() -> Listing:
        return sorted_by(_listing(context, arguments.word("object name")), arguments)

    if arguments.flag(WATCH.name):
        return watch(context, arguments, find)
    context.show(find(), arguments)
    return None


def _listing(context: Context, name: str) -> Listing:
    target = context.find_endpoint(name).id if name or context.named_endpoint else ""
    if target:
        rates = context.ask("GET", f"/stats/endpoints/{target}") or {}
        heading, found = "PEER", {**(rates.get("peers") or {}), ALL_PEERS: rates}
    else:
        heading, found = "ENDPOINT", context.ask("GET", "/stats/endpoints") or {}
    names = context.endpoint_names() if found else {}
    objects = [_rates(id_, names, one) for id_, one in found.items()]

    def name_of(one: Mapping[str, Any]) -> str:
        return target if one["id"] == ALL_PEERS else str(one["id"])

    keys = {"SEND": lambda one: one["send"], "RECEIVE": lambda one: one["receive"]}
    return Listing(objects, (heading, "SEND", "RECEIVE"), _row, name=name_of, keys=keys)


def _rates(id_: str, names: Mapping[str, str], rates: Mapping[str, Any]) -> dict[str, Any]:
    """The rates of one endpoint, in bytes a second."""
    sent, received = rates.get("send") or 0, rates.get("receive") or 0
    return {"id": id_, "name": names.get(id_) or id_, "send": sent, "receive": received}


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    return one["name"], rate(one["send"]), rate(one["receive"])


COMMANDS = (
    Command(
        usage="stats <object type> [object name]",
        title="Show data rates of endpoints",
        run=stats,
        options=(OUTPUT, NO_HEADERS, SORT, WATCH),
        notes="'ztm stats ep' for all endpoints, 'ztm stats ep NAME' for one and each of its peers.",
        choices={"object type": ("ep", "endpoint", "endpoints")},
    ),
)
