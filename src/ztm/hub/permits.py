"""The hub's routes about the permits that it signed: what they are worth, and revoking one. For root only.

Ours: v1 hubs know no such list, and answer 404.
"""

from ztm.errors import ConflictError, ForbiddenError
from ztm.hub.link import Link
from ztm.hub.state import HubState
from ztm.model import ROOT, Identity, Issued
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import codec, paths
from ztm.wire.records import CutOff, PermitRow


class PermitRoutes:
    """Handlers of ``/api/permits``."""

    def __init__(self, state: HubState) -> None:
        self._state = state

    def mount(self, router: Router) -> None:
        """Add the routes."""
        router.add("GET", paths.PERMITS, self.permits)
        router.add("DELETE", paths.PERMIT, self.revoke)

    async def permits(self, request: Request) -> Response:
        """Every permit, the newest for each key of each user."""
        _only_root(request)
        rows = [self._row(issued) for issued in self._state.permits.all()]
        return Response(200, codec.encode_permits(rows), content_type="application/json")

    def _row(self, issued: Issued) -> PermitRow:
        now, known = self._state.now_s(), self._state.permits.known
        evicted = self._state.evictions.refuses(_identity(issued, self._state), now)
        revocation = known.revocation(issued.key) if known.is_revoked(issued) else None
        state = known.state(issued, now, is_evicted=evicted is not None)
        return PermitRow(issued.id, issued, state, revocation.time if revocation else None)

    async def revoke(self, request: Request) -> Response:
        """Shut the key of one permit out at once; the answer names the endpoints that were cut off."""
        link = _only_root(request)
        issued = self._state.permits.find(request.params["permit"])
        if issued.key == link.identity.key:
            raise ConflictError(
                f"permit {issued.id} is the one in use here: revoke it by another permit of root ('ztm root' makes one)"
            )
        cut = [CutOff(endpoint, self._name(endpoint)) for endpoint in self._state.revoke(issued)]
        return Response(200, codec.encode_cut_off(cut), content_type="application/json")

    def _name(self, endpoint: str) -> str:
        found = self._state.registry.endpoint(endpoint, self._state.network.wall())
        return found.name if found is not None else ""


def _identity(issued: Issued, state: HubState) -> Identity:
    """What a certificate of this permit says."""
    date = state.date()
    begin, end = (date.fromtimestamp(seconds, date.tzinfo) for seconds in (issued.not_before, issued.not_after))
    return Identity(issued.user, issued.key, begin, end)


def _only_root(request: Request) -> Link:
    link: Link = request.link
    if link.user != ROOT:
        raise ForbiddenError("only root may see and revoke permits")
    return link
