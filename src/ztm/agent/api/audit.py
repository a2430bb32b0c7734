"""The local API's routes to audit logs: this endpoint's, and those of other endpoints of the own user."""

from typing import Annotated

import msgspec

from ztm.agent.api.base import MESH, REFUSED, MeshApi
from ztm.agent.audit.record import Record
from ztm.agent.audit.search import MOST, as_list, query_of
from ztm.agent.endpoints import endpoint_of, forward
from ztm.agent.mesh import Mesh
from ztm.errors import NotFoundError, RefusedError
from ztm.rest.message import JSON, Request, Response
from ztm.rest.route import Param
from ztm.rest.router import Router
from ztm.wire import paths

QUERY = (
    Param("since", str, "sessions that ended at this time or later: RFC 3339, or seconds since 1970"),
    Param("until", str, "sessions that ended at this time or before"),
    Param("app", str, "of this app: provider/name, or the name of a built-in one"),
    Param("user", str, "of this user"),
    Param("allowed", bool, "only what was allowed, or only what was refused"),
    Param("limit", Annotated[int, msgspec.Meta(ge=1, le=MOST)], "the newest records, so many at most; 100"),
    Param("offset", Annotated[int, msgspec.Meta(ge=0, le=10**9)], "newest records to leave out; 0"),
)


class AuditRoutes(MeshApi):
    """Handlers of audit logs."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        for path, handler, summary in (
            (f"{MESH}/audit", self.own, "Records of this endpoint's audit log, the newest last"),
            (f"{MESH}/endpoints/{{ep}}/audit", self.of, "Records of an endpoint's audit log, for its own user"),
        ):
            router.add(
                "GET",
                path,
                handler,
                summary=summary,
                answer=list[Record],
                statuses={400: "a malformed query", **REFUSED},
                query=QUERY,
                tag="audit",
            )

    async def own(self, request: Request) -> Response:
        """Records of this endpoint."""
        return await _found(self._mesh(request), request)

    async def of(self, request: Request) -> Response:
        """Records of an endpoint."""
        mesh, endpoint = self._mesh(request), request.params["ep"]
        if endpoint == mesh.endpoint_id:
            return await _found(mesh, request)
        query_of(request.query)
        try:
            body = await forward(mesh, "GET", endpoint, paths.AUDIT.removeprefix("/api/"), query=request.query)
        except NotFoundError as error:
            found = await endpoint_of(mesh, endpoint)
            raise NotFoundError(f"endpoint {found.name} keeps no audit log: its agent is of another version") from error
        return Response(200, _checked(body, endpoint), JSON)


def _checked(body: bytes, endpoint: str) -> bytes:
    """Another endpoint's records, made sure that they are some.

    Raises:
        RefusedError: they are not.
    """
    try:
        return msgspec.json.encode(msgspec.json.decode(body, type=list[Record]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"endpoint {endpoint} answered with what is no audit log: {error}") from error


async def _found(mesh: Mesh, request: Request) -> Response:
    return Response(200, as_list(await mesh.audit.search(query_of(request.query))), JSON)
