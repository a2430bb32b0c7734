"""Every URL of a hub and who answers it."""

from ztm.errors import ForbiddenError, NotFoundError
from ztm.hub.files import Files
from ztm.hub.link import Link
from ztm.hub.lists import Lists
from ztm.hub.p2p import PeerToPeer
from ztm.hub.permits import PermitRoutes
from ztm.hub.relay import Relay
from ztm.hub.sessions import AgentSessions
from ztm.hub.signing import Signing
from ztm.hub.state import HubState
from ztm.hub.users import Users
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import paths


def hub_api(state: HubState) -> Router:
    """The ASGI application that a hub serves on every connection."""
    sessions = AgentSessions(state)
    router = Router(plain=True)
    Lists(state, sessions).mount(router)
    Signing(state).mount(router)
    PermitRoutes(state).mount(router)
    Users(state).mount(router)
    Files(state, sessions).mount(router)
    PeerToPeer(state).mount(router)
    router.add("CONNECT", paths.ENDPOINT, sessions.accept)
    relay = Relay(state, sessions)
    router.add("CONNECT", paths.ENDPOINT_APP, relay.connect)
    router.add("CONNECT", paths.ENDPOINT_APP_ANY, relay.connect)
    forward = _Forward(state, sessions)
    for method in ("GET", "POST", "DELETE"):
        router.add(method, paths.FORWARD, forward.forward, decode=False)
    return router


class _Forward:
    """Requests to an agent by way of its hub, for the endpoint's own user only. Source: spec mesh-protocol 5."""

    def __init__(self, state: HubState, sessions: AgentSessions) -> None:
        self._state = state
        self._sessions = sessions

    async def forward(self, request: Request) -> Response:
        link: Link = request.link
        endpoint = request.params["ep"]
        if self._state.registry.endpoint(endpoint, self._state.network.wall()) is None:
            raise NotFoundError("")
        owner = self._state.registry.owner_of(endpoint)
        if owner is None or owner.user != link.user:
            raise ForbiddenError(f"endpoint {endpoint} belongs to another user")
        if self._state.registry.control(endpoint) is None:
            raise NotFoundError("the endpoint is not connected")
        query = f"?{request.raw_query}" if request.raw_query else ""
        target = f"/api/{request.params['*']}{query}"
        return await self._sessions.ask(endpoint, request.method, target, await request.body())
