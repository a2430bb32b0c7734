"""What a UDP tunnel promises, on real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from app_mesh import LOOPBACK, OWN_IDS, ask, free_port
from tunnel_mesh import TunnelMesh, limited

from ztm.apps.streams.limits import StreamLimits
from ztm.apps.tunnel.api import TunnelApp
from ztm.model import Address
from ztm.net.base import Datagrams, Exchange
from ztm.net.relay import Relay
from ztm.wire.datagram import MAX_PAYLOAD

A, B, C = OWN_IDS[:3]


@pytest.fixture
async def mesh() -> AsyncIterator[TunnelMesh]:
    made = TunnelMesh()
    yield made
    await made.close()


class UdpEcho:
    """A target that sends everything back."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self._socket: Datagrams | None = None

    async def open(self, mesh: TunnelMesh) -> Address:
        def received(data: bytes, sender: Address) -> None:
            self.seen.append(data)
            assert self._socket is not None
            self._socket.send(data, sender)

        self._socket = await mesh.network.listen_datagrams(Address(LOOPBACK, free_port(socket.SOCK_DGRAM)), received)
        return self._socket.address

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class UdpUser:
    """A program that sends to an inbound and waits for answers."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.socket: Datagrams | None = None

    async def open(self, mesh: TunnelMesh, address: Address) -> "UdpUser":
        self.socket = await mesh.network.dial_datagrams(address, lambda data, _: self._answers.put_nowait(data))
        return self

    def send(self, data: bytes) -> None:
        assert self.socket is not None
        self.socket.send(data)

    async def ask(self, data: bytes) -> bytes:
        self.send(data)
        return await self._answers.get()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()


async def post(app: TunnelApp, path: str, body: dict[str, Any]) -> dict[str, Any]:
    status, _, answer = await ask(app.user_api, "POST", path, json.dumps(body).encode())
    assert status == 201, answer
    shown: dict[str, Any] = json.loads(answer)
    return shown


async def get(app: TunnelApp, path: str) -> dict[str, Any]:
    status, _, answer = await ask(app.user_api, "GET", path)
    assert status == 200, answer
    shown: dict[str, Any] = json.loads(answer)
    return shown


async def outbound(app: TunnelApp, ep: str, target: Address) -> None:
    body = {"targets": [{"host": target.host, "port": target.port}]}
    await post(app, f"/api/endpoints/{ep}/outbound/udp/dns", body)


async def inbound(app: TunnelApp, ep: str) -> Address:
    port = free_port(socket.SOCK_DGRAM)
    shown = await post(app, f"/api/endpoints/{ep}/inbound/udp/dns", {"listens": [{"ip": LOOPBACK, "port": port}]})
    assert shown["listens"][0]["open"]
    return Address(LOOPBACK, port)


@pytest.fixture
async def echo(mesh: TunnelMesh) -> AsyncIterator[Address]:
    target = UdpEcho()
    yield await target.open(mesh)
    target.close()


async def test_datagrams_of_every_size_come_back_whole(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    user = await UdpUser().open(mesh, await inbound(a, A))
    for size in (1, 125, 126, 1400, 16384, 20000, MAX_PAYLOAD):
        data = bytes([size % 251]) * size
        assert await user.ask(data) == data
    assert len(mesh.asked) == 1
    shown = await get(b, f"/api/endpoints/{B}/outbound/udp/dns")
    assert shown["traffic"]["open"] == 1
    assert shown["traffic"]["sent"] == shown["traffic"]["received"] > MAX_PAYLOAD
    user.close()


async def test_each_client_gets_its_own_answers(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    address = await inbound(a, A)
    users = [await UdpUser().open(mesh, address) for _ in range(3)]
    for turn in range(3):
        for number, user in enumerate(users):
            assert await user.ask(b"%d.%d" % (number, turn)) == b"%d.%d" % (number, turn)
    assert len(mesh.asked) == 3
    for user in users:
        user.close()


async def test_an_empty_frame_and_the_first_datagram_leave_before_any_answer(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)

    async def have_first_frames(exchange: Exchange) -> None:
        got = b""
        while not got.endswith(b"hello"):
            got += await exchange.read()
        assert got.startswith(b"CONNECT /api/outbound/udp/dns HTTP/1.1\r\n")
        assert got.endswith(b"\r\n\r\n\x81\x00\x82\x05hello")
        exchange.unread(got)

    mesh.before_answer = have_first_frames
    user = await UdpUser().open(mesh, await inbound(a, A))
    assert await user.ask(b"hello") == b"hello"
    user.close()


async def test_the_next_exit_gets_the_first_datagram_when_one_refuses(mesh: TunnelMesh, echo: Address) -> None:
    a, b, c = await mesh.join("a"), await mesh.join("b"), await mesh.join("c")
    await outbound(b, B, echo)
    await outbound(c, C, echo)
    mesh.refusing[B] = 503
    user = await UdpUser().open(mesh, await inbound(a, A))
    assert await user.ask(b"hello") == b"hello"
    assert mesh.asked == [B, C]
    user.close()


async def test_the_own_endpoint_is_an_exit_without_a_stream(mesh: TunnelMesh, echo: Address) -> None:
    a = await mesh.join("a")
    await outbound(a, A, echo)
    user = await UdpUser().open(mesh, await inbound(a, A))
    for data in (b"one", b"two"):
        assert await user.ask(data) == data
    assert mesh.asked == []
    user.close()


async def test_a_silent_session_ends_at_both_ends_and_the_next_datagram_begins_another(
    mesh: TunnelMesh, echo: Address
) -> None:
    limits = StreamLimits(idle_seconds=0.05)
    a, b = await mesh.join("a", factory=limited(limits)), await mesh.join("b")
    await outbound(b, B, echo)
    exchanges: list[Exchange] = []

    async def note(exchange: Exchange) -> None:
        exchanges.append(exchange)

    mesh.before_answer = note
    user = await UdpUser().open(mesh, await inbound(a, A))
    assert await user.ask(b"one") == b"one"
    await exchanges[0].ended()
    assert (await get(b, f"/api/endpoints/{B}/outbound/udp/dns"))["traffic"]["open"] == 0
    assert await user.ask(b"two") == b"two"
    assert len(mesh.asked) == 2
    user.close()


async def test_an_exit_ends_a_silent_session_by_itself(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", factory=limited(StreamLimits(idle_seconds=0.05)))
    await outbound(b, B, echo)
    exchanges: list[Exchange] = []

    async def note(exchange: Exchange) -> None:
        exchanges.append(exchange)

    mesh.before_answer = note
    user = await UdpUser().open(mesh, await inbound(a, A))
    assert await user.ask(b"one") == b"one"
    await exchanges[0].ended()
    assert await user.ask(b"two") == b"two"
    user.close()


async def test_one_client_too_many_evicts_the_one_silent_longest(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a", factory=limited(StreamLimits(sessions=2))), await mesh.join("b")
    await outbound(b, B, echo)
    exchanges: list[Exchange] = []

    async def note(exchange: Exchange) -> None:
        exchanges.append(exchange)

    mesh.before_answer = note
    address = await inbound(a, A)
    users = [await UdpUser().open(mesh, address) for _ in range(3)]
    for user in (users[0], users[1], users[0], users[2]):
        assert await user.ask(b"x") == b"x"
    await exchanges[1].ended()
    assert [one.is_over for one in exchanges] == [False, True, False]
    assert (await get(a, f"/api/endpoints/{A}/inbound/udp/dns"))["traffic"]["open"] == 2
    for user in users:
        user.close()


async def test_closing_an_inbound_ends_its_sessions(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    exchanges: list[Exchange] = []

    async def note(exchange: Exchange) -> None:
        exchanges.append(exchange)

    mesh.before_answer = note
    user = await UdpUser().open(mesh, await inbound(a, A))
    assert await user.ask(b"x") == b"x"
    status, _, _ = await ask(a.user_api, "DELETE", f"/api/endpoints/{A}/inbound/udp/dns")
    assert status == 204
    await exchanges[0].ended()
    user.close()


async def test_what_a_stream_does_not_take_is_dropped_beyond_a_bound(mesh: TunnelMesh) -> None:
    sent: list[bytes] = []
    relay = Relay(sent.append, mesh.network.now, StreamLimits(queued_datagrams=3, queued_bytes=10))
    assert [relay.offer(data) for data in (b"1234", b"", b"5678", b"too much", b"9", b"0")] == [
        True, False, True, False, True, False,
    ]  # fmt: skip
    assert await relay.take() == [b"1234", b"5678", b"9"]
    assert relay.offer(b"0")
    assert await relay.read() == b"\x82\x010"
