"""The tunnel app and its paths: for the local user, and for other endpoints.

It says which path leads where and who may ask; the answers are in `handlers`. A peer may change or see the
configuration only as the same user, by the verified certificate; an outbound decides itself who may pass.

Source: spec apps-network 1.2 and 1.3.
"""

from collections.abc import Callable

from ztm.apps.appinfo import mount_appinfo
from ztm.apps.base import AppContext
from ztm.apps.callers import by_owner
from ztm.apps.command import Console
from ztm.apps.commandline import run_command
from ztm.apps.owner import PREFIX, at_owner
from ztm.apps.streams.limits import LIMITS, StreamLimits
from ztm.apps.tunnel.figures import Figures
from ztm.apps.tunnel.forms import (
    InboundBody,
    InboundShown,
    OutboundBody,
    OutboundShown,
    StoredConfig,
    TunnelShown,
)
from ztm.apps.tunnel.forward import Forward
from ztm.apps.tunnel.handlers import OWNER_VIEW, Handlers
from ztm.apps.tunnel.service import Tunnels
from ztm.rest.router import Handler, Router
from ztm.wire.paths import FORWARD_TCP, INBOUND, INBOUNDS, OUTBOUND, OUTBOUNDS, TUNNEL_CONFIG

_OPENED = {201: "saved; an address may still wait to be free", 507: "it could not be saved, and nothing changed"}
_CLOSED = {204: "closed, or there was none"}
_ENTERED = {
    403: "you may not use it",
    404: "no such outbound",
    502: "no target could be reached; the header ztm-error says why",
    504: "no target answered in time",
}
_FORWARDED = {
    403: "the endpoint is another user's",
    404: "no such endpoint, or it does not forward",
    503: "the target cannot be reached; the header ztm-error says why",
    504: "the target did not answer in time",
}


class TunnelApp:
    """The tunnel app of one endpoint; see `apps.base.App`."""

    def __init__(self, context: AppContext, limits: StreamLimits = LIMITS) -> None:
        self._context = context
        self._tunnels = Tunnels(context, limits)
        self._forward = Forward(context, limits)
        self._figures = Figures(self._tunnels)
        handlers = Handlers(context, self._tunnels)
        self.user_api = user_routes(context, handlers, self._forward)
        self.peer_api = peer_routes(context, handlers, self._forward)

    async def command(self, console: Console) -> int:
        """Run one ``ztm tunnel ...``.

        Raises:
            BrokenStreamError: the caller went away.
        """
        from ztm.apps.tunnel.cli import COMMANDS, NOTES

        return await run_command(self._context, self.user_api, console, COMMANDS, NOTES)

    async def start(self) -> None:
        """Take up what was configured before.

        Raises:
            StorageError: it cannot be read.
        """
        await self._tunnels.start()

    async def drain(self) -> None:
        """See `apps.base.Draining`."""
        await self._tunnels.drain()

    async def stop(self) -> None:
        """End listeners and streams."""
        self._forward.close()
        await self._tunnels.stop()

    def figures(self) -> dict[str, float]:
        """See `apps.base.Measured`."""
        return self._figures.now()


def user_routes(context: AppContext, handlers: Handlers, forward: Forward) -> Router:
    """What the local user may ask of this and, through the mesh, of other endpoints."""
    router = Router()
    mount_appinfo(router, context, "tunnel")
    router.add("GET", "/api/tunnels", handlers.tunnels, summary="The tunnels of the mesh", answer=list[TunnelShown])
    router.add("GET", "/api/tunnels/{proto}/{name}", handlers.tunnel, summary="One tunnel", answer=TunnelShown)

    def there(handler: Handler) -> Handler:
        return at_owner(context, handler)

    _add_reading(router, PREFIX, there, handlers)
    _add_closing(router, PREFIX, there, handlers)
    open_inbound = at_owner(context, handlers.open_inbound, body=handlers.inbound_to_send)
    open_outbound = at_owner(context, handlers.open_outbound, body=handlers.outbound_to_send)
    _add_opening(router, PREFIX, open_inbound, open_outbound)
    outbound = at_owner(context, handlers.outbound, query=OWNER_VIEW)
    router.add(
        "GET", _at(PREFIX, OUTBOUNDS), there(handlers.outbounds), summary="Outbounds", answer=list[OutboundShown]
    )
    router.add("GET", _at(PREFIX, OUTBOUND), outbound, summary="One outbound", answer=OutboundShown)
    router.add("CONNECT", _at(PREFIX, FORWARD_TCP), forward.from_user, summary="Forward a stream", statuses=_FORWARDED)
    return router


def peer_routes(context: AppContext, handlers: Handlers, forward: Forward) -> Router:
    """What other endpoints may ask of this one."""
    router = Router()

    def owner(handler: Handler) -> Handler:
        return by_owner(context, handler)

    _add_reading(router, "/api", owner, handlers)
    _add_closing(router, "/api", owner, handlers)
    _add_opening(router, "/api", owner(handlers.open_inbound), owner(handlers.open_outbound))
    router.add("GET", TUNNEL_CONFIG, owner(handlers.config), summary="The whole configuration", answer=StoredConfig)
    usable = handlers.outbounds_for_peer
    router.add("GET", OUTBOUNDS, usable, summary="Outbounds that you may use", answer=list[OutboundShown])
    router.add("GET", OUTBOUND, handlers.outbound_for_peer, summary="One that you may use", answer=OutboundShown)
    router.add("CONNECT", OUTBOUND, handlers.enter, summary="Go through an outbound", statuses=_ENTERED)
    router.add("CONNECT", FORWARD_TCP, forward.from_peer, summary="Forward a stream", statuses=_FORWARDED)
    return router


Wrap = Callable[[Handler], Handler]


def _add_reading(router: Router, prefix: str, wrap: Wrap, handlers: Handlers) -> None:
    inbounds, inbound = wrap(handlers.inbounds), wrap(handlers.inbound)
    router.add("GET", _at(prefix, INBOUNDS), inbounds, summary="Inbounds", answer=list[InboundShown])
    router.add("GET", _at(prefix, INBOUND), inbound, summary="One inbound", answer=InboundShown)


def _add_closing(router: Router, prefix: str, wrap: Wrap, handlers: Handlers) -> None:
    inbound, outbound = wrap(handlers.close_inbound), wrap(handlers.close_outbound)
    router.add("DELETE", _at(prefix, INBOUND), inbound, summary="Close an inbound", statuses=_CLOSED)
    router.add("DELETE", _at(prefix, OUTBOUND), outbound, summary="Close an outbound", statuses=_CLOSED)


def _add_opening(router: Router, prefix: str, inbound: Handler, outbound: Handler) -> None:
    router.add(
        "POST",
        _at(prefix, INBOUND),
        inbound,
        summary="Create or replace an inbound",
        body=InboundBody,
        answer=InboundShown,
        statuses=_OPENED,
    )
    router.add(
        "POST",
        _at(prefix, OUTBOUND),
        outbound,
        summary="Create or replace an outbound",
        body=OutboundBody,
        answer=OutboundShown,
        statuses=_OPENED,
    )


def _at(prefix: str, path: str) -> str:
    """A peer's path below `prefix`."""
    return prefix + path.removeprefix("/api")


APP = TunnelApp
"""What `ztm.apps.builtin` makes."""
