"""Where agents say that they can be dialled directly, for others to try. Nothing here dials.

Kept in memory only, and no longer than `VALID`. Source: spec mesh-protocol 5.1 and 14.
"""

from dataclasses import dataclass

import msgspec

from ztm.core.ports import address_class
from ztm.errors import NotFoundError, UsageError
from ztm.hub.link import Link
from ztm.hub.state import HubState
from ztm.model import MAX_PORT
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import paths

VALID = 600.0
"""Seconds for which an agent's word counts (spec mesh-protocol 18)."""


class Addresses(msgspec.Struct):
    """What an agent posts; a side that it does not know is null."""

    publicIp: str | None = None  # noqa: N815
    publicPort: int | None = None  # noqa: N815
    privateIp: str | None = None  # noqa: N815
    privatePort: int | None = None  # noqa: N815


class _Answer(Addresses, kw_only=True):
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class _Said:
    addresses: Addresses
    time: float


class PeerToPeer:
    """Handlers of ``/api/p2p``."""

    def __init__(self, state: HubState) -> None:
        self._state = state
        self._said: dict[str, _Said] = {}
        """By endpoint id."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        router.add("POST", paths.P2P_INFO, self.announce)
        router.add("GET", paths.P2P_REQUEST, self.request)

    async def announce(self, request: Request) -> Response:
        """An agent says where it can be dialled."""
        link: Link = request.link
        endpoint = link.require_session()
        addresses = _check(await request.json(Addresses, limit=4096))
        self._forget_gone()
        self._said[endpoint] = _Said(addresses, self._state.network.now())
        return Response(201)

    async def request(self, request: Request) -> Response:
        """Where an endpoint said that it can be dialled."""
        endpoint = self._state.registry.endpoint(request.params["ep"], self._state.network.wall())
        if endpoint is None:
            raise NotFoundError("Endpoint not found")
        said = self._said.get(endpoint.id)
        if said is None:
            raise NotFoundError("P2P connection info not available")
        if self._state.network.now() - said.time > VALID:
            raise NotFoundError("P2P connection info expired")
        known = msgspec.structs.asdict(said.addresses)
        return Response(200, _Answer(id=endpoint.id, name=endpoint.name, **known))

    def _forget_gone(self) -> None:
        """Keep no more than one entry of each endpoint that is known now."""
        if len(self._said) >= len(self._state.registry):
            now = self._state.network.wall()
            gone = [endpoint for endpoint in self._said if self._state.registry.endpoint(endpoint, now) is None]
            for endpoint in gone:
                del self._said[endpoint]


def _check(addresses: Addresses) -> Addresses:
    """Return `addresses` if others can be told them.

    Raises:
        UsageError: an IP address is none, or a port is out of range.
    """
    for ip in (addresses.publicIp, addresses.privateIp):
        if ip and address_class(ip) is None:
            raise UsageError(f"not an IP address: {ip[:64]!r}")
    for port in (addresses.publicPort, addresses.privatePort):
        if port is not None and not 0 <= port <= MAX_PORT:
            raise UsageError(f"not a port: {port} (0 to {MAX_PORT})")
    return addresses
