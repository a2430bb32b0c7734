"""Running until told to stop, and what the service manager is told meanwhile."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ztm.errors import ConflictError
from ztm.net.notify import Notifier
from ztm.net.serving import reported, serve


class Manager:
    """The receiving end of a service manager."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(5)

    def next(self) -> list[str]:
        return self._socket.recv(4096).decode().splitlines()

    def rest(self) -> list[list[str]]:
        self._socket.setblocking(False)
        found = []
        while True:
            try:
                found.append(self.next())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


class Work:
    """Something to run; it drains once `over` is set."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.over = asyncio.Event()

    async def start(self) -> None:
        self.said.append("start")

    async def drain(self) -> None:
        self.said.append("drain")
        await self.over.wait()
        self.said.append("drained")

    async def close(self) -> None:
        self.said.append("close")

    def status(self) -> str:
        return "up and\nwell"


def ask() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def said(work: Work, what: str) -> None:
    async with asyncio.timeout(5):
        while what not in work.said:
            await asyncio.sleep(0)


async def test_it_is_ready_once_it_is_up_and_says_when_it_stops(manager: Manager) -> None:
    work = Work()
    work.over.set()
    serving = asyncio.ensure_future(serve(work, Notifier(manager.address), drain=10))
    assert await asyncio.to_thread(manager.next) == ["READY=1", "STATUS=up and well"]
    ask()
    assert await serving == 0
    assert [lines[0] for lines in manager.rest()] == ["STOPPING=1"]
    assert work.said == ["start", "drain", "drained", "close"]


async def test_it_shows_that_its_loop_turns_at_half_the_managers_interval(manager: Manager) -> None:
    work = Work()
    work.over.set()
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(serve(work, Notifier(manager.address, watchdog=0.2), drain=10))
    begin = loop.time()
    signs = 0
    while signs < 4:
        told = await asyncio.to_thread(manager.next)
        signs += told == ["WATCHDOG=1"]
    assert loop.time() - begin > 0.25
    ask()
    assert await serving == 0


async def test_a_second_request_ends_the_drain(manager: Manager) -> None:
    work = Work()
    serving = asyncio.ensure_future(serve(work, Notifier(manager.address), drain=600))
    await said(work, "start")
    await asyncio.sleep(0)
    ask()
    await said(work, "drain")
    ask()
    assert await serving == 0
    assert work.said == ["start", "drain", "close"]


async def test_the_drain_ends_in_its_time(manager: Manager) -> None:
    work = Work()
    serving = asyncio.ensure_future(serve(work, Notifier(manager.address), drain=0.01))
    await said(work, "start")
    ask()
    assert await serving == 0
    assert work.said == ["start", "drain", "close"]


async def test_a_request_while_it_comes_up_ends_it_without_a_drain(manager: Manager) -> None:
    class Slow(Work):
        async def start(self) -> None:
            await super().start()
            await self.over.wait()

    work = Slow()
    serving = asyncio.ensure_future(serve(work, Notifier(manager.address), drain=10))
    await said(work, "start")
    ask()
    assert await serving == 0
    assert work.said == ["start", "close"]
    assert manager.rest() == []


async def test_a_start_that_fails_is_closed_and_the_manager_told_why(manager: Manager) -> None:
    class Failing(Work):
        async def start(self) -> None:
            raise ConflictError("the port is taken")

    work, told = Failing(), Notifier(manager.address)
    with pytest.raises(ConflictError), reported(told):
        await serve(work, told, drain=10)
    assert manager.rest() == [["STATUS=the port is taken"]]
    assert work.said == ["close"]


def test_the_managers_variables_are_not_left_for_children() -> None:
    variables = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    told = Notifier.of_environment(variables)
    assert variables == {"A": "b"}
    assert told
    assert told.watchdog == 3.0


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"NOTIFY_SOCKET": "relative"},
        {"NOTIFY_SOCKET": "/gone/away", "WATCHDOG_USEC": "x"},
        {"NOTIFY_SOCKET": "/gone/away", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_manager_that_is_not_there_changes_nothing(variables: dict[str, str]) -> None:
    told = Notifier.of_environment(variables)
    assert told.watchdog == 0
    told.ready("x")
    told.alive()
    told.stopping("x")


def test_a_manager_on_an_abstract_socket_is_told() -> None:
    name = f"ztm-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        Notifier(f"@{name}").alive()
        receiver.settimeout(5)
        assert receiver.recv(100) == b"WATCHDOG=1"
