"""The script app and its paths: for the local user, and for other endpoints.

It says which path leads where and who may change settings; who may have scripts run is decided by `exit`.
Source: spec apps-network 4.2 and 4.3.
"""

from ztm.apps.appinfo import mount_appinfo
from ztm.apps.base import AppContext
from ztm.apps.callers import by_owner
from ztm.apps.command import Console
from ztm.apps.commandline import run_command
from ztm.apps.owner import PREFIX, at_owner
from ztm.apps.script.entry import Entry
from ztm.apps.script.exit import Exit
from ztm.apps.script.forms import SettingsBody, SettingsShown
from ztm.apps.script.handlers import CUT_HEADER, STATUS_HEADER, Handlers
from ztm.apps.script.limits import LIMITS, ScriptLimits
from ztm.apps.script.service import Scripts
from ztm.rest.router import Handler, Param, Router
from ztm.wire.paths import SCRIPT, SCRIPT_CONFIG

_CHANGED = {201: "saved", 400: "that cannot be allowed", 403: "only the endpoint's user may", 507: "it was not saved"}
_RUN = {
    403: "the endpoint does not allow it",
    413: "the script or its arguments are too large",
    429: "the endpoint runs too many scripts already",
    502: "the endpoint runs no such scripts",
    503: "no hub leads there now, or the endpoint was lost",
    504: "the endpoint did not answer in time",
}
_HEADERS = {STATUS_HEADER: "the exit status", CUT_HEADER: "1 where the answer is only the beginning of the output"}
_QUERY = (
    Param("argv", text="The arguments, a JSON array of texts"),
    Param("lang", text="python, or js for an endpoint of v1; python without it"),
    Param("name", text="The script's file name, for messages and the audit log"),
    Param("limit", float, "Seconds after which it is stopped"),
)


class ScriptApp:
    """The script app of one endpoint; see `apps.base.App`."""

    def __init__(self, context: AppContext, limits: ScriptLimits = LIMITS) -> None:
        self._context = context
        self.exit = Exit(context, limits)
        self.entry = Entry(context, self.exit, limits)
        self._scripts = Scripts(context, self.exit)
        handlers = Handlers(context, self._scripts, self.exit, self.entry, limits)
        self.user_api = user_routes(context, handlers)
        self.peer_api = peer_routes(context, handlers)

    async def command(self, console: Console) -> int:
        """Run one ``ztm script ...``.

        Raises:
            BrokenStreamError: the caller went away.
        """
        from ztm.apps.script.cli import NOTES, table, whole

        commands = table(self._context, self.entry)
        return await run_command(self._context, self.user_api, console, commands, NOTES, whole(console.call.words))

    async def start(self) -> None:
        """Take up what was allowed before.

        Raises:
            StorageError: it cannot be read.
        """
        await self._scripts.start()

    async def stop(self) -> None:
        """Stop all scripts."""
        await self.exit.close()

    def figures(self) -> dict[str, float]:
        """See `apps.base.Measured`."""
        return {"runs": self.exit.running}


def user_routes(context: AppContext, handlers: Handlers) -> Router:
    """What the local user may ask of this and, through the mesh, of other endpoints."""
    router = Router()
    config = PREFIX + SCRIPT_CONFIG.removeprefix("/api")
    mount_appinfo(router, context, "script")
    router.add("GET", "/api/endpoints", handlers.endpoints, summary="The endpoints of the mesh")
    _add_settings(router, config, at_owner(context, handlers.settings), at_owner(context, handlers.change))
    router.add(
        "POST",
        PREFIX + SCRIPT.removeprefix("/api"),
        handlers.run,
        summary="Run a script and answer with its output",
        body=bytes,
        answer=bytes,
        statuses=_RUN,
        query=_QUERY,
        headers=_HEADERS,
    )
    return router


def peer_routes(context: AppContext, handlers: Handlers) -> Router:
    """What other endpoints may ask of this one."""
    router = Router()
    settings, change = by_owner(context, handlers.settings), by_owner(context, handlers.change)
    _add_settings(router, SCRIPT_CONFIG, settings, change)
    router.add("CONNECT", SCRIPT, handlers.enter, summary="Run a script", query=_QUERY, statuses=_RUN)
    router.add("POST", SCRIPT, handlers.refuse, summary="v1's form", statuses={415: "only Python is run here"})
    return router


def _add_settings(router: Router, path: str, show: Handler, change: Handler) -> None:
    router.add("GET", path, show, summary="What is allowed", answer=SettingsShown)
    router.add(
        "POST",
        path,
        change,
        summary="Allow something else",
        body=SettingsBody,
        answer=SettingsShown,
        statuses=_CHANGED,
    )


APP = ScriptApp
"""What `ztm.apps.builtin` makes."""
