"""What hops hold for a reader that stands still: how their memory grows while downloads wait to be read.

Pages of code are not counted: a process may give them back meanwhile.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from processes import written

STREAMS = 8
"""Downloads that stand still at once, so that what is shared by all of them counts little."""
STILL = 256 << 10
"""Bytes of growth in `QUIET` seconds below which memory counts as settled."""
QUIET = 1.0
PATIENCE = 8.0
"""Seconds after which growth is taken as it is."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: leave with a reset."""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of growth for one stream. Buffers of the kernel are not in it; they are the same for all ways."""

    total: float
    """Over all hops."""
    most: float
    """Of the hop that holds most."""


def held(port: int, hops: Sequence[int]) -> Held:
    """Begin downloads from a bulk server behind `port`, read none of them, and see what that costs.

    Raises:
        OSError: the way does not take the connections.
    """
    before = [written([hop]) for hop in hops]
    with contextlib.ExitStack() as open_links:
        for _ in range(STREAMS):
            open_links.enter_context(_unread(port))
        grown = _settled(hops, before)
    return Held(sum(grown) / STREAMS, max(grown) / STREAMS)


@contextlib.contextmanager
def _unread(port: int) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        link.sendall(b"D")
        yield


def _settled(hops: Sequence[int], before: Sequence[int]) -> list[int]:
    begun = looked = time.monotonic()
    last = -STILL
    while True:
        time.sleep(0.1)
        grown = [written([hop]) - was for hop, was in zip(hops, before, strict=True)]
        now = time.monotonic()
        if sum(grown) > last + STILL:
            last, looked = sum(grown), now
        if now - looked > QUIET or now - begun > PATIENCE:
            return grown
