"""The local API's routes about permits: inviting, what the hub has signed, revoking. Source: spec agent-api 4.

Only inviting is v1's. Who may do what is decided by the hub; what it would refuse anyhow is said here at once.
"""

from datetime import timedelta
from typing import Annotated

import msgspec

from ztm import pki
from ztm.agent.api.base import MESH, REFUSED, MeshApi, only_root, whole
from ztm.agent.api.views import PermitView, permit_view
from ztm.agent.api.views_mesh import CutOffView, IssuedView, RevocationView, issued_view
from ztm.agent.mesh import Mesh
from ztm.errors import NotFoundError, RefusedError, UsageError
from ztm.model import ROOT, Permit, check_user
from ztm.rest.message import Request, Response
from ztm.rest.route import Param
from ztm.rest.router import Router
from ztm.wire import codec, paths
from ztm.wire.records import PermitRow

MAX_DAYS = 365
"""The longest expiry that hubs take."""
EXPIRES = Param(
    "expires",
    Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)],
    "days after which the permit ends for good; without it, its certificate is for a year, and renewed in time",
)
SLACK = timedelta(days=1)
"""By which a certificate's beginning may lie before it was asked for."""
PERMIT = f"{MESH}/permits/{{permit}}"
"""One name for the hole of all methods, as OpenAPI wants it: POST takes a user's name, DELETE a permit's id."""


class PermitRoutes(MeshApi):
    """Handlers below a mesh's permits."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        add = router.add
        add(
            "GET",
            f"{MESH}/permits",
            self.permits,
            summary="Permits that the hub has signed, the newest for each key; for root only",
            answer=list[IssuedView],
            statuses=REFUSED,
            tag="users",
        )
        add(
            "POST",
            PERMIT,
            self.invite,
            summary="Invite the user of that name, by the public key (PEM) that is the body; the answer is the permit",
            body=str,
            answer=PermitView,
            statuses=REFUSED,
            query=(EXPIRES,),
            tag="users",
        )
        add(
            "DELETE",
            PERMIT,
            self.revoke,
            summary="Revoke the permit of that id: its key is shut out at once; the answer says who was cut off",
            answer=RevocationView,
            statuses=REFUSED,
            tag="users",
        )

    async def permits(self, request: Request) -> Response:
        """What the hub has signed."""
        mesh = self._mesh_if_any(request)
        if mesh is None:
            return Response(200, [])
        only_root(mesh, "list permits")
        return Response(200, [issued_view(row) for row in await _listed(mesh)])

    async def invite(self, request: Request) -> Response:
        """Have a user's key signed, and make the permit."""
        mesh = self._mesh(request)
        user = check_user(request.params["permit"])
        if user == ROOT:
            raise UsageError("the user name 'root' is reserved; 'ztm root' on the hub makes another root permit")
        days = whole(request, EXPIRES.name, 0, least=1, most=MAX_DAYS)
        public = pki.check_public_key(await request.text(1 << 16))
        only_root(mesh, "invite")
        if days:
            await _listed(mesh)  # a hub that does not know of permits would sign for a year and say nothing
        query = {"days": days} if days else None
        body = await mesh.link().ask("POST", paths.fill(paths.SIGN, query, user=user), public.encode())
        permit = Permit(ca=mesh.row.ca, certificate=body.decode("ascii"), bootstraps=mesh.row.bootstraps)
        _check_end(permit, days)
        return Response(200, permit_view(permit))

    async def revoke(self, request: Request) -> Response:
        """Have the key of one permit shut out."""
        mesh, permit = self._mesh(request), request.params["permit"]
        only_root(mesh, "revoke permits")
        if all(row.id != permit for row in await _listed(mesh)):
            raise NotFoundError(f"there is no permit '{permit}'")
        body = await mesh.link().ask("DELETE", paths.fill(paths.PERMIT, permit=permit))
        cut = [CutOffView(one.id, one.name) for one in codec.decode_cut_off(body)]
        return Response(200, RevocationView(cut))


async def _listed(mesh: Mesh) -> list[PermitRow]:
    """The hub's permits.

    Raises:
        RefusedError: the hub keeps no list of them.
        ZtmError: as `HubLink.ask`.
    """
    try:
        return codec.decode_permits(await mesh.link().ask("GET", paths.PERMITS))
    except NotFoundError:
        raise RefusedError(
            f"the hub of mesh {mesh.name} keeps no list of permits, and knows neither their end nor their revocation "
            "(it runs v1, or an older ztm): upgrade it, or evict the user",
            404,
        ) from None


def _check_end(permit: Permit, days: int) -> None:
    """Hand out nothing that lasts longer than was asked for.

    Raises:
        RefusedError: the hub did not heed the expiry.
    """
    identity = pki.identity_of(permit.certificate)
    if days and identity.not_after - identity.not_before > timedelta(days=days) + SLACK:
        raise RefusedError(f"the hub signed for longer than {days} days; the permit is not handed out")
