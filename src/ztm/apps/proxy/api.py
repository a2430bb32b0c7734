"""The proxy app and its paths: for the local user, and for other endpoints.

It says which path leads where and who may ask; the answers are in `handlers`. The exit judges itself who may pass.

Source: spec apps-network 2.2 and 2.3.
"""

from ztm.apps.appinfo import mount_appinfo
from ztm.apps.base import AppContext
from ztm.apps.callers import by_owner
from ztm.apps.command import Console
from ztm.apps.commandline import run_command
from ztm.apps.owner import PREFIX, at_owner
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.apps.proxy.forms import AuthorityShown, ConfigBody, ConfigShown, ExitShown, GroupShown
from ztm.apps.proxy.handlers import Handlers
from ztm.apps.proxy.service import Proxy
from ztm.apps.streams.limits import LIMITS, StreamLimits
from ztm.rest.router import Handler, Router
from ztm.wire.paths import PROXY_CA, PROXY_CONFIG, PROXY_DATAGRAMS, PROXY_EXITS, PROXY_TARGETS

_CONFIGURED = {201: "saved; the port may still wait to be free", 507: "it could not be saved, and nothing changed"}
_CERTIFICATES = {404: "the exit generates no certificates"}
_ENTERED = {
    403: "this exit does not serve the destination, or not for you",
    404: "the name does not resolve there",
    502: "the destination cannot be reached; the header ztm-error says why",
    504: "it did not answer in time",
}


class ProxyApp:
    """The proxy app of one endpoint; see `apps.base.App`."""

    def __init__(
        self, context: AppContext, limits: StreamLimits = LIMITS, door_limits: DoorLimits | None = None
    ) -> None:
        self._context = context
        self.proxy = Proxy(context, limits, door_limits or DoorLimits())
        handlers = Handlers(context, self.proxy)
        self.user_api = user_routes(context, handlers)
        self.peer_api = peer_routes(context, handlers)

    async def command(self, console: Console) -> int:
        """Run one ``ztm proxy ...``.

        Raises:
            BrokenStreamError: the caller went away.
        """
        from ztm.apps.proxy.cli import COMMANDS, NOTES

        return await run_command(self._context, self.user_api, console, COMMANDS, NOTES)

    async def start(self) -> None:
        """Take up what was configured before.

        Raises:
            StorageError: it cannot be read.
        """
        await self.proxy.start()

    async def drain(self) -> None:
        """See `apps.base.Draining`."""
        await self.proxy.drain()

    async def stop(self) -> None:
        """End the listener and streams."""
        await self.proxy.stop()

    def figures(self) -> dict[str, float]:
        """See `apps.base.Measured`."""
        shown, book = self.proxy.exit.traffic.shown(), self.proxy.exit.book
        return {
            "exit_open": shown.open,
            "exit_connections_total": shown.total,
            "exit_sent_bytes_total": shown.sent,
            "exit_received_bytes_total": shown.received,
            "requests_logged_total": book.written,
            "requests_dropped_total": book.dropped,
        }


def user_routes(context: AppContext, handlers: Handlers) -> Router:
    """What the local user may ask of this and, through the mesh, of other endpoints."""
    router = Router()
    mount_appinfo(router, context, "proxy")
    router.add("GET", "/api/groups", handlers.groups, summary="Groups that rules may name", answer=list[GroupShown])
    config = PREFIX + PROXY_CONFIG.removeprefix("/api")
    router.add(
        "GET", config, at_owner(context, handlers.config), summary="How the proxy is configured", answer=ConfigShown
    )
    router.add(
        "POST",
        config,
        handlers.configure_there,
        summary="Configure the proxy",
        body=ConfigBody,
        answer=ConfigShown,
        statuses=_CONFIGURED,
    )
    exits = at_owner(context, handlers.exits)
    router.add(
        "GET",
        PREFIX + PROXY_EXITS.removeprefix("/api"),
        exits,
        summary="The exits known there",
        answer=list[ExitShown],
    )
    router.add(
        "GET",
        PREFIX + PROXY_CA.removeprefix("/api"),
        handlers.authority_there,
        summary="The certificate of the exit's authority",
        answer=AuthorityShown,
        statuses=_CERTIFICATES,
    )
    return router


def peer_routes(context: AppContext, handlers: Handlers) -> Router:
    """What other endpoints may ask of this one."""
    router = Router()

    def owner(handler: Handler) -> Handler:
        return by_owner(context, handler)

    router.add("GET", PROXY_CONFIG, handlers.config_for_peer, summary="What it serves; to its owner all of it")
    router.add("POST", PROXY_CONFIG, owner(handlers.configure), summary="Configure the proxy", body=ConfigBody)
    router.add("GET", PROXY_EXITS, owner(handlers.exits), summary="The exits known here", answer=list[ExitShown])
    router.add("GET", PROXY_CA, handlers.authority, summary="The certificate of the exit's authority", answer=str)
    router.add("CONNECT", PROXY_TARGETS, handlers.enter, summary="Go to a destination", statuses=_ENTERED)
    router.add("CONNECT", PROXY_DATAGRAMS, handlers.enter_datagrams, summary="The same, with datagrams")
    return router


APP = ProxyApp
"""What `ztm.apps.builtin` makes."""
