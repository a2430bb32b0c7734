"""Runs every test of this directory on each implementation of the network seam."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
import uvloop

from ztm.model import Address
from ztm.net.aio import AioNetwork
from ztm.net.base import Accept, Datagrams, Listener, Network, Received, Stream, TlsConfig
from ztm.net.choice import PACKAGE
from ztm.testing import SimWorld, VirtualLoop, settle

from .parties import Ends, Parties


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"aio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop, "sim": VirtualLoop, "native": NativeLoop}


class NativeLoop(uvloop.Loop):
    """The loop by which a test says that it runs on the native network."""


class Tidy(AioNetwork):
    """Closes what a test leaves open."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: list[Stream] = []
        self._sockets: list[Datagrams] = []

    async def dial(self, address: Address, tls: TlsConfig | None = None, *, timeout: float = 10.0) -> Stream:
        stream = await super().dial(address, tls, timeout=timeout)
        self._streams.append(stream)
        return stream

    async def listen(
        self, address: Address, accept: Accept, tls: TlsConfig | None = None, *, handshakes: int = 256
    ) -> Listener:
        async def noted(stream: Stream) -> None:
            self._streams.append(stream)
            await accept(stream)

        return await super().listen(address, noted, tls, handshakes=handshakes)

    async def listen_datagrams(self, address: Address, received: Received) -> Datagrams:
        self._sockets.append(await super().listen_datagrams(address, received))
        return self._sockets[-1]

    async def dial_datagrams(self, address: Address, received: Received) -> Datagrams:
        self._sockets.append(await super().dial_datagrams(address, received))
        return self._sockets[-1]

    async def tidy(self) -> None:
        await settle()
        for stream in self._streams:
            stream.abort("the test is over")
        for socket in self._sockets:
            socket.close()
        await settle()


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    if isinstance(asyncio.get_running_loop(), VirtualLoop):
        yield SimWorld(start=datetime.now(UTC)).host("10.0.0.1")
        return
    network = _native() if isinstance(asyncio.get_running_loop(), NativeLoop) else Tidy()
    yield network
    await network.tidy()


def _native() -> Tidy:
    """What closes what a test leaves open, over the native network: its methods come after those of `Tidy`."""
    pytest.importorskip(PACKAGE, reason="ztm-native is not installed: `make setup` builds it where there is cargo")
    from ztm.net.native.network import NativeNetwork

    return type("TidyNative", (Tidy, NativeNetwork), {})()


@pytest.fixture
async def ends(net: Network) -> AsyncIterator[Ends]:
    made = Ends()
    yield made
    made.close()
    await settle()


@pytest.fixture(scope="session")
def parties() -> Parties:
    return Parties.create()
