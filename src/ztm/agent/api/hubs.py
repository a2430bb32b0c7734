"""The local API's routes about hubs. Source: spec agent-api 5."""

from dataclasses import replace

from ztm.agent.api.base import MESH, REFUSED, MeshApi, log_lines
from ztm.agent.api.views import LogLine
from ztm.agent.api.views_mesh import HubChange, HubPeer, HubPort, HubStatusView, HubView, hub_status_view, hub_view
from ztm.agent.mesh import Mesh
from ztm.agent.visit import PortProbe, log_of, probe
from ztm.errors import ForbiddenError, NotFoundError, UsageError
from ztm.model import ROOT, HubInfo
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import codec, paths

MAX_PORTS = 16
"""Addresses of one hub that are probed."""


class HubRoutes(MeshApi):
    """Handlers below a mesh's hubs."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        add, hubs, hub = router.add, f"{MESH}/hubs", f"{MESH}/hubs/{{hub}}"
        known = dict[str, HubView]
        add(
            "GET", hubs, self.hubs, summary="The hubs that are known, by id", answer=known, statuses=REFUSED, tag="hubs"
        )
        add("GET", hub, self.hub, summary="One hub as it answers", answer=HubStatusView, statuses=REFUSED, tag="hubs")
        add(
            "POST",
            hub,
            self.attach,
            summary="Leave the attached hub for this one; open streams go on",
            body=HubChange,
            statuses={201: "attached", **REFUSED},
            tag="hubs",
        )
        log, lines = f"{hub}/log", list[LogLine]
        add("GET", log, self.log, summary="A hub's log, for root", answer=lines, statuses=REFUSED, tag="hubs")

    async def hubs(self, request: Request) -> Response:
        """The hubs that are known, and which one is attached."""
        mesh = self._mesh_if_any(request)
        if mesh is None:
            return Response(200, {})
        return Response(200, {hub.id: hub_view(hub, mesh.hub_id) for hub in mesh.hubs().values()})

    def _known(self, mesh: Mesh, request: Request) -> HubInfo:
        known = mesh.hubs().get(request.params["hub"])
        if known is None:
            raise NotFoundError(f"hub '{request.params['hub']}' not found in mesh {mesh.name}")
        return known

    async def _probed(self, mesh: Mesh, hub: HubInfo) -> list[PortProbe]:
        """How its addresses answer, the best first.

        Raises:
            NotFoundError: none does.
        """
        probes = await probe(mesh.network, replace(hub, ports=hub.ports[:MAX_PORTS]), mesh.tls())
        if all(each.status is None for each in probes):
            tried = ", ".join(str(port) for port in hub.ports)
            raise NotFoundError(f"hub '{hub.id}' answers at none of its addresses ({tried})")
        return probes

    async def hub(self, request: Request) -> Response:
        """One hub as it answers now."""
        mesh = self._mesh(request)
        known = self._known(mesh, request)
        probes = await self._probed(mesh, known)
        status = next(each.status for each in probes if each.status is not None)
        ports = [HubPort(str(each.address), _milliseconds(each.latency), each.status is not None) for each in probes]
        return Response(200, hub_status_view(status, ports, _peers(mesh, known), mesh.hub_id))

    async def attach(self, request: Request) -> Response:
        """Leave the attached hub for this one."""
        mesh = self._mesh(request)
        if not (await request.json(HubChange)).connected:
            raise UsageError("a hub is left by connecting to another one, or by disabling the mesh")
        known = self._known(mesh, request)
        if mesh.hub_id != known.id:
            answered = [each for each in await self._probed(mesh, known) if each.latency is not None]
            await mesh.attach(min(answered, key=lambda each: each.latency or 0.0).address)
        return Response(201)

    async def log(self, request: Request) -> Response:
        """A hub's log, which only root may read."""
        mesh = self._mesh_if_any(request)
        if mesh is None:
            return Response(200, [])
        known = self._known(mesh, request)
        if mesh.user != ROOT:
            raise ForbiddenError(f"only root may read a hub's log, and mesh {mesh.name} is joined as {mesh.user}")
        if known.id == mesh.hub_id:
            body = await mesh.link().ask("GET", paths.LOG)
        else:
            body = await log_of(mesh.network, known.ports, mesh.tls())
        return Response(200, log_lines(codec.decode_log(body)))


def _milliseconds(latency: float | None) -> int | None:
    return None if latency is None else round(latency * 1000)


def _peers(mesh: Mesh, hub: HubInfo) -> list[HubPeer]:
    """The other hubs that are known."""
    return [
        HubPeer(other.id, other.zone, [str(port) for port in other.ports], other.id == mesh.hub_id)
        for other in mesh.hubs().values()
        if other.id != hub.id
    ]
