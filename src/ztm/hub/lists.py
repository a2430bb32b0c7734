"""What anyone in the mesh may ask a hub about itself, its endpoints and users."""

import platform

from ztm.core.ports import visible_ports
from ztm.errors import ForbiddenError, NotFoundError, UsageError, ZtmError
from ztm.hub.link import Link
from ztm.hub.sessions import AgentSessions
from ztm.hub.state import HubState
from ztm.model import ROOT, Address, HubInfo, check_name
from ztm.rest.message import JSON, Request, Response
from ztm.rest.router import Router
from ztm.version import VERSION
from ztm.wire import codec, paths
from ztm.wire.records import Hop, HubStatus, Load, User

MAX_PAGE = 1000
"""Rows of one answer; the default is v1's 100."""
MAX_HEARTBEAT = 64 << 10
"""Bytes of one heartbeat; v1's have less than one kilobyte."""
MAX_PING = 60
"""Seconds that a ping may wait for the endpoint."""


class Lists:
    """Handlers of status, zones, endpoints, users, stats, ping and log. Source: spec mesh-protocol 5."""

    def __init__(self, state: HubState, sessions: AgentSessions) -> None:
        self._state = state
        self._sessions = sessions

    def mount(self, router: Router) -> None:
        """Add the routes."""
        router.add("GET", paths.HUB_STATUS, self.status)
        router.add("POST", paths.HUB_STATUS, self.heartbeat)
        router.add("GET", paths.LOG, self.log)
        router.add("GET", paths.ZONES, self.zones)
        router.add("GET", paths.ZONE_HUBS, self.zone_hubs)
        router.add("GET", paths.ENDPOINTS, self.endpoints)
        router.add("GET", paths.ENDPOINT, self.endpoint)
        router.add("GET", paths.USERS, self.users)
        router.add("GET", paths.STATS, self.stats)
        router.add("GET", paths.ENDPOINT_STATS, self.endpoint_stats)
        router.add("GET", paths.ENDPOINT_PING, self.ping)

    def _ports(self, link: Link) -> tuple[Address, ...]:
        """The hub's addresses for this caller; the one it came to is one of them from now on."""
        ports = self._state.ports
        if link.local is not None and link.local not in ports and len(ports) < 64:
            ports[link.local] = None
        return visible_ports(ports, link.remote.host)

    async def status(self, request: Request) -> Response:
        """What this hub is, can take and has."""
        state = self._state
        return _json(
            codec.encode_hub_status(
                HubStatus(
                    id=state.id,
                    since_ms=state.since_ms,
                    zone=state.config.zone,
                    ports=self._ports(request.link),
                    capacity=Load(state.config.max_agents, state.config.max_sessions),
                    load=Load(len(state.registry), state.relayed),
                    version=VERSION,
                    runtime=platform.python_version(),
                )
            )
        )

    async def heartbeat(self, request: Request) -> Response:
        """An agent says how it is."""
        link: Link = request.link
        endpoint = link.require_session()
        said = codec.decode_heartbeat(await request.body(MAX_HEARTBEAT))
        if said.name:
            check_name("endpoint", said.name)
        now = self._state.network.wall()
        self._state.registry.heartbeat(endpoint, said.name, said.hubs[:16], said.version, said.labels[:64], now)
        return Response(201)

    async def log(self, request: Request) -> Response:
        """The hub's last log lines, for root."""
        link: Link = request.link
        if link.user != ROOT:
            raise ForbiddenError("only root may read a hub's log")
        return _json(codec.encode_log(self._state.logs.entries()))

    async def zones(self, request: Request) -> Response:
        """The zones this hub knows: its own."""
        self._ports(request.link)
        return _json(codec.encode_zones([self._state.config.zone]))

    async def zone_hubs(self, request: Request) -> Response:
        """The hubs of a zone: this one, in its own."""
        state = self._state
        if request.params["zone"] != state.config.zone:
            raise NotFoundError("")
        return _json(codec.encode_zone_hubs([HubInfo(state.id, self._ports(request.link), state.config.zone, VERSION)]))

    async def endpoints(self, request: Request) -> Response:
        """A page of the endpoints known now."""
        query = request.query
        filters = {name: query.get(name, "") for name in ("id", "name", "user", "keyword")}
        found = self._state.registry.endpoints(self._state.network.wall(), **filters, **_page(request))  # type: ignore[arg-type]
        return _json(codec.encode_endpoints(found))

    async def endpoint(self, request: Request) -> Response:
        """One endpoint."""
        found = self._state.registry.endpoint(request.params["ep"], self._state.network.wall())
        if found is None:
            raise NotFoundError("")
        return _json(codec.encode_endpoint(found))

    async def users(self, request: Request) -> Response:
        """A page of the users that have endpoints now."""
        filters = {name: request.query.get(name, "") for name in ("name", "keyword")}
        found = self._state.registry.users(self._state.network.wall(), **filters, **_page(request))  # type: ignore[arg-type]
        return _json(codec.encode_users(User(user.name, user.count, tuple(user.endpoints)) for user in found))

    async def stats(self, _request: Request) -> Response:
        """Every endpoint's relayed bytes per second."""
        known = self._state.registry.endpoints(self._state.network.wall(), limit=len(self._state.registry))
        return _json(codec.encode_stats({found.id: self._state.traffic.of(found.id) for found in known}))

    async def endpoint_stats(self, request: Request) -> Response:
        """One endpoint's relayed bytes per second, also by peer."""
        return _json(codec.encode_traffic(self._state.traffic.of(request.params["ep"])))

    async def ping(self, request: Request) -> Response:
        """Ask an endpoint for a sign of life; a failure is told within the answer."""
        state, endpoint, seconds = self._state, request.params["ep"], _patience(request)
        names = tuple(str(port) for port in self._ports(request.link))
        start = state.now_ms()
        found = state.registry.endpoint(endpoint, state.network.wall())
        error: str | None = None
        hops: list[Hop] = []
        if found is None:
            error = "Endpoint not found"
        elif state.registry.control(endpoint) is None:
            error = "Active session not found"
        else:
            error, hops = await self._probe(endpoint, seconds)
        own = Hop("hub", state.id, names=names, start_ms=start, end_ms=state.now_ms(), error=error)
        return Response(200, codec.encode_hops([own, *hops]), content_type=JSON)

    async def _probe(self, endpoint: str, seconds: float) -> tuple[str | None, list[Hop]]:
        try:
            answer = await self._sessions.ask(endpoint, "GET", paths.PING, timeout=seconds)
        except ZtmError as error:
            return ("Response timeout" if error.status == 504 else str(error)), []
        if answer.status != 200:
            text = (answer.body or b"")[:100].decode("utf-8", "replace")
            return f"Invalid response (status {answer.status}): {text}", []
        if not answer.body:
            return "Invalid empty response", []
        try:
            said = codec.decode_ping_answer(answer.body)
        except UsageError:
            return "Invalid response (status 200): not JSON", []
        if said.id != endpoint:
            return "Invalid response (status 200): another endpoint answered", []
        return None, [Hop("endpoint", said.id, name=said.name, start_ms=said.time_ms, end_ms=said.time_ms)]


def _json(body: bytes) -> Response:
    return Response(200, body, content_type=JSON)


def _page(request: Request) -> dict[str, int]:
    return {
        "limit": min(_count(request, "limit", 100), MAX_PAGE),
        "offset": _count(request, "offset", 0),
    }


def _patience(request: Request) -> float:
    """Half of what the caller waits, so that it hears of a failure. Source: spec mesh-protocol 5.1."""
    return float(max(1, min(_count(request, "timeout", 30), 2 * MAX_PING) / 2))


def _count(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"the query's {name} is not a number: {text[:40]!r}")
    return int(text)
