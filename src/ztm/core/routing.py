"""Through which hub an endpoint is reached.

It asks nobody and opens nothing; what is known of endpoints and hubs is given. Source: spec mesh-protocol 9.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ztm.errors import NotFoundError, UnreachableError
from ztm.model import Address, Endpoint, HubInfo


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach an endpoint: over the session to the attached hub, or by dialling another."""

    hub: str
    """Hub id."""
    addresses: tuple[Address, ...] = ()
    """Where to dial it; empty for the attached hub."""

    @property
    def is_attached(self) -> bool:
        """Whether the session that is already there leads to it."""
        return not self.addresses


def route(endpoint: Endpoint | None, attached_hub: str, hubs: Mapping[str, HubInfo]) -> Route:
    """The way to `endpoint`: the attached hub if it serves it or the endpoint names none, else another known hub.

    An endpoint without hubs has joined a v1 hub within the last 15 s and is most likely there
    (spec mesh-protocol W18). Whether it is online only its hub can say.

    Raises:
        NotFoundError: there is no such endpoint.
        UnreachableError: none of its hubs is known here.
    """
    if endpoint is None:
        raise NotFoundError("Endpoint not found")
    if not endpoint.hubs or attached_hub in endpoint.hubs:
        return Route(attached_hub)
    for hub_id in endpoint.hubs:
        hub = hubs.get(hub_id)
        if hub and hub.ports:
            return Route(hub_id, hub.ports)
    raise UnreachableError(f"endpoint {endpoint.name} is on a hub that is not known here: {', '.join(endpoint.hubs)}")
