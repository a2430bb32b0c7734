"""What one listening address of the proxy takes and waits for at most, so that tests can state other numbers.

It holds numbers only.
"""

from dataclasses import dataclass

from ztm.apps.streams.limits import LIMITS, StreamLimits
from ztm.net.scope import HttpLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorLimits:
    """Durations are seconds, sizes are bytes."""

    clients: int = 4096
    """Connections at once; one more is cut."""
    head_seconds: float = 10.0
    """From a client's first byte to the end of what it wants: a request's head, or a SOCKS handshake."""
    idle_seconds: float = 60.0
    """Without a byte before the first request, or between two: browsers connect before they ask."""
    linger_seconds: float = 2.0
    """How long a refused client may take to end its side."""
    half_closed_seconds: float = 30.0
    """For which the answer to a plain request may stand still once the client has ended its side."""
    header_bytes: int = 64 << 10
    """Of the head of one HTTP request or answer."""
    early_bytes: int = 64 << 10
    """Of a client, sent on before an exit has accepted."""
    origins: int = 4
    """Streams to origins that one client connection keeps for its next plain request."""
    destinations: int = 256
    """Of one UDP association at once; one more evicts the one that was silent longest."""
    retry_seconds: float = 5.0
    """For which datagrams to a destination that was refused are dropped before an exit is asked again."""
    datagrams: StreamLimits = LIMITS
    """Of the sessions of one UDP association."""

    def http(self) -> HttpLimits:
        """The same as the reader of request heads wants it."""
        return HttpLimits(
            header_bytes=self.header_bytes,
            head_seconds=self.head_seconds,
            idle_seconds=self.idle_seconds,
            linger_seconds=self.linger_seconds,
        )
