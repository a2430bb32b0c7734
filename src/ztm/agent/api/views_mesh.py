"""The JSON of what a mesh has: endpoints, users, hubs, rates and pings. Source: spec agent-api 5, 6 and 11."""

from typing import Annotated

import msgspec

from ztm.agent.api.views import Build, VersionView
from ztm.model import Endpoint, Eviction, HubInfo, Version
from ztm.wire.records import HubStatus, PermitRow, User


class EndpointAgent(msgspec.Struct):
    """What an endpoint says of itself."""

    version: VersionView
    labels: list[str]


class EndpointSessions(msgspec.Struct, rename="camel"):
    """How many sessions an endpoint has with its hub."""

    control_sessions: int
    passive_sessions: int


class EndpointView(msgspec.Struct, rename={"is_local": "isLocal"}):
    """An endpoint of the mesh. Times are epoch milliseconds."""

    id: str
    name: str
    hubs: list[str]
    agent: EndpointAgent
    username: str
    ip: str
    port: int
    heartbeat: int
    ping: int | None
    online: bool
    stats: EndpointSessions
    is_local: bool


class UserEndpoint(msgspec.Struct, rename={"is_local": "isLocal"}):
    """One of a user's endpoints."""

    id: str
    name: str
    labels: list[str]
    ip: str
    port: int
    heartbeat: int
    ping: int | None
    online: bool
    is_local: bool


class UserEndpoints(msgspec.Struct):
    """How many endpoints a user has, and the first five."""

    count: int
    instances: list[UserEndpoint]


class UserView(msgspec.Struct):
    """A user who has an endpoint now."""

    name: str
    endpoints: UserEndpoints


class EvictionView(msgspec.Struct):
    """Who is shut out since when and until when, in epoch milliseconds."""

    username: str
    time: int
    expiration: int


class IssuedView(msgspec.Struct, rename="camel"):
    """A permit that the hub signed, by the newest certificate for its key. Times are epoch milliseconds."""

    id: str
    """Of user and key: renewals keep it."""
    username: str
    key: str
    """Hex SHA-256 of the public key's DER form."""
    issued: int
    issued_by: str
    """root (an invitation), renewal, hub (root's own), or empty where that was not written down."""
    not_before: int
    expiration: int
    ends: int | None
    """Where root gave it an end that renewals do not move."""
    revoked: int | None
    state: str
    """valid, expiring, expired, revoked or evicted, by the hub's clock."""


class CutOffView(msgspec.Struct):
    """An endpoint whose sessions were ended."""

    id: str
    name: str


class RevocationView(msgspec.Struct):
    """What revoking a permit did."""

    endpoints: list[CutOffView]


class HubView(msgspec.Struct, omit_defaults=True):
    """A hub that is known; only the attached one is `connected`."""

    zone: str
    ports: list[str]
    version: VersionView
    connected: bool = False


class HubPort(msgspec.Struct):
    """How one address of a hub answered; `ping` is in milliseconds."""

    name: str
    ping: Annotated[int, msgspec.Meta(ge=0)] | None
    online: bool


class HubPeer(msgspec.Struct):
    """Another hub of the mesh."""

    id: str
    zone: str
    ports: list[str]
    connected: bool


class HubLoad(msgspec.Struct):
    """Numbers of agents and of app streams."""

    agents: int
    sessions: int


class HubStatusView(msgspec.Struct):
    """A hub as it answers now."""

    id: str
    since: int
    zone: str
    ports: list[HubPort]
    peers: list[HubPeer]
    capacity: HubLoad
    load: HubLoad
    version: VersionView
    connected: bool


class HubChange(msgspec.Struct):
    """Body of a POST to a hub; only true means something."""

    connected: bool


class Rates(msgspec.Struct):
    """Bytes per second of app streams over the hub."""

    send: float
    receive: float


class EndpointRates(Rates):
    """The same of one endpoint, also by its peers' ids."""

    peers: dict[str, Rates] = {}


class HopEndpoint(msgspec.Struct):
    """An agent on the way."""

    id: str
    name: str


class HopHub(msgspec.Struct):
    """A hub on the way."""

    id: str
    names: list[str]


class HopView(msgspec.Struct):
    """One stop of a ping, either an endpoint or a hub. Times are epoch milliseconds."""

    endpoint: HopEndpoint | msgspec.UnsetType = msgspec.UNSET
    hub: HopHub | msgspec.UnsetType = msgspec.UNSET
    start: int | None = None
    end: int | None = None
    error: str | None = None


def version_view(version: Version, *, full: bool = False, runtime: str = "") -> VersionView:
    """A version as v1 shows it."""
    build = Build(version.edition, version.tag)
    if full:
        build.commit, build.date = version.commit, version.date
    return VersionView(build, Build(tag=runtime) if runtime else None)


def endpoint_view(endpoint: Endpoint, own_id: str, *, full: bool) -> EndpointView:
    """An endpoint as v1 shows it, with whether it is this one."""
    return EndpointView(
        id=endpoint.id,
        name=endpoint.name,
        hubs=list(endpoint.hubs),
        agent=EndpointAgent(version_view(endpoint.version, full=full), list(endpoint.labels)),
        username=endpoint.user,
        ip=endpoint.ip,
        port=endpoint.port,
        heartbeat=endpoint.heartbeat_ms,
        ping=endpoint.ping_ms,
        online=endpoint.online,
        stats=EndpointSessions(endpoint.control_sessions, endpoint.passive_sessions),
        is_local=endpoint.id == own_id,
    )


def user_view(user: User, own_id: str) -> UserView:
    """A user as v1 lists it."""
    instances = [
        UserEndpoint(
            each.id,
            each.name,
            list(each.labels),
            each.ip,
            each.port,
            each.heartbeat_ms,
            each.ping_ms,
            each.online,
            each.id == own_id,
        )
        for each in user.endpoints
    ]
    return UserView(user.name, UserEndpoints(user.count, instances))


def eviction_view(eviction: Eviction) -> EvictionView:
    """An eviction, by the API's unit of time."""
    return EvictionView(eviction.user, eviction.time * 1000, eviction.expiration * 1000)


def issued_view(row: PermitRow) -> IssuedView:
    """A permit, by the API's unit of time."""
    issued = row.issued
    return IssuedView(
        id=row.id,
        username=issued.user,
        key=issued.key,
        issued=issued.time * 1000,
        issued_by=issued.origin,
        not_before=issued.not_before * 1000,
        expiration=issued.not_after * 1000,
        ends=None if issued.ends is None else issued.ends * 1000,
        revoked=None if row.revoked is None else row.revoked * 1000,
        state=row.state,
    )


def hub_view(hub: HubInfo, attached: str) -> HubView:
    """A hub as the list shows it."""
    ports = [str(port) for port in hub.ports]
    return HubView(hub.zone, ports, version_view(hub.version), connected=hub.id == attached)


def hub_status_view(status: HubStatus, ports: list[HubPort], peers: list[HubPeer], attached: str) -> HubStatusView:
    """A hub as asked itself, with how its ports answered."""
    return HubStatusView(
        id=status.id,
        since=status.since_ms,
        zone=status.zone,
        ports=ports,
        peers=peers,
        capacity=HubLoad(status.capacity.agents, status.capacity.sessions),
        load=HubLoad(status.load.agents, status.load.sessions),
        version=version_view(status.version, full=True, runtime=status.runtime),
        connected=status.id == attached,
    )
