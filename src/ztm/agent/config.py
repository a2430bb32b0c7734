"""All that an agent can be told, settled once at the edge."""

from dataclasses import dataclass, field
from pathlib import Path

from ztm.model import Address
from ztm.net.base import SessionLimits
from ztm.net.scope import HttpLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """All that `ztm run agent` can be told. Durations are seconds, sizes are bytes."""

    data: Path
    """Where the database, the keys and the mesh files live; made with mode 0700 if missing."""
    listen: Address
    """The local API's port."""
    pointers: Path = field(default_factory=lambda: Path.home() / ".ztm" / "agents")
    """Where the same OS user's command line looks for running agents."""
    join: str | None = None
    """A mesh to join at the start, under the endpoint name `join_as`, by `permit`."""
    join_as: str | None = None
    permit: Path | None = None
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
    http: HttpLimits = field(default_factory=lambda: HttpLimits(idle_seconds=0.0))
    """For requests that come through the mesh."""
    local_http: HttpLimits = field(default_factory=HttpLimits)
    """For requests on the local port."""
    sessions: SessionLimits = field(default_factory=SessionLimits)
