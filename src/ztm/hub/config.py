"""All that a hub can be told, settled once at the edge."""

from dataclasses import dataclass, field
from pathlib import Path

from ztm.errors import UsageError
from ztm.hub.ca_service import CaService
from ztm.logs import LogOptions
from ztm.model import Address
from ztm.net.base import SessionLimits
from ztm.net.scope import HttpLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """All that `ztm run hub` can be told. Durations are seconds, sizes are bytes."""

    data: Path
    """Where the database and the CA key live; made with mode 0700 if missing."""
    listen: Address
    names: tuple[Address, ...]
    """Addresses that agents can reach this hub by; they go into permits."""
    permit: Path | None = None
    """Where the root permit is written when it is first made."""
    ca: CaService | None = None
    """Signs certificates instead of an own CA."""
    signature: str = ""
    """Kind of new keys (``ML-DSA-65``); empty for EC P-256."""
    key_exchange: str = ""
    """The only key exchange that agents may use (``ML-KEM-768``); empty for the network's usual ones."""
    drain: float = 10.0
    """How long streams may go on when the hub is told to stop."""
    metrics: Address | None = None
    """Where ``/metrics`` and ``/healthz`` are served; nowhere without."""
    logs: LogOptions = field(default_factory=LogOptions)
    max_agents: int = 100
    """Live endpoints; one more is refused with 429."""
    max_sessions: int = 1000
    """App streams relayed at once; one more is refused with 429."""
    zone: str = "default"
    ping_every: float = 15.0
    """Between two pings of an agent (spec mesh-protocol 18)."""
    ping_timeout: float = 10.0
    """An agent that does not answer a ping for this long loses that session."""
    answer_timeout: float = 15.0
    """For a target agent to take or refuse an app stream (spec mesh-protocol W17)."""
    session_wait: float = 2.0
    """An app stream to an endpoint without a session that answers waits this long for one."""
    passive_idle: float = 60.0
    """A passive session without streams is closed after this."""
    sweep_every: float = 15.0
    """Between two looks for endpoints to forget, certificates to renew and writes to repeat."""
    http: HttpLimits = field(default_factory=lambda: HttpLimits(idle_seconds=75.0, body_bytes=64 << 20))
    sessions: SessionLimits = field(default_factory=SessionLimits)

    @property
    def max_connections(self) -> int:
        """TLS connections at once: a busy agent of ours has three, v1 agents one for each app stream and probe."""
        return 4 * self.max_agents + 2 * self.max_sessions

    def __post_init__(self) -> None:
        if self.max_agents < 2:
            raise UsageError(f"--max-agents must be at least 2, not {self.max_agents}")
        if self.max_sessions < 10:
            raise UsageError(f"--max-sessions must be at least 10, not {self.max_sessions}")
        if not self.names:
            raise UsageError("a hub needs at least one name (--names host:port) by which agents can reach it")
