"""How a joined mesh is doing, said honestly: connected means that the hub has accepted this endpoint and answers."""

from dataclasses import dataclass
from enum import StrEnum

from ztm.errors import CertificateError, ForbiddenError, LimitError, ZtmError


class State(StrEnum):
    """One word for people and scripts."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    OFFLINE = "offline"
    EVICTED = "evicted"
    REFUSED = "refused"
    FULL = "full"
    BAD_PERMIT = "bad permit"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Health:
    """The state and, unless all is well, why."""

    state: State
    reason: str = ""


class RefusalError(ZtmError):
    """The hub turned this endpoint away; trying again soon cannot help."""

    status = 502


class EvictedError(RefusalError):
    """The hub has evicted this user or key."""


SILENT = (
    "the hub ended the connection without a word: it refuses this certificate, "
    "because the user is evicted or the permit is of another mesh"
)
"""What a v1 hub's refusal looks like (spec mesh-protocol 3)."""


def judge(error: ZtmError) -> Health:
    """What a failed attempt to connect says about the mesh."""
    if isinstance(error, EvictedError):
        return Health(State.EVICTED, str(error))
    if isinstance(error, LimitError):
        return Health(State.FULL, f"the hub takes no more endpoints: {error}")
    if isinstance(error, RefusalError | ForbiddenError):
        return Health(State.REFUSED, str(error))
    if isinstance(error, CertificateError):
        return Health(State.BAD_PERMIT, str(error))
    return Health(State.UNREACHABLE, str(error))


def is_final(health: Health) -> bool:
    """Whether only a person can change it, so that retries are rare."""
    return health.state in (State.EVICTED, State.REFUSED, State.FULL, State.BAD_PERMIT)
