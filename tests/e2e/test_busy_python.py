"""While a handler keeps the Python of a process busy, the streams that run through it go on (native network only)."""

import importlib.util
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from targets import Server, connected, echo
from world import Process, World, open_tunnel, until

SPINNING = Path(__file__).parents[2] / "bench" / "spinning.py"
"""Runs `ztm` so that its event loop stands still for two seconds at SIGUSR2, and says when that begins and ends."""
BEGUN, ENDED = "spinning has begun", "spinning has ended"
SPIN = 2.0
"""Seconds for which it does."""
WARM = 16 << 20
"""Bytes carried before anything is compared."""
TRIES = 3
"""The machine may be busy with something else just then; Python that holds streams up does so each time."""
MESSAGE = b"x" * 1000

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("ztm_native") is None or os.environ.get("ZTM_NET") == "aio",
        reason="the portable network moves bytes in Python",
    ),
]


@dataclass(frozen=True)
class Spinners:
    """A hub and two endpoints that can be kept busy, by name, and the load on a tunnel through all three."""

    processes: dict[str, Process]
    bulk: int
    echo: int


@pytest.fixture(scope="module")
def spinners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spinners]:
    world = World(tmp_path_factory.mktemp("busy"))
    prefix = ["env", "ZTM_NET=native", sys.executable, str(SPINNING)]
    try:
        with Server(pour) as source, Server(echo) as echoing:
            hub = world.hub(prefix=prefix)
            home, workplace = (world.joined(hub, name, prefix=prefix) for name in ("home", "workplace"))
            bulk, small = (open_tunnel(home, workplace, server.port) for server in (source, echoing))
            yield Spinners({"hub": hub, "entrance": home, "exit": workplace}, bulk, small)
    finally:
        world.close()


def pour(connection: socket.socket) -> None:
    """Send for as long as anybody takes it."""
    piece = bytes(1 << 18)
    while True:
        connection.sendall(piece)


@contextmanager
def running(turn: Callable[[], int]) -> Iterator[Callable[[], int]]:
    """Repeat `turn` in a thread; what it has returned so far, summed, can be asked at any time."""
    total, stop = 0, threading.Event()

    def work() -> None:
        nonlocal total
        while not stop.is_set():
            total += turn()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: total
    finally:
        stop.set()
        thread.join()


def shares(spinner: Process, done: Callable[[], int]) -> Iterator[float]:
    """What is done while the process's Python is busy, as a share of what is done in an equal time before it."""
    for number in range(1, TRIES + 1):
        said = spinner.log.count(ENDED)
        begin, before = time.monotonic(), done()
        until(lambda begin=begin: time.monotonic() - begin > SPIN, what="an equal time has passed")
        usual = done() - before
        spinner.signal(signal.SIGUSR2)
        until(lambda said=said: spinner.log.count(BEGUN) > said, what=f"it spins for the {number}. time")
        before = done()
        until(lambda said=said: spinner.log.count(ENDED) > said, what="it spins no more")
        yield (done() - before) / max(1, usual)


@pytest.mark.parametrize("who", ["hub", "entrance", "exit"])
def test_a_download_goes_on_while_python_is_busy(who: str, spinners: Spinners) -> None:
    space = bytearray(1 << 18)
    with connected(spinners.bulk) as link, running(lambda: link.recv_into(space)) as carried:
        until(lambda: carried() > WARM, what="the download is under way")
        assert any(share > 0.5 for share in shares(spinners.processes[who], carried))


@pytest.mark.parametrize("who", ["hub", "entrance", "exit"])
def test_small_messages_go_on_while_python_is_busy(who: str, spinners: Spinners) -> None:
    with connected(spinners.echo) as link:

        def exchange() -> int:
            link.sendall(MESSAGE)
            return len(link.recv(len(MESSAGE), socket.MSG_WAITALL))

        with running(exchange) as carried:
            until(lambda: carried() > 0, what="messages are answered")
            assert any(share > 0.5 for share in shares(spinners.processes[who], carried))
