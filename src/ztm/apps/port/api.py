"""The port app and its paths: for the local user, and for other endpoints.

A peer may see or change the configuration only as the same user, by the verified certificate; what it may reach
through this endpoint is decided by the exit.

Source: spec apps-network 6.
"""

import msgspec

from ztm.apps.appinfo import mount_appinfo
from ztm.apps.base import AppContext
from ztm.apps.callers import by_owner, peer_of
from ztm.apps.command import Console
from ztm.apps.commandline import run_command
from ztm.apps.owner import PREFIX, at_owner
from ztm.apps.port.exit import Asked
from ztm.apps.port.forms import Config, PortShown, stored
from ztm.apps.port.model import check_protocol, parse_target
from ztm.apps.port.service import Ports
from ztm.apps.streams.figures import Totals
from ztm.apps.streams.limits import LIMITS, StreamLimits
from ztm.rest.message import JSON, Request, Response
from ztm.rest.router import Handler, Router
from ztm.wire.codec import encode_endpoints
from ztm.wire.paths import PORT_CONFIG, PORT_TARGET, PORTS

_SAVED = {201: "saved; a port may still wait to be free", 507: "it could not be saved, and nothing changed"}
_ENTERED = {
    400: "no such protocol, or no host:port",
    403: "you may not reach it",
    502: "it could not be reached; the header ztm-error says why",
    504: "it did not answer in time",
}


class PortApp:
    """The port app of one endpoint; see `apps.base.App`."""

    def __init__(self, context: AppContext, limits: StreamLimits = LIMITS) -> None:
        self._context = context
        self._ports = Ports(context, limits)
        self._entered, self._left = Totals(), Totals()
        self.user_api = self._user_routes()
        self.peer_api = self._peer_routes()

    async def command(self, console: Console) -> int:
        """Run one ``ztm port ...``.

        Raises:
            BrokenStreamError: the caller went away.
        """
        from ztm.apps.port.cli import COMMANDS, NOTES

        return await run_command(self._context, self.user_api, console, COMMANDS, NOTES)

    async def start(self) -> None:
        """Take up what was configured before.

        Raises:
            StorageError: it cannot be read.
        """
        await self._ports.start()

    async def drain(self) -> None:
        """See `apps.base.Draining`."""
        await self._ports.drain()

    async def stop(self) -> None:
        """End listeners and streams."""
        await self._ports.stop()

    def figures(self) -> dict[str, float]:
        """See `apps.base.Measured`."""
        entered = self._entered.now(entry.traffic for entry in self._ports.entries.values())
        left = self._left.now(self._ports.exit.traffic.values())
        return {
            "ports": len(self._ports.entries),
            **{f"entry_{name}": value for name, value in entered.items()},
            **{f"exit_{name}": value for name, value in left.items()},
        }

    # ------------------------------------------------------------------ routes

    def _user_routes(self) -> Router:
        """What the local user may ask of this and, through the mesh, of other endpoints."""
        router = Router()
        mount_appinfo(router, self._context, "port")
        router.add("GET", "/api/endpoints", self._endpoints, summary="The endpoints of the mesh")
        config, ports = PREFIX + PORT_CONFIG.removeprefix("/api"), PREFIX + PORTS.removeprefix("/api")
        change = at_owner(self._context, self._change, body=self._checked)
        router.add("GET", config, self._there(self._config), summary="Ports and access list", answer=Config)
        router.add("POST", config, change, summary="Replace both", body=Config, answer=list[PortShown], statuses=_SAVED)
        router.add("GET", ports, self._there(self._shown), summary="Ports as they are now", answer=list[PortShown])
        return router

    def _there(self, handler: Handler) -> Handler:
        return at_owner(self._context, handler)

    def _peer_routes(self) -> Router:
        """What other endpoints may ask of this one."""
        router = Router()

        def owner(handler: Handler) -> Handler:
            return by_owner(self._context, handler)

        router.add("GET", PORT_CONFIG, owner(self._config), summary="Ports and access list", answer=Config)
        router.add(
            "POST",
            PORT_CONFIG,
            owner(self._change),
            summary="Replace both",
            body=Config,
            answer=list[PortShown],
            statuses=_SAVED,
        )
        router.add("GET", PORTS, owner(self._shown), summary="Ports as they are now", answer=list[PortShown])
        router.add("CONNECT", PORT_TARGET, self._enter, summary="Reach a target", statuses=_ENTERED)
        return router

    # ------------------------------------------------------------------ handlers

    async def _endpoints(self, _request: Request) -> Response:
        return Response(body=encode_endpoints(await self._context.endpoints()), content_type=JSON)

    async def _config(self, _request: Request) -> Response:
        return Response(body=self._ports.config())

    async def _shown(self, _request: Request) -> Response:
        return Response(body=self._ports.shown())

    async def _change(self, request: Request) -> Response:
        config = await request.json(Config)
        await self._ports.change(*config.records(), config.revision)
        return Response(201, self._ports.shown())

    async def _checked(self, request: Request) -> bytes:
        """The body that is sent to another endpoint, checked here, in the forms that v1 takes."""
        config = await request.json(Config)
        checked = stored(*config.records())
        checked.revision = config.revision
        return msgspec.json.encode(checked)

    async def _enter(self, request: Request) -> None:
        """Take a peer's stream to a target; accepted only once that is reached."""
        protocol = check_protocol(request.params["proto"])
        asked = Asked(peer_of(request), protocol, parse_target(request.params["target"]))
        carry = self._ports.exit.carry if protocol == "tcp" else self._ports.exit.carry_datagrams
        await carry(asked, request.upgrade.accept)


APP = PortApp
"""What `ztm.apps.builtin` makes."""
