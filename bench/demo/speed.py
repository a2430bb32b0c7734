"""Time to the first byte of new connections, and the speed of one transfer, from a client's own view.

A first impression, one connection at a time; `make bench` is the measurement to quote.
"""

import socket
import time
from dataclasses import dataclass

CONNECTIONS = 50
"""Enough for a steady median within a second."""
WARM = 5
"""Connections before those that count, so that sessions are up."""
BULK = 128 << 20
"""Bytes of the transfer: about a second."""
PATIENCE = 30.0
"""Seconds without a byte after which something is wrong."""


@dataclass(frozen=True)
class Times:
    """Seconds."""

    p50: float
    slowest: float


def fetch(port: int) -> str:
    """The page at 127.0.0.1:`port`.

    Raises:
        OSError: it cannot be fetched.
    """
    with _ask(port, "/") as connection:
        said = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"the page did not come: {head[:80]!r}")
    return body.decode()


def first_bytes(port: int) -> Times:
    """From dialling 127.0.0.1:`port` to the first byte of the answer, over `CONNECTIONS` new connections.

    Raises:
        OSError: one failed.
    """
    times = sorted([_first_byte(port) for _ in range(WARM + CONNECTIONS)][WARM:])
    return Times(times[len(times) // 2], times[-1])


def _first_byte(port: int) -> float:
    begin = time.perf_counter()
    with _ask(port, "/") as connection:
        if not connection.recv(1):
            raise ConnectionResetError("the connection ended without an answer")
        return time.perf_counter() - begin


def bulk(port: int) -> float:
    """Bytes per second of one transfer of `BULK` bytes.

    Raises:
        OSError: it ended early.
    """
    buffer, got, begin = bytearray(1 << 20), 0, time.perf_counter()
    with _ask(port, f"/bulk/{BULK}") as connection:
        while size := connection.recv_into(buffer):
            got += size
    if got < BULK:
        raise ConnectionResetError(f"{got} of {BULK} bytes came")
    return got / (time.perf_counter() - begin)


def _ask(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n".encode())
    return connection
