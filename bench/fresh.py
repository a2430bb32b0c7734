"""New connections: a fixed number of clients, each of which connects, asks once, reads the answer and closes.

One thread and epoll, so that the load costs as little of the measured machine as Python allows; where a way is faster
than this (direct loopback is), the figure is this client's own limit. A time is from connect() to the last byte.
"""

import contextlib
import select
import socket
import struct
import time
from dataclasses import dataclass, field

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
ABANDON = 5.0
"""Seconds after which a connection counts as failed."""
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER for closing without TIME_WAIT; used only after the whole answer has come."""


@dataclass(slots=True)
class Fresh:
    """What became of the connections."""

    seconds: float = 0.0
    failed: int = 0
    times: list[float] = field(default_factory=list)
    """Seconds from connect to the last byte, of those that succeeded."""


@dataclass(slots=True)
class _Client:
    link: socket.socket
    begun: float
    got: bytes = b""


class _Load:
    def __init__(self, port: int, answer_end: bytes) -> None:
        self._address = ("127.0.0.1", port)
        self._answer_end = answer_end
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self.result = Fresh()

    def open(self) -> None:
        link = socket.socket()
        link.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            link.connect(self._address)
        self._clients[link.fileno()] = _Client(link, time.perf_counter())
        self._poll.register(link, select.EPOLLOUT)

    def turn(self) -> int:
        """Serve what is ready; how many clients are done, well or not."""
        done = 0
        for number, _ in self._poll.poll(0.2):
            client = self._clients[number]
            try:
                done += self._advance(number, client)
            except OSError:
                done += self._close(client, ok=False)
        return done + self._abandon()

    def _advance(self, number: int, client: _Client) -> int:
        if not client.got and client.link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ConnectionError
        if number not in self._asked:
            client.link.send(REQUEST)
            self._asked.add(number)
            self._poll.modify(number, select.EPOLLIN)
            return 0
        data = client.link.recv(4096)
        client.got += data
        if client.got.endswith(self._answer_end):
            return self._close(client, ok=True)
        return 0 if data else self._close(client, ok=False)

    @property
    def _asked(self) -> set[int]:
        return self.__dict__.setdefault("asked", set())
