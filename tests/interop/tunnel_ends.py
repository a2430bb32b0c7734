"""The ends of tunnels on this machine: targets, and clients of an inbound."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from v1_http import PATIENCE

LOOPBACK = "127.0.0.1"
TEXT = 0x81
"""First byte of a datagram's frame as v1 sends it: FIN, and text whatever is in it."""


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"<end>")
    writer.write_eof()


async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-x\r\n")
    await writer.drain()


@asynccontextmanager
async def target(serve: Serve = echo) -> AsyncIterator[int]:
    """A TCP server on this machine; its port."""
    writers = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError):
            await serve(reader, writer)

    server = await asyncio.start_server(accept, LOOPBACK, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        await shut(writer)


async def shut(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    async with asyncio.timeout(PATIENCE):
        yield reader, writer
    await shut(writer)


async def talk(port: int, said: bytes) -> bytes:
    """Say something to its end, and give all that is answered."""
    async with client(port) as (reader, writer):
        writer.write(said)
        writer.write_eof()
        return await reader.read()


class Datagrams(asyncio.DatagramProtocol):
    """A UDP socket that keeps what comes, or sends it back."""

    def __init__(self, *, is_echo: bool = False) -> None:
        self.came: asyncio.Queue[bytes] = asyncio.Queue()
        self._is_echo = is_echo

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.came.put_nowait(data)
        if self._is_echo:
            self._transport.sendto(b"re:" + data, addr)


@asynccontextmanager
async def datagrams(to: int = 0) -> AsyncIterator[tuple[asyncio.DatagramTransport, Datagrams]]:
    """A client of port `to`, or a server that echoes."""
    loop = asyncio.get_running_loop()
    where = {"remote_addr": (LOOPBACK, to)} if to else {"local_addr": (LOOPBACK, 0)}
    transport, made = await loop.create_datagram_endpoint(lambda: Datagrams(is_echo=not to), **where)
    async with asyncio.timeout(PATIENCE):
        yield transport, made
    transport.close()


def frame(payload: bytes, first: int = TEXT) -> bytes:
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2)
    return bytes([first]) + size + payload
