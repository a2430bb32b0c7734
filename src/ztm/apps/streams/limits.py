"""What apps that carry streams take and wait for at most: one frozen record, so that tests can state other numbers.

It holds numbers only.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """Durations are seconds, sizes are bytes."""

    answer_seconds: float = 10.0
    """From asking an exit to its answer; its own dialling is in it."""
    dial_seconds: float = 5.0
    """For one target; with two dead targets the answer still comes in time."""
    exit_wait: float = 2.0
    """For a client that comes while no exit is known yet."""
    retry_seconds: float = 3.0
    """Between two tries to listen on an address that was not to be had."""
    idle_seconds: float = 60.0
    """After the last datagram either way, a UDP session is forgotten (spec apps-network 7 rule 7)."""
    linger_seconds: float = 2.0
    """How long the other side of an idle UDP session may take to end its side."""
    refused_seconds: float = 1.0
    """What a UDP sender sends is dropped for so long after no exit took it; each datagram would ask them all again."""
    early_bytes: int = 64 << 10
    """Of a client, kept until an exit has accepted, so that another exit can be tried with them."""
    sessions: int = 1024
    """UDP clients of one entrance at once; one more evicts the one that was silent longest."""
    queued_datagrams: int = 256
    queued_bytes: int = 1 << 20
    """Of one UDP session in one direction while the stream takes nothing; what comes then is dropped."""


def idling(limits: StreamLimits, seconds: int | None) -> StreamLimits:
    """`limits` with another idle time, unless `seconds` is None."""
    return limits if seconds is None else replace(limits, idle_seconds=float(seconds))


LIMITS = StreamLimits()
"""What applies unless told otherwise."""
