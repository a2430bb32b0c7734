"""Every tunnel of the mesh with its ends, put together from shared paths and the hub's endpoint records.

It asks the hub for the records once; without a hub the ends are named by id alone.
"""

from typing import Any

import msgspec

from ztm.apps.base import AppContext
from ztm.apps.tunnel.forms import TunnelShown
from ztm.apps.tunnel.model import Key
from ztm.apps.tunnel.offers import End, read_offers
from ztm.apps.tunnel.service import Tunnels
from ztm.errors import ZtmError
from ztm.wire.codec import encode_endpoints

Ends = dict[Key, dict[End, list[str]]]
"""Endpoint ids by tunnel and end."""


async def tunnels(context: AppContext, own: Tunnels, key: Key | None = None) -> list[TunnelShown]:
    """All tunnels by name, or exactly the one called `key`, whose ends may be none."""
    ends = find_ends(context, own)
    chosen = {key: ends.get(key, _no_ends())} if key else dict(sorted(ends.items()))
    records = await _records(context) if any(one["inbound"] or one["outbound"] for one in chosen.values()) else {}
    return [
        TunnelShown(
            one.protocol,
            one.name,
            [records.get(id_, {"id": id_}) for id_ in found["inbound"]],
            [records.get(id_, {"id": id_}) for id_ in found["outbound"]],
        )
        for one, found in chosen.items()
    ]


def find_ends(context: AppContext, own: Tunnels) -> Ends:
    """The endpoints that say they have an end of a tunnel, whichever user they are of; the own ones too."""
    ends: Ends = {}
    for offer in read_offers(context.files.shared()):
        _note(ends, offer.key, offer.end, offer.endpoint)
    for key in own.entries:
        _note(ends, key, "inbound", context.place.id)
    for key in own.exits:
        _note(ends, key, "outbound", context.place.id)
    return ends


def _note(ends: Ends, key: Key, end: End, endpoint: str) -> None:
    found = ends.setdefault(key, _no_ends())[end]
    if endpoint not in found:
        found.append(endpoint)


def _no_ends() -> dict[End, list[str]]:
    return {"inbound": [], "outbound": []}


async def _records(context: AppContext) -> dict[str, dict[str, Any]]:
    """The hub's record of every endpoint, as JSON has it, by id."""
    try:
        endpoints = await context.endpoints()
    except ZtmError as error:
        context.log.info("tunnels are listed without names of endpoints: %s", error)
        return {context.place.id: {"id": context.place.id, "name": context.place.name}}
    found = msgspec.json.decode(encode_endpoints(endpoints), type=list[dict[str, Any]])
    return {record["id"]: record for record in found}
