"""One bulk TCP stream, measured at the end that receives: a server, and a client that keeps one connection busy.

The client asks in rounds on one connection: `D`, answered with `ROUND` bytes, or `U`, followed by as many, which
the server acknowledges with one byte once it has them all; `?` is acknowledged at once. So nothing is counted that
did not arrive, no half-close is needed (not every hop passes it on), and a run ends after the first round that is
over in time.
"""

import contextlib
import socket
import sys
import threading
import time
from dataclasses import dataclass

ROUND = 32 << 20
"""Bytes of one round: at 200 MB/s a sixth of a second, against which its one round trip does not count."""
PIECE = 256 << 10
GIVE_UP = 20.0
"""Seconds without progress after which a way counts as broken."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What one connection carried."""

    bytes: int
    seconds: float


def carry(port: int, direction: str, seconds: float, opening: bytes = b"", answer: int = 0) -> Carried:
    """Move bytes through `port` for about `seconds`: ``"U"`` to the server, ``"D"`` from it.

    `opening` is said first, to a proxy that answers it with `answer` bytes.

    Raises:
        OSError: the connection could not be made, broke, or stood still.
    """
    carried = 0
    with socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP) as link:
        link.sendall(opening)
        _take(link, answer)
        _round(link, direction)  # the way's windows and buffers grow before anything is counted
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < seconds:
            _round(link, direction)
            carried += ROUND
    return Carried(carried, passed)


def answers(port: int) -> bool:
    """Whether the server is reached through `port`."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5.0) as link:
        link.sendall(b"?")
        return link.recv(1) == b"."
    return False


def _round(link: socket.socket, direction: str) -> None:
    link.sendall(direction.encode())
    if direction == "U":
        _give(link)
        _take(link, 1)
    else:
        _take(link, ROUND)


def _give(link: socket.socket) -> None:
    piece = bytes(PIECE)
    for _ in range(ROUND // PIECE):
        link.sendall(piece)


def _take(link: socket.socket, size: int) -> None:
    space = memoryview(bytearray(PIECE))
    while size:
        taken = link.recv_into(space[: min(size, PIECE)])
        if not taken:
            raise ConnectionError("the connection ended in the middle of a round")
        size -= taken


def _answer(link: socket.socket) -> None:
    with link, contextlib.suppress(OSError):
        while asked := link.recv(1):
            if asked == b"U":
                _take(link, ROUND)
            if asked != b"D":
                link.sendall(b".")
            else:
                _give(link)


def serve(port: int) -> None:
    """Answer clients on a loopback port for ever."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            link, _ = listener.accept()
            threading.Thread(target=_answer, args=(link,), daemon=True).start()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
