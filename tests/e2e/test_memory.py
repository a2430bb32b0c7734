"""What a reader that stops costs: bounded memory in every process, nothing for its neighbours, and all given back."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from targets import Server, connected, swallow
from world import Agent, Process, World, open_tunnel, until

MEGA = 1 << 20
OFFERED = 300 * MEGA
PER_STREAM = 2 * MEGA
"""Bytes that a process may hold for one stalled stream (issue: "Back-pressure")."""
ALLOCATOR = 4 * MEGA
"""What an allocator's arenas and the buffers of TLS may add, once for a process and not for each stream."""
KEPT = 32 * MEGA
"""Free memory that a process may keep for its next burst (`ztm.net.process`), whatever the last one was."""
GIVEN_BACK = 15.0
"""Seconds after which what is beyond that has been given back."""
STALLED = 8


class Stalled:
    """Targets that take connections and read nothing, and how much their clients could write."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.server = Server(self._hold)

    def _hold(self, connection: socket.socket) -> None:
        self.release.wait(60)

    def __enter__(self) -> "Stalled":
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.server.__exit__()


class Offer:
    """A client that offers bytes for as long as they are taken."""

    def __init__(self, port: int) -> None:
        self.taken = 0
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.setblocking(False)
        self._chunk = bytes(1 << 18)

    def push(self) -> None:
        """Write what is taken now."""
        with contextlib.suppress(BlockingIOError):
            while self.taken < OFFERED:
                self.taken += self.socket.send(self._chunk)

    def reset(self) -> None:
        """Leave without reading or waiting."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


@contextlib.contextmanager
def offers(port: int, count: int) -> Iterator[list[Offer]]:
    """Clients that have written all that is taken of them; all are gone afterwards."""
    made: list[Offer] = []
    try:
        made.extend(Offer(port) for _ in range(count))
        yield made
    finally:
        for one in made:
            one.reset()


def settle(made: list[Offer]) -> int:
    """Push until nothing was taken for a second; the bytes taken of all."""
    moved = time.monotonic()
    total = -1
    while time.monotonic() - moved < 1.0:
        for one in made:
            one.push()
        now = sum(one.taken for one in made)
        if now != total:
            total, moved = now, time.monotonic()
        time.sleep(0.02)
    return total


def move(port: int, size: int) -> float:
    """Send so many bytes through a tunnel to one that takes them all; seconds."""
    chunk = bytes(MEGA)
    with connected(port) as connection:
        begin = time.monotonic()
        for _ in range(size // MEGA):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == f"{size} bytes".encode()
        return time.monotonic() - begin


@pytest.mark.long
@pytest.mark.parametrize("count", [1, STALLED])
def test_a_stalled_reader_stops_its_writer_holds_little_and_gives_it_back(count: int, world: World) -> None:
    hub = world.hub()
    home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
    processes: list[Process] = [hub, home, workplace]
    with Stalled() as stalled, Server(swallow) as taking:
        dead = open_tunnel(home, workplace, stalled.server.port)
        free = open_tunnel(home, workplace, taking.port)
        move(free, 100 * MEGA)  # so that what all streams share is there already
        before = {one.name: one.rss for one in processes}
        with offers(dead, count) as made:
            settle(made)
            assert all(one.taken < OFFERED for one in made)
            grown = {one.name: one.rss - before[one.name] for one in processes}
            bound = count * PER_STREAM + ALLOCATOR
            assert all(growth <= bound for growth in grown.values()), (bound, grown)
            alone = move(free, 50 * MEGA)
            assert alone < 5.0
            assert all(one.taken < OFFERED for one in made)
        until(lambda: open_streams(home, dead) == 0, what="the stalled streams are over")
        until(lambda: is_given_back(before, processes), within=GIVEN_BACK, what="the memory is given back")


def is_given_back(before: dict[str, int], processes: list[Process]) -> bool:
    """Whether no process holds much more than `before`."""
    return all(one.rss - before[one.name] <= KEPT for one in processes)


def open_streams(agent: Agent, port: int) -> int:
    """Connections that are open through the inbound at `port`."""
    for inbound in agent.ok("tunnel", "get", "inbound", "-o", "json").json:
        if any(listen["port"] == port for listen in inbound["listens"]):
            return int(inbound["traffic"]["open"])
    raise AssertionError(f"no inbound listens on {port}")


@pytest.mark.long
def test_a_stalled_client_of_a_download_holds_little(world: World) -> None:
    hub = world.hub()
    home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
    processes: list[Process] = [hub, home, workplace]
    sent = [0]

    def pour(connection: socket.socket) -> None:
        chunk = bytes(1 << 16)
        while sent[0] < OFFERED:
            sent[0] += connection.send(chunk)

    with Server(pour) as pouring, Server(swallow) as taking:
        port, free = open_tunnel(home, workplace, pouring.port), open_tunnel(home, workplace, taking.port)
        move(free, 100 * MEGA)
        before = {one.name: one.rss for one in processes}
        with connected(port) as connection:
            assert connection.recv(1)
            seen = [-1]

            def is_still() -> bool:
                was, seen[0] = seen[0], sent[0]
                time.sleep(0.5)
                return was == sent[0]

            until(is_still, what="the target is stopped")
            assert sent[0] < OFFERED
            grown = {one.name: one.rss - before[one.name] for one in processes}
            assert all(growth <= PER_STREAM + ALLOCATOR for growth in grown.values()), grown
            assert move(free, 50 * MEGA) < 5.0
            left = len(connection.recv(MEGA))
            while left < 20 * MEGA:  # it goes on where it stopped
                left += len(connection.recv(MEGA))


@pytest.mark.long
def test_streams_aborted_with_data_in_flight_leave_nothing_behind(world: World) -> None:
    hub = world.hub()
    home, workplace = world.joined(hub, "home"), world.joined(hub, "workplace")
    with Stalled() as stalled, Server(swallow) as taking:
        dead = open_tunnel(home, workplace, stalled.server.port)
        free = open_tunnel(home, workplace, taking.port)
        fast = move(free, 50 * MEGA)
        processes: list[Process] = [hub, home, workplace]
        before = {one.name: one.rss for one in processes}
        for _ in range(100):
            with offers(dead, 20) as made:
                for one in made:
                    one.push()
        until(lambda: open_streams(home, dead) == 0, within=30, what="all are over")
        assert move(free, 50 * MEGA) < max(2.0, 4 * fast)
        until(lambda: is_given_back(before, processes), within=GIVEN_BACK, what="the memory is given back")
