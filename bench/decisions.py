"""What a new tunnelled connection costs in Python: entrance, hub and exit decide as always, on a network in memory.

It prints microseconds of CPU for each new stream in each of the three, which a native network does not take away, and
those of the event loop and of client and target beside them. `--profile` prints where they go instead.
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Generator
from contextvars import Context
from pathlib import Path
from typing import Any, ClassVar, cast

import uvloop

from inmemory import ROOM, DirectWorld
from ztm.model import Address
from ztm.net.base import Stream
from ztm.net.process import tune_process
from ztm.testing.mesh import HUB, SimMesh
from ztm.testing.world import SimWorld

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
PORT = 1080
WARM_UP = 500
"""Connections before the first that counts: sessions are opened and caches filled."""


class Timed(Coroutine[Any, Any, Any]):
    """A task's coroutine whose steps are counted for the host that it works for."""

    spent: ClassVar[Counter[str]] = Counter()
    """Nanoseconds by room; those of the cycle collector, which may come anywhere, are ``gc``'s alone."""

    def __init__(self, work: Coroutine[Any, Any, Any], room: str) -> None:
        self._work, self._room = work, room

    def send(self, value: object) -> object:
        begin = working()
        try:
            return self._work.send(value)
        finally:
            self.spent[self._room] += working() - begin

    def throw(self, *error: Any) -> object:
        begin = working()
        try:
            return self._work.throw(*error)
        finally:
            del error  # the traceback holds this frame, which would hold the error
            self.spent[self._room] += working() - begin

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._work.__await__()


def working() -> int:
    """This thread's CPU time in nanoseconds, less that of the cycle collector."""
    return time.thread_time_ns() - Timed.spent["gc"]


def collecting(phase: str, _info: dict[str, int]) -> None:
    """What `gc.callbacks` call."""
    Timed.spent["gc"] += time.thread_time_ns() * (1 if phase == "stop" else -1)


def timed(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: Context | None = None
) -> "asyncio.Task[Any]":
    """The task factory."""
    room = context.get(ROOM, "") if context is not None else ROOM.get()
    return asyncio.Task(Timed(work, room), loop=loop, context=context)


async def serve(stream: Stream) -> None:
    """The target: one answer to one request."""
    await stream.read()
    stream.write_now(b"HTTP/1.1 200 OK\r\n\r\nhello")


async def clients(mesh: SimMesh, connections: int, at_once: int) -> None:
    """Have so many connections made, `at_once` under way."""
    network = mesh.endpoints[0].network
    left = iter(range(connections))

    async def client() -> None:
        for _ in left:
            stream = await network.dial(Address("127.0.0.1", PORT))
            stream.write_now(REQUEST)
            answer = b""
            while data := await stream.read():
                answer += data
            if not answer.endswith(b"hello"):
                raise RuntimeError(f"no answer: {answer!r}")
            stream.end()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(client())


async def measure(directory: Path, connections: int, at_once: int, rounds: int, profiled: str) -> None:
    mesh = SimMesh(directory, cast("SimWorld", DirectWorld()))
    a, b = await mesh.join("a", "b")
    target = Address("10.9.9.9", 80)
    await mesh.world.host(target.host).listen(target, serve)
    await b.open_outbound("tcp/web", [target])
    await a.open_inbound("tcp/web", PORT, [b.id])
    await clients(mesh, WARM_UP, at_once)
    if profiled:
        profile = cProfile.Profile()
        profile.enable()
        await clients(mesh, connections, at_once)
        profile.disable()
        pstats.Stats(profile).sort_stats(profiled).print_stats(100)
    else:
        names = {a.ip: "entrance", HUB: "hub", b.ip: "exit", "": "client", target.host: "target", "gc": "gc"}
        for _ in range(rounds):
            gc.collect()
            before = Timed.spent.copy()
            gc.callbacks[:] = [collecting]
            begin = time.thread_time_ns()
            await clients(mesh, connections, at_once)
            whole = time.thread_time_ns() - begin
            gc.callbacks.clear()
            rooms = {name: Timed.spent[room] - before[room] for room, name in names.items()}
            rooms["loop"] = whole - sum(rooms.values())
            print("  ".join(f"{name} {spent / connections / 1000:.1f}" for name, spent in rooms.items()), "us")
    await mesh.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", default="", metavar="ORDER", help="tottime or cumtime")
    options = parser.parse_args()
    tune_process()
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if not options.profile:
            runner.get_loop().set_task_factory(timed)
        runner.run(measure(Path(directory), options.connections, options.at_once, options.rounds, options.profile))


if __name__ == "__main__":
    main()
