"""New connections: a fixed number of clients, each of which connects, asks once, reads the answer and closes.

One thread and epoll, so that the load costs as little of the measured machine as Python allows; where a way is faster
than this (direct loopback is), the figure is this client's own limit. A time is from connect() to the last byte.
"""

import contextlib
import select
import socket
import time
from dataclasses import dataclass, field

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
ABANDON = 5.0
"""Seconds after which a connection counts as failed."""


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
    has_asked: bool = False
    answer: bytes = b""


class _Load:
    """The clients under way at one moment."""

    def __init__(self, port: int, answer_end: bytes, request: bytes) -> None:
        self._address = ("127.0.0.1", port)
        self._answer_end = answer_end
        self._request = request
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self.result = Fresh()

    def fill(self, at_once: int) -> None:
        while len(self._clients) < at_once:
            link = socket.socket()
            link.setblocking(False)
            self._clients[link.fileno()] = _Client(link, time.perf_counter())
            with contextlib.suppress(OSError):  # in progress, or soon seen to have failed
                link.connect(self._address)
            self._poll.register(link, select.EPOLLOUT)

    def turn(self) -> None:
        for number, _ in self._poll.poll(0.2):
            client = self._clients[number]
            try:
                over = self._advance(number, client)
            except OSError:
                over = True
            if over:
                self._close(number, client)

    def _advance(self, number: int, client: _Client) -> bool:
        """Do what the socket is ready for; whether the client is done, well or not."""
        if not client.has_asked:
            client.link.send(self._request)  # raises if the connect failed
            client.has_asked = True
            self._poll.modify(number, select.EPOLLIN)
            return False
        data = client.link.recv(4096)
        client.answer += data
        return not data or client.answer.endswith(self._answer_end)

    def _close(self, number: int, client: _Client) -> None:
        if client.answer.endswith(self._answer_end):
            self.result.times.append(time.perf_counter() - client.begun)
        else:
            self.result.failed += 1
        del self._clients[number]
        client.link.close()  # which takes it out of the poll, too

    def abandon(self) -> None:
        """Fail the clients that have waited for too long."""
        late = time.perf_counter() - ABANDON
        for number, client in list(self._clients.items()):
            if client.begun < late:
                self._close(number, client)

    def stop(self) -> None:
        for client in self._clients.values():
            client.link.close()
        self._poll.close()


def connections(port: int, at_once: int, seconds: float, answer_end: bytes, request: bytes = REQUEST) -> Fresh:
    """Keep `at_once` clients of a loopback port busy for `seconds`; an answer is whole once it ends in `answer_end`."""
    load = _Load(port, answer_end, request)
    begin = looked = time.perf_counter()
    try:
        while (now := time.perf_counter()) - begin < seconds:
            load.fill(at_once)
            load.turn()
            if now - looked > 1.0:
                load.abandon()
                looked = now
    finally:
        load.stop()
    load.result.seconds = now - begin
    return load.result
