"""The local API's routes about meshes: joining, and what a mesh has. Source: spec agent-api 4 to 6 and 11."""

from typing import Any, Protocol

from ztm import pki
from ztm.agent.mesh import Mesh
from ztm.agent.views import MeshSettings, MeshView, endpoint_view, hub_status_view, hub_view, mesh_view
from ztm.errors import ForbiddenError, NotFoundError, UsageError, ZtmError
from ztm.model import ROOT, Permit, check_user, check_uuid
from ztm.net.base import Network
from ztm.rest.message import JSON, Request, Response
from ztm.rest.router import Router
from ztm.wire import codec, paths
from ztm.wire.records import Hop

MESH = "/api/meshes/{mesh}"
REFUSED = {400: "malformed", 403: "not allowed", 404: "not found", 503: "the mesh is not connected"}


class Meshes(Protocol):
    """What the routes need of the agent."""

    network: Network

    def public_key(self) -> str:
        """The identity's public key."""

    def meshes(self) -> list[Mesh]:
        """All joined meshes."""

    def mesh(self, name: str) -> Mesh:
        """One of them."""

    async def join(self, name: str, settings: MeshSettings) -> Mesh:
        """Join, or change settings."""

    async def leave(self, name: str) -> None:
        """Leave."""


class MeshRoutes:
    """Handlers below ``/api/meshes``."""

    def __init__(self, agent: Meshes) -> None:
        self._agent = agent

    def mount(self, router: Router) -> None:
        """Add the routes."""
        add = router.add
        add("GET", "/api/meshes", self.meshes, summary="Joined meshes", answer=list[MeshView], tag="meshes")
        add("GET", MESH, self.mesh, summary="One mesh", answer=MeshView, statuses=REFUSED, tag="meshes")
        add(
            "POST",
            MESH,
            self.join,
            summary="Join, or change settings",
            body=MeshSettings,
            answer=MeshView,
            statuses={201: "stored, and connecting", **REFUSED},
            tag="meshes",
        )
        add("DELETE", MESH, self.leave, summary="Leave", statuses={204: "left", **REFUSED}, tag="meshes")
        add("GET", f"{MESH}/log", self.log, summary="Last log lines", answer=list, statuses=REFUSED, tag="meshes")
        add(
            "POST",
            f"{MESH}/permits/{{user}}",
            self.permit,
            summary="Invite a user: body is the public key (PEM)",
            answer=dict,
            statuses=REFUSED,
            tag="users",
        )
        add("GET", f"{MESH}/users", self.users, summary="Users", answer=list, statuses=REFUSED, tag="users")
        add("GET", f"{MESH}/users/{{user}}", self.user, summary="One user", answer=dict, statuses=REFUSED, tag="users")
        add(
            "DELETE",
            f"{MESH}/users/{{user}}",
            self.evict,
            summary="Evict a user",
            statuses={204: "evicted", **REFUSED},
            tag="users",
        )
        add("GET", f"{MESH}/hubs", self.hubs, summary="Hubs", answer=dict, statuses=REFUSED, tag="hubs")
        add("GET", f"{MESH}/hubs/{{hub}}", self.hub, summary="One hub", answer=dict, statuses=REFUSED, tag="hubs")
        add("GET", f"{MESH}/hubs/{{hub}}/log", self.hub_log, summary="Its log, for root", answer=list, tag="hubs")
        add("GET", f"{MESH}/endpoints", self.endpoints, summary="Endpoints", answer=list, tag="endpoints")
        add("GET", f"{MESH}/endpoints/{{ep}}", self.endpoint, summary="One endpoint", answer=dict, tag="endpoints")
        for method, handler in (("GET", self.labels), ("POST", self.relabel)):
            add(method, f"{MESH}/endpoints/{{ep}}/labels", handler, summary="Labels", answer=list, tag="endpoints")
        add("GET", f"{MESH}/endpoints/{{ep}}/log", self.endpoint_log, summary="Its log", answer=list, tag="endpoints")
        add("GET", f"{MESH}/ping/endpoints/{{ep}}", self.ping, summary="Ping", answer=list, tag="endpoints")
        add("GET", f"{MESH}/stats/endpoints", self.stats, summary="Rates", answer=dict, tag="endpoints")
        add("GET", f"{MESH}/stats/endpoints/{{ep}}", self.stats, summary="Rates", answer=dict, tag="endpoints")

    def _mesh(self, request: Request) -> Mesh:
        return self._agent.mesh(request.params["mesh"])

    # ------------------------------------------------------------------ meshes

    async def meshes(self, _request: Request) -> Response:
        """All joined meshes."""
        return Response(200, [mesh_view(mesh) for mesh in self._agent.meshes()])

    async def mesh(self, request: Request) -> Response:
        """One mesh."""
        return Response(200, mesh_view(self._mesh(request)))

    async def join(self, request: Request) -> Response:
        """Join, or change settings; what is left out stays."""
        mesh = await self._agent.join(request.params["mesh"], await request.json(MeshSettings))
        return Response(201, mesh_view(mesh))

    async def leave(self, request: Request) -> Response:
        """Leave."""
        await self._agent.leave(request.params["mesh"])
        return Response(204)

    async def log(self, request: Request) -> Response:
        """The mesh's last log lines."""
        return _json(codec.encode_log(self._mesh(request).log_entries()))

    # ------------------------------------------------------------------ users

    async def permit(self, request: Request) -> Response:
        """Have a user's key signed, and make the permit."""
        mesh = self._mesh(request)
        user = check_user(request.params["user"])
        if user == ROOT:
            raise UsageError("the user name 'root' is reserved; 'ztm root' on the hub makes another root permit")
        public = pki.check_public_key(await request.text(1 << 16))
        if mesh.user != ROOT:
            raise ForbiddenError(f"only root may invite, and mesh {mesh.name} is joined as {mesh.user}")
        body = await mesh.link().ask("POST", paths.fill(paths.SIGN, user=user), public.encode())
        permit = Permit(ca=mesh.row.ca, certificate=body.decode("ascii"), bootstraps=mesh.row.bootstraps)
        return _json(pki.format_permit(permit).encode())

    async def users(self, request: Request) -> Response:
        """Users with endpoints."""
        return _json(await self._listed(request, paths.USERS, ("name", "keyword", "limit", "offset")))

    async def user(self, request: Request) -> Response:
        """One user."""
        name = request.params["user"]
        found = codec.decode_users(await self._mesh(request).link().ask("GET", paths.fill(paths.USERS, {"name": name})))
        if not found:
            raise NotFoundError(f"user '{name}' not found")
        return _json(codec.encode_users(found)[1:-1])

    async def evict(self, request: Request) -> Response:
        """Evict a user. The time is the hub's; ours only says that this is a new request."""
        mesh, user = self._mesh(request), check_user(request.params["user"])
        if user == ROOT:
            raise ForbiddenError("root cannot be evicted")
        if mesh.user != ROOT:
            raise ForbiddenError(f"only root may evict, and mesh {mesh.name} is joined as {mesh.user}")
        link = mesh.link()
        now = int(self._agent.network.wall())
        known = codec.decode_evictions(await link.ask("GET", paths.EVICTIONS))
        latest = max((eviction.time for eviction in known if eviction.user == user), default=0)
        await link.ask("POST", paths.fill(paths.EVICTION, {"time": max(now, latest + 1)}, user=user))
        return Response(204)

    # ------------------------------------------------------------------ hubs

    async def hubs(self, request: Request) -> Response:
        """The hubs that are known, and which one is attached."""
        mesh = self._mesh(request)
        return Response(200, {hub.id: hub_view(hub, mesh.hub_id) for hub in mesh.hubs().values()})

    async def hub(self, request: Request) -> Response:
        """One hub as it answers now."""
        mesh = self._mesh(request)
        known = mesh.hubs().get(request.params["hub"])
        if known is None:
            raise NotFoundError(f"hub '{request.params['hub']}' not found")
        link = mesh.link()
        if link.status.id != known.id:
            raise NotFoundError(f"hub '{known.id}' is not the one that this agent is attached to")
        begin = self._agent.network.now()
        status = codec.decode_hub_status(await link.ask("GET", paths.HUB_STATUS))
        milliseconds = round((self._agent.network.now() - begin) * 1000)
        ports: list[dict[str, Any]] = [
            {"name": str(port), "online": port == link.address, "ping": milliseconds if port == link.address else None}
            for port in dict.fromkeys((*known.ports, *status.ports))
        ]
        return Response(200, hub_status_view(status, ports, mesh.hub_id))

    async def hub_log(self, request: Request) -> Response:
        """A hub's log, which only root may read."""
        return _json(await self._mesh(request).link().ask("GET", paths.LOG))

    # ------------------------------------------------------------------ endpoints

    async def endpoints(self, request: Request) -> Response:
        """Endpoints of the mesh."""
        mesh = self._mesh(request)
        names = ("id", "name", "user", "keyword", "limit", "offset")
        found = codec.decode_endpoints(await self._listed(request, paths.ENDPOINTS, names))
        full = len(found) == 1
        return Response(200, [endpoint_view(endpoint, mesh.endpoint_id, full=full) for endpoint in found])

    async def endpoint(self, request: Request) -> Response:
        """One endpoint."""
        mesh, endpoint = self._mesh(request), check_uuid("endpoint", request.params["ep"])
        try:
            body = await mesh.link().ask("GET", paths.fill(paths.ENDPOINT, ep=endpoint))
        except NotFoundError as error:
            raise NotFoundError(f"endpoint '{endpoint}' not found") from error
        return Response(200, endpoint_view(codec.decode_endpoint(body), mesh.endpoint_id, full=True))

    async def labels(self, request: Request) -> Response:
        """An endpoint's labels."""
        mesh, endpoint = self._mesh(request), request.params["ep"]
        if endpoint == mesh.endpoint_id:
            return _json(codec.encode_labels(mesh.labels()))
        return _json(await self._forward(mesh, "GET", endpoint, "labels"))

    async def relabel(self, request: Request) -> Response:
        """Replace an endpoint's labels."""
        mesh, endpoint = self._mesh(request), request.params["ep"]
        labels = codec.decode_labels(await request.body(1 << 20))
        if endpoint == mesh.endpoint_id:
            mesh.relabel(labels)
        else:
            await self._forward(mesh, "POST", endpoint, "labels", codec.encode_labels(labels))
        return Response(201)

    async def endpoint_log(self, request: Request) -> Response:
        """An endpoint's log of this mesh."""
        mesh, endpoint = self._mesh(request), request.params["ep"]
        if endpoint == mesh.endpoint_id:
            return _json(codec.encode_log(mesh.log_entries()))
        return _json(await self._forward(mesh, "GET", endpoint, "log"))

    async def ping(self, request: Request) -> Response:
        """From here to the hub to an endpoint; a failure is told within the answer."""
        mesh, endpoint = self._mesh(request), request.params["ep"]
        start = mesh.now_ms()
        hops: list[Hop] = []
        error: str | None = None
        try:
            body = await mesh.link().ask("GET", paths.fill(paths.ENDPOINT_PING, ep=endpoint), timeout=30.0)
            hops = codec.decode_hops(body)
        except ZtmError as failure:
            error = str(failure)
        own = Hop("endpoint", mesh.endpoint_id, mesh.endpoint_name, start_ms=start, end_ms=mesh.now_ms(), error=error)
        return _json(codec.encode_hops([own, *hops]))

    async def stats(self, request: Request) -> Response:
        """Rates of all endpoints, or of one."""
        endpoint = request.params.get("ep")
        target = paths.fill(paths.ENDPOINT_STATS, ep=endpoint) if endpoint else paths.STATS
        return _json(await self._mesh(request).link().ask("GET", target))

    # ------------------------------------------------------------------ by way of the hub

    async def _listed(self, request: Request, template: str, names: tuple[str, ...]) -> bytes:
        query = {name: request.query[name] for name in names if request.query.get(name)}
        return await self._mesh(request).link().ask("GET", paths.fill(template, query))

    async def _forward(self, mesh: Mesh, method: str, endpoint: str, rest: str, body: bytes = b"") -> bytes:
        target = paths.fill(paths.FORWARD, ep=check_uuid("endpoint", endpoint), rest=rest)
        return await mesh.link().ask(method, target, body)


def _json(body: bytes) -> Response:
    return Response(200, body, content_type=JSON)
