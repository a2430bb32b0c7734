"""The local API's routes about users: listing, evicting, letting in again. Source: spec agent-api 6."""

from ztm.agent.api.base import MESH, PAGE, REFUSED, TOTAL, MeshApi, flag, only_root, page_of
from ztm.agent.api.views_mesh import EvictionView, UserView, eviction_view, user_view
from ztm.agent.endpoints import rows
from ztm.agent.mesh import Mesh
from ztm.errors import ForbiddenError, NotFoundError
from ztm.model import ROOT, Eviction, check_user
from ztm.rest.message import Request, Response
from ztm.rest.route import Param
from ztm.rest.router import Router
from ztm.wire import codec, paths

FILTERS = (Param("name", str, "exactly this name"), Param("keyword", str, "a part of the name"))
FORCE = Param("force", bool, "evict also a user of whom nothing is known here: one without any endpoint now")


class UserRoutes(MeshApi):
    """Handlers below a mesh's users and evictions."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        add = router.add
        users, user = f"{MESH}/users", f"{MESH}/users/{{user}}"
        add(
            "GET",
            users,
            self.users,
            summary="Users who have an endpoint now",
            answer=list[UserView],
            statuses=REFUSED,
            query=(*FILTERS, *PAGE),
            headers=TOTAL,
            tag="users",
        )
        add("GET", user, self.user, summary="One user", answer=UserView, statuses=REFUSED, tag="users")
        evicted = {204: "evicted", **REFUSED}
        add("DELETE", user, self.evict, summary="Evict a user", statuses=evicted, query=(FORCE,), tag="users")
        evictions, readmitted = f"{MESH}/evictions", {204: "let in again", **REFUSED}
        shown = list[EvictionView]
        add("GET", evictions, self.evictions, summary="Who is evicted", answer=shown, statuses=REFUSED, tag="users")
        add(
            "DELETE",
            f"{evictions}/{{user}}",
            self.readmit,
            summary="Undo an eviction: certificates that it shut out are good again",
            statuses=readmitted,
            tag="users",
        )

    async def users(self, request: Request) -> Response:
        """Users with endpoints."""
        offset, limit = page_of(request)
        mesh = self._mesh_if_any(request)
        if mesh is None:
            return Response(200, [], headers=[("total", "0")])
        wanted = {name: request.query.get(name, "") for name in ("name", "keyword")}
        found, total = await rows(mesh.link(), paths.USERS, codec.decode_users, wanted, offset, limit)
        headers = [] if total is None else [("total", str(total))]
        return Response(200, [user_view(user, mesh.endpoint_id) for user in found], headers=headers)

    async def user(self, request: Request) -> Response:
        """One user."""
        name, mesh = request.params["user"], self._mesh(request)
        found = codec.decode_users(await mesh.link().ask("GET", paths.fill(paths.USERS, {"name": name})))
        if not found:
            raise NotFoundError(f"user '{name}' not found")
        return Response(200, user_view(found[0], mesh.endpoint_id))

    async def evict(self, request: Request) -> Response:
        """Evict a user. The time is the hub's; ours only says that this is a new request."""
        mesh, user, is_forced = self._mesh(request), check_user(request.params["user"]), flag(request, "force")
        if user == ROOT:
            raise ForbiddenError("root cannot be evicted")
        only_root(mesh, "evict")
        link = mesh.link()
        latest = max((each.time for each in await _evictions(mesh) if each.user == user), default=0)
        known = codec.decode_users(await link.ask("GET", paths.fill(paths.USERS, {"name": user})))
        if not (known or latest or is_forced):
            raise NotFoundError(
                f"user '{user}' not found: nobody of that name has an endpoint now; use force to evict the name anyhow"
            )
        now = int(self._agent.network.wall())
        await link.ask("POST", paths.fill(paths.EVICTION, {"time": max(now, latest + 1)}, user=user))
        return Response(204)

    async def evictions(self, request: Request) -> Response:
        """Who is evicted."""
        mesh = self._mesh_if_any(request)
        return Response(200, [eviction_view(each) for each in await _evictions(mesh)] if mesh is not None else [])

    async def readmit(self, request: Request) -> Response:
        """Undo an eviction."""
        mesh, user = self._mesh(request), check_user(request.params["user"])
        only_root(mesh, "undo an eviction")
        if all(each.user != user for each in await _evictions(mesh)):
            raise NotFoundError(f"user '{user}' is not evicted")
        await mesh.link().ask("DELETE", paths.fill(paths.EVICTION, user=user))
        return Response(204)


async def _evictions(mesh: Mesh) -> list[Eviction]:
    return codec.decode_evictions(await mesh.link().ask("GET", paths.EVICTIONS))
