"""How patient the agent is with the process of an app, and what that may cost; settled once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """Durations are seconds, sizes are bytes, rates are per second. Source: spec app-framework 10.2."""

    ready_seconds: float = 10.0
    """From the start of a process to its being ready."""
    heartbeat_seconds: float = 15.0
    """Without an answer of its event loop, after which it is killed."""
    stop_seconds: float = 3.0
    """From SIGTERM to SIGKILL."""
    first_retry: float = 1.0
    """After the first crash; the delay doubles with each."""
    last_retry: float = 60.0
    crashes: int = 5
    """Within `crash_window` seconds, after which it is not started again."""
    crash_window: float = 600.0
    line_bytes: int = 4096
    """Of one line of output; the rest of a longer one is dropped."""
    lines: float = 50.0
    """Of output, with ten seconds' worth at once; the rest is counted and dropped."""
    streams: int = 512
    """That the process may have open towards the agent at once."""
    held: int = 16 << 20
    """Received from the process and not yet taken, over all streams."""
    under_way: int = 64 << 20
    """Of bodies and messages that the agent holds for the app at once, both ways; see `load`."""
    answers: int = 64
    """Of others that are on their way to the app at once, each of 8 MiB at the most; further questions wait."""
    websockets: int = 32
    """Open at once; each may hold a whole message of a page on its way to the app."""
    ports: int = 16
    """That the app may listen on at once."""


LIMITS = ProcessLimits()
