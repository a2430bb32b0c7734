"""Streams while the Python of their hops computes: bulk and requests before, and while the hub or all three spin.

All three spinning want more than two cores for themselves, so with two a part of what is lost is lost to them; the hub
alone leaves the others a core.
"""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bulk
import fresh
from measure import Figures
from processes import BenchError, Sandbox
from spinning import SPIN
from way_ztm import ZTM, ZtmMesh
from ways import ANSWER, Ports

AT_ONCE = 16
REST = 1.0
"""Seconds between two phases, in which what was held up comes through."""
DRAIN = 5.0
"""Seconds after which a request of the last phase is given up."""
ASK = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"


@dataclass(slots=True)
class Phase:
    """So many seconds of a load (`SPIN`), at whose beginning something is done."""

    name: str
    begin: Callable[[], None]
    began: float = 0.0
    carried: int = 0
    """Bytes."""
    times: list[float] = field(default_factory=list)
    """Seconds that each request took that was under way in this phase."""
    answered: int = 0
    """Requests answered in this phase."""

    def has(self, moment: float) -> bool:
        return self.began <= moment < self.began + SPIN

    def add(self, begun: float, ended: float) -> None:
        """Count a request in, if it was under way in this phase."""
        if begun < self.began + SPIN and ended >= self.began:
            self.times.append(ended - begun)
            self.answered += self.has(ended)

    @property
    def p99_ms(self) -> float:
        return sorted(self.times)[len(self.times) * 99 // 100] * 1e3 if self.times else 0.0


def busy(net: str, targets: Ports) -> Figures:
    """Measure a mesh on this network of ours, with `spinning.py` in the place of its three programs."""
    figures = Figures(net)
    program = [sys.executable, Path(__file__).with_name("spinning.py"), ZTM]
    with Sandbox() as box:
        way = ZtmMesh(net, program)
        try:
            entrance = way.open(box, targets)
            _bulk(entrance.bulk, phases := _phases(way))
            for phase in phases:
                figures.values[f"busy_bulk_{phase.name}_mb_s"] = phase.carried / SPIN / 1e6
            _requests(entrance.web, phases := _phases(way))
            for phase in phases:
                figures.values[f"busy_req_{phase.name}_per_s"] = phase.answered / SPIN
                figures.values[f"busy_req_{phase.name}_p99_ms"] = phase.p99_ms
        except (BenchError, OSError) as error:
            figures.missing["busy Python"] = str(error) or type(error).__name__
    return figures


def _phases(way: ZtmMesh) -> list[Phase]:
    def spin(pids: Sequence[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGUSR2)

    return [
        Phase("before", lambda: None),
        Phase("hub", lambda: spin([way.hub])),
        Phase("all", lambda: spin(way.hops)),
    ]


def _schedule(phases: Sequence[Phase], turn: Callable[[], None]) -> None:
    """Keep a load going by its turns, through all phases with rests before and after each."""
    for phase in phases:
        _turn_until(time.monotonic() + REST, turn)
        phase.began = time.monotonic()
        phase.begin()
        _turn_until(phase.began + SPIN, turn)
    _turn_until(time.monotonic() + REST, turn)


def _turn_until(end: float, turn: Callable[[], None]) -> None:
    while time.monotonic() < end:
        turn()


def _bulk(port: int, phases: Sequence[Phase]) -> None:
    """A download that goes on, round after round; the next round is asked for before this one is over."""
    space, asked, got = bytearray(bulk.PIECE), 2, 0
    with socket.create_connection(("127.0.0.1", port), timeout=bulk.GIVE_UP) as link:
        link.sendall(b"DD")
        link.settimeout(0.05)

        def turn() -> None:
            nonlocal asked, got
            try:
                taken = link.recv_into(space)
            except TimeoutError:
                return
            if not taken:
                raise ConnectionError("the download ended")
            got += taken
            _credit(phases, taken)
            if got > (asked - 1) * bulk.ROUND:
                link.sendall(b"D")
                asked += 1

        _schedule(phases, turn)


def _credit(phases: Sequence[Phase], taken: int) -> None:
    now = time.monotonic()
    for phase in phases:
        if phase.has(now):
            phase.carried += taken


class _Asking:
    """Clients with one request under way each, on connections that are kept."""

    def __init__(self, port: int) -> None:
        self._poll = select.epoll()
        self._links: dict[int, socket.socket] = {}
        self._begun: dict[int, float] = {}
        self._heads: dict[int, bytes] = {}
        self.done: list[tuple[float, float]] = []
        """When each request was begun and answered."""
        for _ in range(AT_ONCE):
            link = socket.create_connection(("127.0.0.1", port), timeout=fresh.ABANDON)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._links[link.fileno()] = link
            self._poll.register(link, select.EPOLLIN)
            self._ask(link.fileno())

    def _ask(self, number: int) -> None:
        self._begun[number], self._heads[number] = time.monotonic(), b""
        self._links[number].send(ASK)

    def turn(self, *, ask_again: bool = True) -> None:
        for number, _ in self._poll.poll(0.05):
            data = self._links[number].recv(4096)
            if not data:
                raise ConnectionError("a kept-alive connection ended")
            self._heads[number] += data
            if self._heads[number].endswith(ANSWER.encode()):
                self.done.append((self._begun.pop(number), time.monotonic()))
                if ask_again:
                    self._ask(number)

    def finish(self) -> None:
        """Wait for the answers under way, and close."""
        end = time.monotonic() + DRAIN
        while self._begun and time.monotonic() < end:
            self.turn(ask_again=False)
        now = time.monotonic()
        self.done += [(begun, now) for begun in self._begun.values()]
        for link in self._links.values():
            link.close()
        self._poll.close()


def _requests(port: int, phases: Sequence[Phase]) -> None:
    asking = _Asking(port)
    _schedule(phases, asking.turn)
    asking.finish()
    for begun, ended in asking.done:
        for phase in phases:
            phase.add(begun, ended)
