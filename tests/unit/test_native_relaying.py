"""What the native network adds to the promises of a UDP session: Python is not entered for its datagrams."""

import asyncio
import socket
from typing import Any

import pytest

from ztm.model import Address
from ztm.net.base import Stream
from ztm.net.choice import PACKAGE
from ztm.testing import settle
from ztm.wire.datagram import Decoder, encode

LOOPBACK = Address("127.0.0.1", 0)


class Noted:
    """The core of a plane; `told` holds the token of each event that was taken."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.told: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def events(self) -> list[tuple[int, int, object]]:
        events: list[tuple[int, int, object]] = self._core.events()
        self.told += [token for token, _, _ in events]
        return events


async def test_datagrams_of_a_session_are_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(PACKAGE, reason="ztm-native is not installed: `make setup` builds it where there is cargo")
    from ztm.apps.streams.limits import LIMITS
    from ztm.net.native.network import NativeNetwork
    from ztm.net.native.plane import plane
    from ztm.net.native.stream import NativeStream

    net, came = NativeNetwork(), asyncio.Queue[Address]()
    accepted: asyncio.Queue[Stream] = asyncio.Queue()
    done = asyncio.Event()

    async def accept(stream: Stream) -> None:
        accepted.put_nowait(stream)
        await done.wait()

    listener = await net.listen(LOOPBACK, accept)
    near, far = await net.dial(listener.address), await accepted.get()
    assert isinstance(near, NativeStream)
    assert isinstance(far, NativeStream)
    noted = Noted(plane().core)
    monkeypatch.setattr(plane(), "core", noted)
    port = await net.listen_datagrams(LOOPBACK, lambda _, sender: came.put_nowait(sender))
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.connect((port.address.host, port.address.port))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        await loop.sock_sendall(client, b"let me in")
        relaying = net.relay(port, await came.get(), near, LIMITS)
        over = loop.create_task(relaying.ended())
        await settle()
        before, decoder = len(noted.told), Decoder()
        for number in range(100):
            await loop.sock_sendall(client, b"%d" % number)
            assert decoder.feed(await far.read()) == [b"%d" % number]
            await far.write(encode(b"%d" % number))
            assert await loop.sock_recv(client, 100) == b"%d" % number
        told = noted.told[before:]
        assert set(told) <= {far.handle.token}, "of the other end alone, which is read here"
        relaying.abort()
        await over
    done.set()
    client.close()
    port.close()
    await listener.close()
