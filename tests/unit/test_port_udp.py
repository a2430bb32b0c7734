"""What a UDP port promises, on real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest
from app_mesh import LOOPBACK, OWN_IDS, ask, free_port
from port_mesh import PortMesh, configure, limited, port, ports

from ztm.apps.streams.limits import StreamLimits
from ztm.model import Address
from ztm.net.base import Datagrams, Exchange
from ztm.wire.datagram import MAX_PAYLOAD

A, B, C = OWN_IDS[:3]


class UdpUser:
    """A program that sends to a port and waits for answers."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._socket: Datagrams | None = None

    async def open(self, mesh: PortMesh, address: Address) -> "UdpUser":
        self._socket = await mesh.network.dial_datagrams(address, lambda data, _: self._answers.put_nowait(data))
        return self

    def send(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.send(data)

    async def ask(self, data: bytes) -> bytes:
        self.send(data)
        return await self._answers.get()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


@pytest.fixture
async def mesh() -> AsyncIterator[PortMesh]:
    made = PortMesh()
    yield made
    await made.close()


@pytest.fixture
async def echo(mesh: PortMesh) -> AsyncIterator[Address]:
    """A target that sends everything back."""
    opened: list[Datagrams] = []

    def received(data: bytes, sender: Address) -> None:
        opened[0].send(data, sender)

    where = Address(LOOPBACK, free_port(socket.SOCK_DGRAM))
    opened.append(await mesh.network.listen_datagrams(where, received))
    yield where
    opened[0].close()


def streams(mesh: PortMesh) -> list[Exchange]:
    """The streams that were opened from now on, as their exits see them."""
    exchanges: list[Exchange] = []

    async def note(exchange: Exchange) -> None:
        exchanges.append(exchange)

    mesh.before_answer = note
    return exchanges


async def test_datagrams_of_every_size_come_back_whole_on_one_stream(mesh: PortMesh, echo: Address) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b")
    entry, address = port(B, echo, "udp")
    await configure(a, A, [entry])
    user = await UdpUser().open(mesh, address)
    for size in (1, 125, 126, 16384, 20000, MAX_PAYLOAD):
        data = bytes([size % 251]) * size
        assert await user.ask(data) == data
    assert len(mesh.asked) == 1
    shown = (await ports(a, A))[0]["traffic"]
    assert shown["sent"] == shown["received"] > MAX_PAYLOAD
    user.close()


async def test_the_first_datagram_leaves_without_an_empty_frame_before_it(mesh: PortMesh, echo: Address) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b")

    async def have_first_frame(exchange: Exchange) -> None:
        got = b""
        while not got.endswith(b"hello"):
            got += await exchange.read()
        assert got.endswith(b"\r\n\r\n\x82\x05hello")
        exchange.unread(got)

    mesh.before_answer = have_first_frame
    entry, address = port(B, echo, "udp")
    await configure(a, A, [entry])
    user = await UdpUser().open(mesh, address)
    assert await user.ask(b"hello") == b"hello"
    user.close()


async def test_the_own_endpoint_is_an_exit_without_a_stream(mesh: PortMesh, echo: Address) -> None:
    a = await mesh.join("a")
    entry, address = port(A, echo, "udp")
    await configure(a, A, [entry])
    user = await UdpUser().open(mesh, address)
    for data in (b"one", b"two"):
        assert await user.ask(data) == data
    assert mesh.asked == []
    user.close()


@pytest.mark.parametrize("quick", ["entry", "exit"])
async def test_a_silent_session_ends_at_both_ends_and_the_next_datagram_begins_another(
    mesh: PortMesh, echo: Address, quick: str
) -> None:
    limits = limited(StreamLimits(idle_seconds=0.05))
    a = await mesh.join("a", factory=limits if quick == "entry" else None)
    await mesh.join("b", factory=limits if quick == "exit" else None)
    exchanges = streams(mesh)
    entry, address = port(B, echo, "udp")
    await configure(a, A, [entry])
    user = await UdpUser().open(mesh, address)
    assert await user.ask(b"one") == b"one"
    await exchanges[0].ended()
    assert await user.ask(b"two") == b"two"
    assert len(mesh.asked) == 2
    user.close()


async def test_the_idle_time_of_a_port_is_its_own_and_is_kept(mesh: PortMesh, echo: Address) -> None:
    a, _ = await mesh.join("a", factory=limited(StreamLimits(idle_seconds=0.01))), await mesh.join("b")
    entry, address = port(B, echo, "udp", idleTimeout=77)
    assert (await configure(a, A, [entry]))[0]["idleTimeout"] == 77
    assert json.loads(mesh.context("a").disk.local["config.json"])["ports"][0]["idleTimeout"] == 77
    a = await mesh.restart("a", factory=limited(StreamLimits(idle_seconds=0.01)))
    user = await UdpUser().open(mesh, address)
    assert await user.ask(b"one") == b"one"
    pause = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, pause.set)  # longer than the usual time here
    await pause.wait()
    assert await user.ask(b"two") == b"two"
    assert len(mesh.asked) == 1
    user.close()


async def test_ten_senders_that_fall_silent_leave_nothing_open(mesh: PortMesh, echo: Address) -> None:
    a, b = await mesh.join("a", factory=limited(StreamLimits(idle_seconds=0.05))), await mesh.join("b")
    exchanges = streams(mesh)
    entry, address = port(B, echo, "udp")
    await configure(a, A, [entry])
    users = [await UdpUser().open(mesh, address) for _ in range(10)]
    for user in users:
        assert await user.ask(b"x") == b"x"
    await asyncio.gather(*(one.ended() for one in exchanges))
    while a.figures()["entry_open"] or b.figures()["exit_open"]:
        await asyncio.sleep(0)  # the books are closed right after the streams
    assert (await ports(a, A))[0]["traffic"]["total"] == 10
    for user in users:
        user.close()


async def test_a_denied_sender_is_told_of_at_both_ends(mesh: PortMesh, echo: Address) -> None:
    a = await mesh.join("a", factory=limited(StreamLimits(refused_seconds=0.0)))
    b = await mesh.join("b", user="bob")
    entry, address = port(B, echo, "udp")
    await configure(a, A, [entry])
    tcp_only = {"protocol": "tcp", "address": LOOPBACK, "users": ["alice"]}
    await configure(b, B, acl=[tcp_only])
    user = await UdpUser().open(mesh, address)
    asking = asyncio.create_task(user.ask(b"x"))
    while not (trails := mesh.context("a").trail.trails):
        await asyncio.sleep(0)
    assert not trails[0].is_allowed
    assert not mesh.context("b").trail.trails[0].is_allowed
    asking.cancel()
    await configure(b, B, acl=[{**tcp_only, "protocol": "udp"}])
    assert await user.ask(b"y") == b"y"
    user.close()


async def test_a_denied_sender_that_goes_on_asks_nobody_for_a_moment(mesh: PortMesh, echo: Address) -> None:
    a = await mesh.join("a", factory=limited(StreamLimits(refused_seconds=3600.0)))
    await mesh.join("b", user="bob")
    entry, address = port(B, echo, "udp")
    await configure(a, A, [entry])
    denied, other = [await UdpUser().open(mesh, address) for _ in range(2)]
    trails = mesh.context("a").trail.trails
    for number, sender in enumerate((denied, other), 1):
        for _ in range(3):
            sender.send(b"x")
            while len(trails) < number:
                await asyncio.sleep(0)
    assert len(mesh.asked) == len(trails) == 2
    denied.close()
    other.close()


async def test_a_drain_waits_for_no_udp_session(mesh: PortMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    exchanges = streams(mesh)
    entry, address = port(B, echo, "udp")
    await configure(a, A, [entry])
    user = await UdpUser().open(mesh, address)
    assert await user.ask(b"x") == b"x"
    await b.drain()
    await exchanges[0].ended()
    await a.drain()
    status, _, _ = await ask(a.user_api, "GET", f"/api/endpoints/{A}/ports")
    assert status == 200
    user.close()
