"""The tunnel app's handlers: each answers one request for this endpoint.

Which of them a path leads to, who may ask, and what goes to another endpoint instead is in `api`.

Source: spec apps-network 1.2 and 1.3.
"""

import msgspec

from ztm.apps.base import AppContext
from ztm.apps.callers import is_owner, peer_of
from ztm.apps.tunnel.exit import Exit
from ztm.apps.tunnel.forms import (
    InboundBody,
    OutboundBody,
    inbound_body,
    outbound_body,
)
from ztm.apps.tunnel.model import Key
from ztm.apps.tunnel.overview import tunnels
from ztm.apps.tunnel.service import Tunnels
from ztm.errors import NotFoundError
from ztm.rest.message import Request, Response

OWNER_VIEW = "view=owner"
"""Query with which the owner asks for an outbound to look at, rather than to choose an exit as v1 does."""


class Handlers:
    """What can be asked of the tunnel ends of this endpoint."""

    def __init__(self, context: AppContext, service: Tunnels) -> None:
        self._context = context
        self._tunnels = service

    # ------------------------------------------------------------------ mesh

    async def tunnels(self, request: Request) -> Response:  # noqa: ARG002
        """All tunnels of the mesh."""
        return Response(body=await tunnels(self._context, self._tunnels))

    async def tunnel(self, request: Request) -> Response:
        """One tunnel; without ends if there is none of that name."""
        key = _key(request)
        found = await tunnels(self._context, self._tunnels, key)
        return Response(body=found[0])

    # ------------------------------------------------------------------ inbounds

    async def config(self, request: Request) -> Response:  # noqa: ARG002
        """The whole configuration of this endpoint."""
        return Response(body=self._tunnels.config())

    async def inbounds(self, request: Request) -> Response:  # noqa: ARG002
        """The inbounds of this endpoint."""
        return Response(body=[entry.shown() for entry in self._tunnels.entries.values()])

    async def inbound(self, request: Request) -> Response:
        """One inbound of this endpoint."""
        key = _key(request)
        entry = self._tunnels.entries.get(key)
        if entry is None:
            raise NotFoundError(f"no inbound {key} on endpoint {self._context.place.name}")
        return Response(body=entry.shown())

    async def open_inbound(self, request: Request) -> Response:
        """Create or replace an inbound of this endpoint."""
        key = _key(request)
        entry = await self._tunnels.open_inbound((await request.json(InboundBody)).record(key))
        return Response(201, entry.shown())

    async def close_inbound(self, request: Request) -> Response:
        """Remove an inbound of this endpoint."""
        await self._tunnels.close_inbound(_key(request))
        return Response(204)

    async def inbound_to_send(self, request: Request) -> bytes:
        """The body that asks another endpoint for an inbound, checked here."""
        return msgspec.json.encode(inbound_body((await request.json(InboundBody)).record(_key(request))))

    # ------------------------------------------------------------------ outbounds

    async def outbounds(self, request: Request) -> Response:  # noqa: ARG002
        """The outbounds of this endpoint."""
        return Response(body=[exit_.shown() for exit_ in self._tunnels.exits.values()])

    async def outbounds_for_peer(self, request: Request) -> Response:
        """The outbounds of this endpoint that a peer may use."""
        peer = peer_of(request)
        exits = self._tunnels.exits.values()
        if is_owner(self._context.user, peer):
            return Response(body=[one.shown() for one in exits])
        return Response(body=[one.shown_to_peers() for one in exits if one.admits(peer)])

    async def outbound(self, request: Request) -> Response:
        """One outbound of this endpoint."""
        return Response(body=self._exit(request).shown())

    async def outbound_for_peer(self, request: Request) -> Response:
        """One outbound of this endpoint, if the peer may use it; v1 chooses its exit by this."""
        peer, exit_ = peer_of(request), self._exit(request)
        if is_owner(self._context.user, peer) and request.raw_query == OWNER_VIEW:
            return Response(body=exit_.shown())
        if not exit_.admits(peer):
            raise self._no_outbound(exit_.outbound.key)
        return Response(body=exit_.shown_to_peers())

    async def open_outbound(self, request: Request) -> Response:
        """Create or replace an outbound of this endpoint."""
        body = await request.json(OutboundBody)
        exit_ = await self._tunnels.open_outbound(body.record(_key(request), self._context.user))
        return Response(201, exit_.shown())

    async def close_outbound(self, request: Request) -> Response:
        """Remove an outbound of this endpoint."""
        await self._tunnels.close_outbound(_key(request))
        return Response(204)

    async def outbound_to_send(self, request: Request) -> bytes:
        """The same for an outbound, users written out: v1 opens one without them to everyone (weaknesses T3, T5)."""
        outbound = (await request.json(OutboundBody)).record(_key(request), self._context.user)
        return msgspec.json.encode(outbound_body(outbound))

    async def enter(self, request: Request) -> None:
        """Take a peer's stream through an outbound; accepted only once a target is reached."""
        peer, exit_, upgrade = peer_of(request), self._exit(request), request.upgrade
        carry = exit_.carry if exit_.outbound.key.protocol == "tcp" else exit_.carry_datagrams
        await carry(peer, upgrade.accept)

    def _exit(self, request: Request) -> Exit:
        key = _key(request)
        exit_ = self._tunnels.exits.get(key)
        if exit_ is None:
            raise self._no_outbound(key)
        return exit_

    def _no_outbound(self, key: Key) -> NotFoundError:
        return NotFoundError(f"no outbound {key} on endpoint {self._context.place.name}")


def _key(request: Request) -> Key:
    return Key.parse(request.params["proto"], request.params["name"])
