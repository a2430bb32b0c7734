"""The local API's routes about meshes themselves: joining, settings, leaving. Source: spec agent-api 4."""

from ztm.agent.api.base import MESH, NOT_FOUND, REFUSED, MeshApi, Meshes, flag, log_lines
from ztm.agent.api.views import AgentSettings, LogLine, MeshSettings, MeshView, mesh_view
from ztm.errors import UsageError
from ztm.rest.message import Request, Response
from ztm.rest.route import Param
from ztm.rest.router import Router

__all__ = ["MESH", "REFUSED", "MeshRoutes", "Meshes"]

MAX_PEM = 64 << 10
"""Bytes of a key or certificate that is posted; the largest post-quantum ones fit."""
STORED = {201: "stored, and connecting", **REFUSED}


class MeshRoutes(MeshApi):
    """Handlers of ``/api/meshes`` and of a mesh's own settings."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        add = router.add
        add("GET", "/api/meshes", self.meshes, summary="Joined meshes", answer=list[MeshView], tag="meshes")
        add("GET", MESH, self.mesh, summary="One mesh", answer=MeshView, statuses=NOT_FOUND, tag="meshes")
        add(
            "POST",
            MESH,
            self.join,
            summary="Join, or change settings; what is left out stays",
            body=MeshSettings,
            answer=MeshView,
            statuses=STORED,
            tag="meshes",
        )
        add(
            "DELETE",
            MESH,
            self.leave,
            summary="Leave, and forget all about it",
            query=(
                Param("keepData", bool, "whether files of the mesh stay on disk, for joining again under this name"),
            ),
            statuses={204: "left", **REFUSED},
            tag="meshes",
        )
        log = f"{MESH}/log"
        add("GET", log, self.log, summary="Last log lines", answer=list[LogLine], statuses=NOT_FOUND, tag="meshes")
        self._mount_credentials(router)

    def _mount_credentials(self, router: Router) -> None:
        for path, reading, storing, what in (
            (f"{MESH}/ca", self.ca, self.store_ca, "CA certificate (PEM)"),
            (f"{MESH}/agent/certificate", self.certificate, self.store_certificate, "user certificate (PEM)"),
        ):
            router.add("GET", path, reading, summary=f"The {what}", answer=str, statuses=NOT_FOUND, tag="meshes")
            router.add(
                "POST",
                path,
                storing,
                summary=f"Replace the {what}",
                body=str,
                answer=str,
                statuses=STORED,
                tag="meshes",
            )
        router.add(
            "POST",
            f"{MESH}/agent/key",
            self.store_key,
            summary="Replace the private key (PEM) that came with root's permit; it is never shown",
            body=str,
            statuses={204: "stored, and connecting", **REFUSED},
            tag="meshes",
        )

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
        await self._agent.leave(request.params["mesh"], keep_data=flag(request, "keepData"))
        return Response(204)

    async def log(self, request: Request) -> Response:
        """The mesh's last log lines."""
        return Response(200, log_lines(self._mesh(request).log_entries()))

    # ------------------------------------------------------------------ credentials

    async def ca(self, request: Request) -> Response:
        """The CA certificate."""
        return Response(200, self._mesh(request).row.ca)

    async def store_ca(self, request: Request) -> Response:
        """Replace the CA certificate; one that the permit is not of is refused."""
        mesh = await self._change(request, MeshSettings(ca=await self._pem(request)))
        return Response(201, mesh.ca)

    async def certificate(self, request: Request) -> Response:
        """The user certificate."""
        return Response(200, self._mesh(request).row.certificate)

    async def store_certificate(self, request: Request) -> Response:
        """Replace the user certificate."""
        mesh = await self._change(request, MeshSettings(agent=AgentSettings(certificate=await self._pem(request))))
        return Response(201, mesh.agent.certificate)

    async def store_key(self, request: Request) -> Response:
        """Replace the key of root's permit."""
        await self._change(request, MeshSettings(agent=AgentSettings(privateKey=await self._pem(request))))
        return Response(204)

    async def _pem(self, request: Request) -> str:
        """The body, once it is clear that the mesh is joined: a setting alone joins nothing.

        Raises:
            NotFoundError: the mesh is not joined.
            UsageError: the body is empty.
        """
        self._mesh(request)
        text = await request.text(MAX_PEM)
        if not text.strip():
            raise UsageError("the body is empty; PEM text is expected")
        return text

    async def _change(self, request: Request, settings: MeshSettings) -> MeshView:
        return mesh_view(await self._agent.join(request.params["mesh"], settings))
