"""The users app and its paths: for the local user, and for other apps of this endpoint.

Other endpoints are answered nothing at all. Source: spec apps-network 5.
"""

from ztm.apps.appinfo import mount_appinfo
from ztm.apps.base import AppContext
from ztm.apps.command import Console
from ztm.apps.commandline import run_command
from ztm.apps.users.forms import GroupBody, GroupShown, UserShown
from ztm.apps.users.handlers import Handlers
from ztm.apps.users.service import Groups
from ztm.rest.router import Param, Router

_REFUSED = {
    201: "saved, and known to the hub if one is connected",
    400: "a name is malformed",
    403: "only root may",
    409: "another group has this name, or a user is not in the mesh",
    503: "the hub cannot be asked whether the users exist",
}
_DELETED = {200: "deleted", 403: "only root may", 404: "there is no such group"}
_FORCE = Param("force", text="Take also users who are not in the mesh")


class UsersApp:
    """The users app of one endpoint; see `apps.base.App`."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._groups = Groups(context)
        handlers = Handlers(context, self._groups)
        self.user_api = user_routes(context, handlers)
        self.self_api = self_routes(context, handlers)
        self.peer_api = Router()

    async def command(self, console: Console) -> int:
        """Run one ``ztm users ...``.

        Raises:
            BrokenStreamError: the caller went away.
        """
        from ztm.apps.users.cli import COMMANDS, NOTES

        return await run_command(self._context, self.user_api, console, COMMANDS, NOTES)

    async def start(self) -> None:
        """Begin to follow the groups; they are read meanwhile."""
        self._groups.start()

    async def stop(self) -> None:
        """Follow them no more."""
        self._groups.stop()


def user_routes(context: AppContext, handlers: Handlers) -> Router:
    """What the local user may ask; only root may change anything."""
    router = Router()
    _add_reading(router, context, handlers)
    router.add("GET", "/api/groups", handlers.groups, summary="The groups of the mesh", answer=list[GroupShown])
    router.add("GET", "/api/groups/{id}", handlers.group, summary="One group with its history", answer=GroupShown)
    router.add(
        "POST",
        "/api/groups/{id}",
        handlers.put,
        summary="Create or replace a group",
        body=GroupBody,
        answer=GroupShown,
        statuses=_REFUSED,
        query=(_FORCE,),
    )
    router.add("DELETE", "/api/groups/{id}", handlers.delete, summary="Delete a group", statuses=_DELETED)
    return router


def self_routes(context: AppContext, handlers: Handlers) -> Router:
    """What other apps of this endpoint may ask: they are answered from memory where that is possible."""
    router = Router()
    _add_reading(router, context, handlers)
    router.add("GET", "/api/groups", handlers.groups_here, summary="The groups of the mesh", answer=list[GroupShown])
    router.add("GET", "/api/groups/{id}", handlers.group_here, summary="One group", answer=GroupShown)
    return router


def _add_reading(router: Router, context: AppContext, handlers: Handlers) -> None:
    mount_appinfo(router, context, "users")
    router.add("GET", "/api/users", handlers.users, summary="The users of the mesh")
    router.add("GET", "/api/users/{name}", handlers.user, summary="The groups that name a user", answer=UserShown)


APP = UsersApp
"""What `ztm.apps.builtin` makes."""
