"""The local API's routes about endpoints: lists, labels, logs, pings and rates. Source: spec agent-api 6 and 11."""

from ztm.agent.api.base import MESH, PAGE, REFUSED, TOTAL, MeshApi, log_lines, page_of
from ztm.agent.api.views import Labels, LogLine
from ztm.agent.api.views_mesh import (
    EndpointRates,
    EndpointView,
    HopEndpoint,
    HopHub,
    HopView,
    Rates,
    endpoint_view,
)
from ztm.agent.endpoints import endpoint_of, forward, has_labels, rows
from ztm.errors import ZtmError
from ztm.rest.message import Request, Response
from ztm.rest.route import Param
from ztm.rest.router import Router
from ztm.wire import codec, paths
from ztm.wire.records import Hop

FILTERS = (
    Param("id", str, "this id; with `name`, either is enough"),
    Param("name", str, "exactly this name"),
    Param("user", str, "of this user"),
    Param("keyword", str, "a part of the name, or of a label"),
    Param("label", list[str], "with this label; given several times, with all of them"),
)
PING = 30.0
"""Seconds for a ping, of which the hub gives the endpoint half."""
MAX_BODY = 64 << 10


class EndpointRoutes(MeshApi):
    """Handlers below a mesh's endpoints, pings and stats."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        endpoints, one = f"{MESH}/endpoints", f"{MESH}/endpoints/{{ep}}"
        router.add(
            "GET",
            endpoints,
            self.endpoints,
            summary="Endpoints, in the order of joining",
            answer=list[EndpointView],
            statuses=REFUSED,
            query=(*FILTERS, *PAGE),
            headers=TOTAL,
            tag="endpoints",
        )
        for path, handler, summary, answer in (
            (one, self.endpoint, "One endpoint", EndpointView),
            (f"{one}/labels", self.labels, "Its labels", list[str]),
            (f"{one}/log", self.log, "Its log of this mesh, for its own user", list[LogLine]),
            (f"{MESH}/ping/endpoints/{{ep}}", self.ping, "From here to the hub to it", list[HopView]),
            (f"{MESH}/stats/endpoints", self.stats, "Rates of all endpoints", dict[str, Rates]),
            (f"{MESH}/stats/endpoints/{{ep}}", self.endpoint_stats, "Its rates", EndpointRates),
        ):
            router.add("GET", path, handler, summary=summary, answer=answer, statuses=REFUSED, tag="endpoints")
        router.add(
            "POST",
            f"{one}/labels",
            self.relabel,
            summary="Replace its labels; doubles are dropped",
            body=Labels,
            statuses={201: "stored", **REFUSED},
            tag="endpoints",
        )

    async def endpoints(self, request: Request) -> Response:
        """A page of the endpoints that fit."""
        offset, limit = page_of(request)
        mesh = self._mesh_if_any(request)
        if mesh is None:
            return Response(200, [], headers=[("total", "0")])
        wanted = {name: request.query.get(name, "") for name in ("id", "name", "user", "keyword")}
        labels = request.every("label")
        chosen = has_labels(labels) if labels else None
        found, total = await rows(mesh.link(), paths.ENDPOINTS, codec.decode_endpoints, wanted, offset, limit, chosen)
        headers = [] if total is None else [("total", str(total))]
        full = len(found) == 1
        return Response(200, [endpoint_view(each, mesh.endpoint_id, full=full) for each in found], headers=headers)

    async def endpoint(self, request: Request) -> Response:
        """One endpoint."""
        mesh = self._mesh(request)
        return Response(200, endpoint_view(await endpoint_of(mesh, request.params["ep"]), mesh.endpoint_id, full=True))

    async def labels(self, request: Request) -> Response:
        """An endpoint's labels."""
        mesh, endpoint = self._mesh(request), request.params["ep"]
        if endpoint == mesh.endpoint_id:
            return Response(200, list(mesh.labels()))
        return Response(200, list(codec.decode_labels(await forward(mesh, "GET", endpoint, "labels"))))

    async def relabel(self, request: Request) -> Response:
        """Replace an endpoint's labels."""
        mesh, endpoint = self._mesh(request), request.params["ep"]
        labels = await request.json(Labels, MAX_BODY)
        if endpoint == mesh.endpoint_id:
            mesh.relabel(labels)
        else:
            await forward(mesh, "POST", endpoint, "labels", codec.encode_labels(labels))
        return Response(201)

    async def log(self, request: Request) -> Response:
        """An endpoint's log of this mesh."""
        mesh, endpoint = self._mesh(request), request.params["ep"]
        if endpoint == mesh.endpoint_id:
            return Response(200, log_lines(mesh.log_entries()))
        return Response(200, log_lines(codec.decode_log(await forward(mesh, "GET", endpoint, "log"))))

    async def ping(self, request: Request) -> Response:
        """From here to the hub to an endpoint; a failure is told within the answer."""
        mesh, endpoint = self._mesh(request), request.params["ep"]
        start = mesh.now_ms()
        hops: list[Hop] = []
        error: str | None = None
        try:
            body = await mesh.link().ask("GET", paths.fill(paths.ENDPOINT_PING, ep=endpoint), timeout=PING)
            hops = codec.decode_hops(body)
        except ZtmError as failure:
            error = str(failure)
        own = Hop("endpoint", mesh.endpoint_id, mesh.endpoint_name, start_ms=start, end_ms=mesh.now_ms(), error=error)
        return Response(200, [_hop_view(hop) for hop in (own, *hops)])

    async def stats(self, request: Request) -> Response:
        """Rates of all endpoints."""
        found = codec.decode_stats(await self._mesh(request).link().ask("GET", paths.STATS))
        return Response(200, {endpoint: Rates(each.send, each.receive) for endpoint, each in found.items()})

    async def endpoint_stats(self, request: Request) -> Response:
        """Rates of one endpoint."""
        mesh = self._mesh(request)
        known = await endpoint_of(mesh, request.params["ep"])
        found = codec.decode_traffic(await mesh.link().ask("GET", paths.fill(paths.ENDPOINT_STATS, ep=known.id)))
        peers = {peer: Rates(each.send, each.receive) for peer, each in found.peers.items()}
        return Response(200, EndpointRates(found.send, found.receive, peers))


def _hop_view(hop: Hop) -> HopView:
    """One stop; what it is not is left out."""
    view = HopView(start=hop.start_ms, end=hop.end_ms, error=hop.error)
    if hop.kind == "hub":
        view.hub = HopHub(hop.id, list(hop.names))
    else:
        view.endpoint = HopEndpoint(hop.id, hop.name)
    return view
