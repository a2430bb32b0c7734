"""The terminal app and its paths: for the local user, and for other endpoints.

It says which path leads where; who may have a session is decided in `service`, by the verified certificate.

Source: spec apps-network 3.2.
"""

from ztm.apps.appinfo import mount_appinfo
from ztm.apps.base import AppContext
from ztm.apps.callers import by_owner
from ztm.apps.command import Console
from ztm.apps.commandline import run_command
from ztm.apps.owner import PREFIX, at_owner
from ztm.apps.terminal.entry import Entry
from ztm.apps.terminal.forms import ConfigBody, ConfigShown, EndpointShown
from ztm.apps.terminal.handlers import Handlers
from ztm.apps.terminal.service import Terminals
from ztm.apps.terminal.webpage import Page
from ztm.rest.router import Handler, Router
from ztm.wire.paths import SHELL, TERMINAL_CONFIG

_CONFIGURED = {
    400: "a part is malformed, or there is no such operating system user",
    403: "the endpoint is another user's, or its agent cannot become that operating system user",
    507: "it could not be saved, and nothing changed",
}
_SHOWN = {403: "the endpoint is another user's"}
_SERVED = {
    403: "you may not have a session here; the header ztm-error says why",
    429: "there are as many sessions as may be",
    503: "this system has no terminals",
}


class TerminalApp:
    """The terminal app of one endpoint; see `apps.base.App`."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._terminals = Terminals(context)
        self._entry = Entry(context, self._terminals)
        handlers = Handlers(context, self._terminals)
        self.user_api = user_routes(context, handlers, Page(context, self._entry))
        self.peer_api = peer_routes(context, handlers)

    async def command(self, console: Console) -> int:
        """Run one ``ztm terminal ...``.

        Raises:
            BrokenStreamError: the caller went away.
        """
        from ztm.apps.terminal.cli import NOTES, commands

        return await run_command(self._context, self.user_api, console, commands(self._entry), NOTES)

    async def start(self) -> None:
        """Take up what was configured before.

        Raises:
            StorageError: it cannot be read.
        """
        await self._terminals.start()

    async def stop(self) -> None:
        """End all sessions; every program has ended when this returns."""
        await self._terminals.stop()

    def figures(self) -> dict[str, float]:
        """See `apps.base.Measured`."""
        return {"sessions": float(self._terminals.sessions), "sessions_total": float(self._terminals.total)}


def user_routes(context: AppContext, handlers: Handlers, page: Page) -> Router:
    """What the local user may ask of this and, through the mesh, of other endpoints."""
    router = Router()
    mount_appinfo(router, context, "terminal")
    router.add(
        "GET", "/api/endpoints", handlers.endpoints, summary="The endpoints of the mesh", answer=list[EndpointShown]
    )
    config = PREFIX + TERMINAL_CONFIG.removeprefix("/api")
    _add_config(router, config, at_owner(context, handlers.config), at_owner(context, handlers.configure))
    router.mount(PREFIX + SHELL.removeprefix("/api"), page)
    return router


def peer_routes(context: AppContext, handlers: Handlers) -> Router:
    """What other endpoints may ask of this one."""
    router = Router()
    _add_config(router, TERMINAL_CONFIG, by_owner(context, handlers.config), handlers.configure_for_peer)
    router.add("CONNECT", SHELL, handlers.shell, summary="A session", statuses=_SERVED)
    return router


def _add_config(router: Router, path: str, config: Handler, configure: Handler) -> None:
    router.add("GET", path, config, summary="What is set for terminals", answer=ConfigShown, statuses=_SHOWN)
    router.add(
        "POST",
        path,
        configure,
        summary="Set what is given for terminals",
        body=ConfigBody,
        answer=ConfigShown,
        statuses={201: "saved", **_CONFIGURED},
    )


APP = TerminalApp
"""What `ztm.apps.builtin` makes."""
