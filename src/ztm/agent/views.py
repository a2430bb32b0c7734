"""The JSON of the local API, by v1's field names, with what ours adds. Source: spec agent-api 4 to 6."""

from typing import Any

import msgspec

from ztm.agent.mesh import Mesh
from ztm.agent.state import State
from ztm.model import Endpoint, HubInfo, Version
from ztm.wire.records import HubStatus


class MeshAgent(msgspec.Struct):
    """The endpoint of a joined mesh."""

    id: str
    name: str
    username: str
    certificate: str
    labels: list[str]
    offline: bool


class MeshError(msgspec.Struct):
    """One failure since the last success."""

    time: str
    message: str


class MeshView(msgspec.Struct, rename={"last_error": "lastError"}):
    """A joined mesh."""

    name: str
    ca: str
    agent: MeshAgent
    bootstraps: list[str]
    connected: bool
    state: str
    errors: list[MeshError]
    last_error: str = ""


class AgentSettings(msgspec.Struct):
    """What a permit, or a change of settings, says about the endpoint."""

    name: str | None = None
    certificate: str | None = None
    privateKey: str | None = None  # noqa: N815 (v1's field)
    labels: list[str] | None = None
    offline: bool | None = None


class MeshSettings(msgspec.Struct):
    """Body of a POST to a mesh; fields left out keep what is stored."""

    ca: str | None = None
    agent: AgentSettings | None = None
    bootstraps: list[str] | None = None


class HubChange(msgspec.Struct):
    """Body of a POST to a hub."""

    connected: bool = False


def mesh_view(mesh: Mesh) -> MeshView:
    """A mesh as the API shows it; no private key is ever in it."""
    row, health = mesh.row, mesh.health
    return MeshView(
        name=mesh.name,
        ca=row.ca,
        agent=MeshAgent(row.endpoint_id, row.endpoint_name, mesh.user, row.certificate, list(row.labels), row.offline),
        bootstraps=[str(address) for address in row.bootstraps],
        connected=health.state is State.CONNECTED,
        state=str(health.state),
        errors=[MeshError(time, message) for time, message in mesh.errors],
        last_error=health.reason,
    )


def version_view(version: Version, *, full: bool = False) -> dict[str, Any]:
    """A version as v1 shows it."""
    shown = {"edition": version.edition, "tag": version.tag}
    return {"ztm": shown | ({"commit": version.commit, "date": version.date} if full else {})}


def endpoint_view(endpoint: Endpoint, own_id: str, *, full: bool) -> dict[str, Any]:
    """An endpoint as v1 shows it, with whether it is this one."""
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "hubs": list(endpoint.hubs),
        "agent": {"version": version_view(endpoint.version, full=full), "labels": list(endpoint.labels)},
        "username": endpoint.user,
        "ip": endpoint.ip,
        "port": endpoint.port,
        "heartbeat": endpoint.heartbeat_ms,
        "ping": endpoint.ping_ms,
        "online": endpoint.online,
        "stats": {"controlSessions": endpoint.control_sessions, "passiveSessions": endpoint.passive_sessions},
        "isLocal": endpoint.id == own_id,
    }


def hub_view(hub: HubInfo, attached: str) -> dict[str, Any]:
    """A hub as the list shows it."""
    shown: dict[str, Any] = {
        "zone": hub.zone,
        "ports": [str(port) for port in hub.ports],
        "version": version_view(hub.version),
    }
    if hub.id == attached:
        shown["connected"] = True
    return shown


def hub_status_view(status: HubStatus, ports: list[dict[str, Any]], attached: str) -> dict[str, Any]:
    """A hub as asked itself, with how its ports answered."""
    return {
        "id": status.id,
        "since": status.since_ms,
        "zone": status.zone,
        "ports": ports,
        "peers": [],
        "capacity": {"agents": status.capacity.agents, "sessions": status.capacity.sessions},
        "load": {"agents": status.load.agents, "sessions": status.load.sessions},
        "version": {**version_view(status.version, full=True), "pipy": {"tag": status.runtime}},
        "connected": status.id == attached,
    }
