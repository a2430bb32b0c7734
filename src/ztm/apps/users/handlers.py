"""The users app's handlers: each answers one request, for the local user or for another app of this endpoint.

Which of them a path leads to is in `api`. Source: spec apps-network 5.
"""

from ztm.apps.base import AppContext
from ztm.apps.users.forms import GroupBody, GroupShown, Membership, UserShown, group_shown
from ztm.apps.users.service import Groups
from ztm.errors import ZtmError
from ztm.rest.message import JSON, Request, Response
from ztm.wire import codec


class Handlers:
    """What can be asked of users and groups."""

    def __init__(self, context: AppContext, groups: Groups) -> None:
        self._context = context
        self._groups = groups

    # ------------------------------------------------------------------ users

    async def users(self, request: Request) -> Response:  # noqa: ARG002
        """The users of the mesh, as the hub lists them."""
        return Response(body=codec.encode_users(await self._context.users()), content_type=JSON)

    async def user(self, request: Request) -> Response:
        """The groups that name a user, who need not be in the mesh."""
        name = request.params["name"]
        groups = [Membership(one.id, one.name) for one in await self._groups.all() if name in one.users]
        return Response(body=UserShown(name, groups))

    # ------------------------------------------------------------------ groups

    async def groups(self, request: Request) -> Response:  # noqa: ARG002
        """All groups, with those of their users who are not in the mesh."""
        groups = await self._groups.all()
        known = await self._known() if groups else None
        return Response(body=[group_shown(group, known) for group in groups])

    async def groups_here(self, request: Request) -> Response:  # noqa: ARG002
        """All groups, from memory: no hub is asked."""
        return Response(body=[group_shown(group) for group in await self._groups.all()])

    async def group(self, request: Request) -> Response:
        """One group with its history."""
        return Response(body=await self._shown(request.params["id"]))

    async def group_here(self, request: Request) -> Response:
        """One group, from memory."""
        return Response(body=group_shown(await self._groups.one(request.params["id"])))

    async def put(self, request: Request) -> Response:
        """Create or replace a group."""
        body = await request.json(GroupBody)
        is_forced = "force" in request.query
        group = await self._groups.put(request.params["id"], body.name, body.users, force=is_forced)
        return Response(201, group_shown(group, whole=True))

    async def delete(self, request: Request) -> Response:
        """Delete a group."""
        await self._groups.delete(request.params["id"])
        return Response(200)

    async def _shown(self, id_: str) -> GroupShown:
        return group_shown(await self._groups.one(id_), await self._known(), whole=True)

    async def _known(self) -> frozenset[str] | None:
        """The users of the mesh, or None where the hub cannot be asked: groups are shown in either case."""
        try:
            return frozenset(user.name for user in await self._context.users())
        except ZtmError as error:
            self._context.log.info("the users of the mesh are not known now: %s", error)
            return None
