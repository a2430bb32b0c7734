"""Who is shut out by name: evictions."""

from ztm.errors import ForbiddenError, NotFoundError, UsageError
from ztm.hub.link import Link
from ztm.hub.state import HubState
from ztm.model import ROOT, Eviction, check_user
from ztm.rest.message import Request, Response
from ztm.rest.router import Router
from ztm.wire import codec, paths


class Users:
    """Handlers of ``/api/evictions``. Source: spec mesh-protocol 5 and 13."""

    def __init__(self, state: HubState) -> None:
        self._state = state
        self._asked: dict[str, int] = {}
        """When each eviction was asked for, by the clock of whoever asked; it may be off from the hub's."""

    def mount(self, router: Router) -> None:
        """Add the routes."""
        router.add("GET", paths.EVICTIONS, self.evictions)
        router.add("GET", paths.EVICTION, self.eviction)
        router.add("POST", paths.EVICTION, self.evict)
        router.add("DELETE", paths.EVICTION, self.readmit)

    async def evictions(self, _request: Request) -> Response:
        """All evictions."""
        return Response(200, codec.encode_evictions(self._state.evictions.all()), content_type="application/json")

    async def eviction(self, request: Request) -> Response:
        """One user's eviction."""
        return Response(200, codec.encode_eviction(self._known(request)), content_type="application/json")

    def _known(self, request: Request) -> Eviction:
        known = self._state.evictions.of(request.params["user"])
        if known is None:
            raise NotFoundError(f"user {request.params['user']} is not evicted")
        return known

    async def evict(self, request: Request) -> Response:
        """Shut a user out as of now by the hub's clock; a request not newer than the last one changes nothing."""
        user = self._evictable(request)
        asked = _seconds(request, "time")
        expiration = _seconds(request, "expiration") if "expiration" in request.query else None
        known = self._state.evictions.of(user)
        if known is not None and asked <= self._asked.get(user, known.time):
            return Response(200)
        self._asked[user] = asked
        return Response(201 if self._state.evict(user, expiration) else 200)

    async def readmit(self, request: Request) -> Response:
        """Undo an eviction; certificates that it shut out are good again."""
        self._state.readmit(self._evictable(request))
        return Response(204)

    def _evictable(self, request: Request) -> str:
        link: Link = request.link
        user = request.params["user"]
        if link.user != ROOT:
            raise ForbiddenError("only root may evict")
        if user == ROOT:
            raise ForbiddenError("root cannot be evicted")
        return check_user(user)


def _seconds(request: Request, name: str) -> int:
    text = request.query.get(name, "")
    try:
        return int(float(text))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"the query needs {name}=SECONDS, not {text[:40]!r}") from error
