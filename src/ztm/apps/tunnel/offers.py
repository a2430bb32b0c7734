"""Which endpoints offer which outbound, as the paths of shared files say, and which of them an inbound takes.

Only paths count, never contents: a path's user is enforced by the hub (spec apps-network 1.5 and 7 rule 3).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from ztm.apps.tunnel.model import Inbound, Key
from ztm.errors import UsageError
from ztm.model import check_uuid

End = Literal["inbound", "outbound"]


class Offer(NamedTuple):
    """One shared file: `user` says that `endpoint` has this end of the tunnel."""

    user: str
    key: Key
    endpoint: str
    end: End


Offers = Mapping[Key, list[Offer]]
"""Outbounds by tunnel."""


def share_path(key: Key, endpoint: str, end: End) -> str:
    """Where an endpoint publishes its end, below the user's shared folder."""
    return f"{key.protocol}/{key.name}/{endpoint}/{end}.json"


def read_offer(path: str) -> Offer | None:
    """The offer that an app path ``/shared/{user}/{proto}/{name}/{ep}/outbound.json`` makes; None for others."""
    parts = path.split("/")
    if len(parts) != 7 or parts[0] or parts[1] != "shared":
        return None
    _, _, user, protocol, name, endpoint, file = parts
    end: End
    if file == "inbound.json":
        end = "inbound"
    elif file == "outbound.json":
        end = "outbound"
    else:
        return None
    try:
        return Offer(user, Key.parse(protocol, name), check_uuid("endpoint", endpoint), end)
    except UsageError:
        return None


def read_offers(paths: Iterable[str]) -> Iterator[Offer]:
    """All that `paths` offer, in the order of the paths."""
    for path in paths:
        offer = read_offer(path)
        if offer is not None:
            yield offer


def index_outbounds(paths: Iterable[str]) -> dict[Key, list[Offer]]:
    """The outbounds among `paths` by tunnel."""
    found: dict[Key, list[Offer]] = {}
    for offer in read_offers(paths):
        if offer.end == "outbound":
            found.setdefault(offer.key, []).append(offer)
    return found


def exits_of(inbound: Inbound, offers: Offers, owner: str) -> list[str]:
    """The endpoint ids that `inbound` may use: those it names, else those that users it trusts offer."""
    if inbound.exits:
        return list(inbound.exits)
    trusted = (offer.endpoint for offer in offers.get(inbound.key, ()) if inbound.trusts(offer.user, owner))
    return list(dict.fromkeys(trusted))
