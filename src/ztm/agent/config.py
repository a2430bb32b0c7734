"""All that an agent can be told, settled once at the edge."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from ztm.agent.audit.files import AuditLimits
from ztm.logs import LogOptions
from ztm.model import Address
from ztm.net.base import SessionLimits
from ztm.net.proxy import Proxy
from ztm.net.scope import HttpLimits


def pointers() -> Path:
    """Where agents are written down: in the directory that systemd makes for one of its services, else at home."""
    given = os.environ.get("RUNTIME_DIRECTORY", "")
    return Path(given) if given.startswith("/") and ":" not in given else Path.home() / ".ztm" / "agents"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """All that `ztm run agent` can be told. Durations are seconds, sizes are bytes."""

    data: Path
    """Where the database, the keys and the mesh files live; made with mode 0700 if missing."""
    listen: Address
    """The local API's port."""
    socket: Path | None = None
    """A Unix socket at which the local API is served as well."""
    open_api: bool = False
    """Ask no token on the local port, as v1 does. Refused unless it is a loopback port."""
    origins: tuple[str, ...] = ()
    """Foreign origins (``scheme://host[:port]``, lower case) whose pages may use the local API with its token."""
    pointers: Path = field(default_factory=pointers)
    """Where the same OS user's command line looks for running agents; root's as well where that is below ``/run``."""
    join: str | None = None
    """A mesh to join at the start, under the endpoint name `join_as`, by `permit`."""
    join_as: str | None = None
    permit: Path | None = None
    proxy: Proxy | None = None
    """What hubs are dialled through."""
    p2p: bool = False
    """Asked for, and not built in this version; see `Agent.warnings`. The same of the port and STUN servers."""
    p2p_port: int = 17778
    stun_servers: tuple[Address, ...] = ()
    signature: str = ""
    """Kind of a new identity key (``ML-DSA-65``); empty for EC P-256."""
    key_exchange: str = ""
    """The only key exchange that hubs may use (``ML-KEM-768``); empty for the network's usual ones."""
    unconfined_apps: bool = False
    """Start apps by others also where nothing keeps them from the agent's keys, and confine none."""
    drain: float = 10.0
    """How long streams may go on when the agent is told to stop."""
    metrics: Address | None = None
    """Where ``/metrics`` and ``/healthz`` are served; nowhere without."""
    logs: LogOptions = field(default_factory=LogOptions)
    audit: AuditLimits = field(default_factory=AuditLimits)
    """What the audit log of each mesh may take of the disk."""
    heartbeat: float = 15.0
    """Between two heartbeats, the first one at once (spec mesh-protocol 9.2)."""
    answer_timeout: float = 10.0
    """For a hub to answer a request."""
    dial_timeout: float = 10.0
    dial_again: float = 2.0
    """A dial without an answer for this long gets a second one beside it, which a healed link takes sooner."""
    suspect_after: float = 2.5
    """Silence of a session after which a new one is tried beside it."""
    link_wait: float = 3.0
    """A new app stream waits this long for a link that answers, where there is none."""
    idle: float = 60.0
    """A session for app streams is closed when it had none for this long."""
    renew_below: int = 100
    """Days left of the certificate at which a new one is asked for (spec mesh-protocol 9.3)."""
    file_bytes: int = 4 << 30
    """The largest mesh file that is taken, from a local program or from another endpoint."""
    http: HttpLimits = field(default_factory=lambda: HttpLimits(idle_seconds=0.0))
    """For requests that come through the mesh."""
    local_http: HttpLimits = field(default_factory=lambda: HttpLimits(body_bytes=0))
    """For requests on the local port. What a body may have is for each handler to say: files are streamed."""
    sessions: SessionLimits = field(default_factory=SessionLimits)
