"""Small real proxies for tests: HTTP CONNECT and SOCKS 5, which note where they were asked to lead.

They resolve every name to this machine, so that only a name that went through the proxy can be reached.
"""

import asyncio
import base64
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """A running proxy."""

    kind: str
    login: str = ""
    """``user:password`` that it asks for, if any."""
    port: int = 0
    instead: int = 0
    """A port that it leads to whatever it is asked for, as an evil one would."""
    targets: list[tuple[str, int]] = field(default_factory=list)
    """Hosts and ports that were asked for, in order."""

    @property
    def url(self) -> str:
        """Without user and password."""
        return f"{self.kind}://127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client to its end."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            target = await (self._http if self.kind == "http" else self._socks)(reader, writer)
            if target is not None:
                await self._join(target, reader, writer)

    async def _join(self, target: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.targets.append(target)
        there, back = await asyncio.open_connection("127.0.0.1", self.instead or target[1])
        ok = b"HTTP/1.1 200 Connected\r\nVia: test\r\n\r\n"
        writer.write(ok if self.kind == "http" else b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01")
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        basic = "Basic " + base64.b64encode(self.login.encode()).decode()
        if self.login and f"Proxy-Authorization: {basic}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        host, _, port = target.rpartition(":")
        assert method == "CONNECT"
        assert f"\r\nHost: {target}\r\n" in head
        return host.strip("[]"), int(port)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        version, count = await reader.readexactly(2)
        assert version == 5
        methods = await reader.readexactly(count)
        wanted = 2 if self.login else 0
        writer.write(bytes((5, wanted if wanted in methods else 255)))
        if wanted not in methods or (wanted and not await self._logged_in(reader, writer)):
            return None
        assert await reader.readexactly(3) == b"\x05\x01\x00"
        form = (await reader.readexactly(1))[0]
        size = (await reader.readexactly(1))[0] if form == 3 else {1: 4, 4: 16}[form]
        host = await reader.readexactly(size)
        port = int.from_bytes(await reader.readexactly(2))
        return host.decode() if form == 3 else ".".join(map(str, host)), port

    async def _logged_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        assert (await reader.readexactly(1)) == b"\x01"
        user = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        is_right = f"{user.decode()}:{password.decode()}" == self.login
        writer.write(b"\x01\x00" if is_right else b"\x01\x01")
        return is_right


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[int]:
    """The port of a server that gives each client to `answer`; all of them are over afterwards."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def owned(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            await answer(reader, writer)
        except asyncio.CancelledError:
            pass  # the server reports others' ends as failures
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(owned, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)


@contextlib.asynccontextmanager
async def running(kind: str, login: str = "") -> AsyncIterator[Proxy]:
    """A proxy on the present event loop."""
    proxy = Proxy(kind, login)
    async with serving(proxy.answer) as proxy.port:
        yield proxy


@contextlib.contextmanager
def in_thread(kind: str, login: str = "") -> Iterator[Proxy]:
    """A proxy on an event loop of its own."""
    started, found = threading.Event(), []

    async def serve() -> None:
        stop = asyncio.Event()
        async with running(kind, login) as proxy:
            found.extend((proxy, asyncio.get_running_loop(), stop))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait(10)
    proxy, loop, stop = found
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
