"""A hub or an agent that is killed while connections are full of bytes: who is left lets go of all of them."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest
from targets import Server, connected, echo, seconds_until_works, works
from world import Agent, Hub, World, open_tunnel, until

pytestmark = [pytest.mark.long, pytest.mark.networks]  # each kills a process

CONNECTIONS = 8
CHUNK = bytes(65536)


def sockets(process: Agent | Hub) -> int:
    """How many sockets it has open."""
    found = 0
    for each in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(each.readlink()).startswith("socket:")
    return found


class Bulk:
    """A connection that sends without end and reads nothing that comes back until it is told to."""

    def __init__(self, connection: socket.socket, *, reads: bool) -> None:
        self.moved = 0
        self._connection = connection
        self._connection.settimeout(30)
        parts = [self._send, self._read] if reads else [self._send]
        self._threads = [threading.Thread(target=part, daemon=True) for part in parts]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._connection.sendall(CHUNK)
                self.moved += len(CHUNK)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while self._connection.recv(1 << 20):
                pass

    @property
    def is_cut(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)


@pytest.mark.parametrize("killed", ["hub", "entrance", "exit"])
def test_a_kill_in_mid_bulk_cuts_all_connections_and_leaves_no_socket(killed: str, world: World) -> None:
    hub = world.hub()
    entrance, exit_ = world.joined(hub, "entrance"), world.joined(hub, "exit")
    processes: dict[str, Agent | Hub] = {"hub": hub, "entrance": entrance, "exit": exit_}
    with Server(echo) as server, contextlib.ExitStack() as stack:
        port = open_tunnel(entrance, exit_, server.port)
        assert works(port)
        left = [process for name, process in processes.items() if name != killed]
        before = [sockets(process) for process in left]
        bulks = [Bulk(stack.enter_context(connected(port, 30)), reads=number % 2 == 0) for number in range(CONNECTIONS)]
        until(lambda: all(bulk.moved > 1 << 20 for bulk in bulks), what="all are under way")
        processes[killed].kill()
        until(lambda: all(bulk.is_cut for bulk in bulks), what="all connections are cut")
        for process, count in zip(left, before, strict=True):
            until(lambda: sockets(process) <= count, within=15, what=f"{process} gave its sockets back")  # noqa: B023
        processes[killed].start()
        assert seconds_until_works(port, 10) < 10
