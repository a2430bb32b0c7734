"""One core for the loops of a process, one after another; and which network a process uses."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from contract.parties import echo, listening, read_exactly
from ztm.model import Address
from ztm.net import choice

native = pytest.importorskip(
    "ztm.net.native.network",
    reason="ztm-native is not installed: `make setup` builds it where there is cargo",
    exc_type=ImportError,
)
planes = pytest.importorskip("ztm.net.native.plane", exc_type=ImportError)


async def talk() -> object:
    """Say something to an echo, and leave it open; the core that it went through."""
    net = native.NativeNetwork()
    async with listening(net, echo) as address:
        stream = await net.dial(address)
        await stream.write(b"hello")
        assert await read_exactly(stream, 5) == b"hello"
    return planes.plane().core


def run(main: Callable[[], Awaitable[object]]) -> object:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())  # type: ignore[arg-type]


def test_loops_one_after_another_share_a_core() -> None:
    assert run(talk) is run(talk)


def test_loops_at_the_same_time_have_a_core_each() -> None:
    cores: list[object] = []
    together = threading.Barrier(2)

    async def both() -> object:
        core = await talk()
        await asyncio.to_thread(together.wait, 10)
        return core

    threads = [threading.Thread(target=lambda: cores.append(run(both))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(core) for core in cores}) == 2


async def test_what_was_sent_before_the_end_of_a_process_has_left_when_it_is_flushed() -> None:
    net = native.NativeNetwork()
    size = 1 << 20
    got = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.set_result(len(await reader.read(-1)))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        stream = await net.dial(Address(*server.sockets[0].getsockname()[:2]))
        stream.write_now(bytes(size))
        stream.end()
        await net.flushed()
        assert await got == size


def test_a_forked_process_makes_a_core_of_its_own() -> None:
    run(talk)
    before = list(planes._planes)
    planes._leave_to_parent()
    try:
        assert not planes._planes
        run(talk)
        assert planes._planes[0].core is not before[0].core
    finally:
        planes._planes[:] = before


# ---------------------------------------------------------------------- which network


def test_the_native_network_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    assert choice.network().kind == "native"


def test_a_command_loads_nothing_of_it() -> None:
    code = "import sys; from ztm.cli.main import main; main(['version']); assert 'ztm_native' not in sys.modules"
    environment = {**os.environ, "ZTM_NET": "native"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
