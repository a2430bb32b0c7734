"""v1's command line, which speaks bare bytes: its leaving ends the command where that can be seen."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from app_mesh import LOOPBACK, free_port

from ztm.apps.command import Call, Console, EndpointRef
from ztm.apps.consoles import serve_plain
from ztm.model import Address
from ztm.net.base import Stream
from ztm.net.choice import network as chosen_network

CALL = Call(program="ztm script", words=(), endpoint=EndpointRef("x", "x"), environment={}, is_typed=False)
RESET = struct.pack("ii", 1, 0)


class Silent:
    """A command that says nothing for long, and reads its input if told so."""

    def __init__(self, *, reads: bool) -> None:
        self.reads = reads
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self.typed = b""

    async def run(self, console: Console) -> int:
        self.begun.set()
        try:
            while self.reads and (data := await console.read()):
                self.typed += data
            if self.typed:
                await console.write(self.typed)
                return 0
            await asyncio.Event().wait()
        finally:
            self.over.set()
        return 0


@pytest.fixture
async def silent(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Silent, socket.socket]]:
    """A command under way, and the socket of its caller."""
    command, network = Silent(reads=request.param), chosen_network()

    async def accept(stream: Stream) -> None:
        await serve_plain(stream, command.run, CALL)

    listener = await network.listen(Address(LOOPBACK, free_port()), accept)
    caller = socket.create_connection((LOOPBACK, listener.address.port))
    await command.begun.wait()
    yield command, caller
    caller.close()
    await listener.close()


@pytest.mark.parametrize("silent", [True, False], indirect=True, ids=["reading", "not reading"])
async def test_a_caller_whose_connection_is_lost_ends_its_command_at_once(
    silent: tuple[Silent, socket.socket],
) -> None:
    command, caller = silent
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    caller.close()
    async with asyncio.timeout(3):
        await command.over.wait()


@pytest.mark.parametrize("silent", [True], indirect=True)
async def test_a_caller_whose_input_has_ended_still_gets_the_output(silent: tuple[Silent, socket.socket]) -> None:
    command, caller = silent
    caller.sendall(b"typed")
    caller.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(3):
        await command.over.wait()
        assert await asyncio.to_thread(caller.recv, 100) == b"typed"
        assert await asyncio.to_thread(caller.recv, 100) == b""
