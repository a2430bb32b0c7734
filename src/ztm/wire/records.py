"""What is said between agents and hubs and is not in `ztm.model`: frozen records of single messages.

They hold no rules and no JSON names; `ztm.wire.codec` turns them into bytes and back.
"""

from dataclasses import dataclass, field
from typing import Literal

from ztm.model import Address, Endpoint, Issued, PermitState, Version


@dataclass(frozen=True, slots=True)
class Load:
    """A number of agents and of app streams: what a hub can take, or what it has."""

    agents: int = 0
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class HubStatus:
    """What a hub says of itself. Times are epoch ms."""

    id: str
    since_ms: int
    zone: str = "default"
    ports: tuple[Address, ...] = ()
    capacity: Load = Load()
    load: Load = Load()
    version: Version = field(default_factory=Version)
    runtime: str = ""
    """Version of what the hub runs on (`version.pipy.tag` on the wire)."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What an agent says of itself every 15 s."""

    name: str
    hubs: tuple[str, ...] = ()
    """Hub ids that it has a session with; v1 agents say none at first."""
    version: Version = field(default_factory=Version)
    labels: tuple[str, ...] = ()
    runtime: str = ""
    """Version of what the agent runs on (`agent.version.pipy.tag` on the wire)."""


@dataclass(frozen=True, slots=True)
class User:
    """A user as a hub lists it: how many endpoints, and the first few of them."""

    name: str
    count: int
    endpoints: tuple[Endpoint, ...] = ()
    """Without hubs, version and session counts, which the list leaves out."""


@dataclass(frozen=True, slots=True)
class PermitRow:
    """A permit as a hub lists it, judged by the hub's clock."""

    id: str
    issued: Issued
    state: PermitState
    revoked: int | None = None
    """Epoch seconds since when its key is shut out, where it concerns this permit."""


@dataclass(frozen=True, slots=True)
class CutOff:
    """An endpoint whose sessions were ended."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class PingAnswer:
    """An agent's answer to its hub's ping."""

    id: str
    name: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class Hop:
    """One stop of a ping, either an agent or a hub. Times are epoch ms, None if it was never reached."""

    kind: Literal["endpoint", "hub"]
    id: str
    name: str = ""
    """Of an endpoint."""
    names: tuple[str, ...] = ()
    """Of a hub: its ``host:port`` texts."""
    start_ms: int | None = None
    end_ms: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a log."""

    time: str
    """ISO 8601 in UTC with ms, as in ``2026-11-23T11:24:51.738Z``."""
    message: str
    type: str = "info"
    """``"info"`` or ``"error"``."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Relayed app bytes per second over the last second, seen from an endpoint."""

    send: float = 0
    receive: float = 0
    peers: dict[str, "Traffic"] = field(default_factory=dict)
    """By endpoint id; only in the answer about one endpoint."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """How an app with a process of its own is doing."""

    state: str
    """``starting``, ``running``, ``restarting`` or ``failed``."""
    reason: str = ""
    restarts: int = 0
    confinement: str = ""
    """What holds the process, in words; empty where its agent does not say."""


@dataclass(frozen=True, slots=True)
class AppInfo:
    """An app on an agent, as it tells its hub."""

    provider: str
    name: str
    tag: str = ""
    is_builtin: bool = False
    is_downloaded: bool = False
    is_published: bool = False
    is_disabled: bool = False
    is_running: bool = False
    runtime: str = ""
    """``python`` of ours, ``pipyjs`` of v1's; empty where nobody knows. All from here on is unknown to v1."""
    version: str = ""
    title: str = ""
    permissions: tuple[str, ...] | None = None
    """What its owner granted it; None of one that was not installed as a signed package."""
    digest: str = ""
    previous: str = ""
    """The version that it can go back to."""
    process: ProcessState | None = None
    is_development: bool = False
    """Whether what is installed was only to be tried by its author."""


@dataclass(frozen=True, slots=True)
class Consent:
    """That an app's owner wants one package installed, and what it may do."""

    digest: str
    permissions: tuple[str, ...] | None = None
    """None goes on with what was granted to the version that is there."""
    is_development: bool = False
    """Its author only tries it: it is marked so, and replaced by whatever is installed next."""


@dataclass(frozen=True, slots=True)
class AppChange:
    """What a POST wants of an app; None leaves it as it is."""

    is_running: bool | None = None
    is_published: bool | None = None
    is_disabled: bool | None = None
    consent: Consent | None = None
    """Install the published package; v1's agents do so without being told."""
    is_rolled_back: bool = False
    """Go back to the version before."""
