"""What a tunnel's ends tell of themselves, how long UDP may be silent, and how they end."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from app_mesh import LOOPBACK, OWN_IDS, Echo, ask, free_port, read_all, read_exactly
from tunnel_mesh import TunnelMesh, limited

from ztm.apps.streams.limits import StreamLimits
from ztm.apps.tunnel.api import TunnelApp
from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.base import Datagrams, Exchange
from ztm.net.http1 import connect_answer, connect_head

A, B, C = OWN_IDS[:3]


@pytest.fixture
async def mesh() -> AsyncIterator[TunnelMesh]:
    made = TunnelMesh()
    yield made
    await made.close()


@pytest.fixture
async def echo(mesh: TunnelMesh) -> AsyncIterator[Address]:
    target = Echo(mesh.network)
    yield await target.open()
    await target.close()


async def asked(app: TunnelApp, method: str, path: str, body: object = None) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    status, _, answer = await ask(app.user_api, method, f"/api/endpoints/{path}", content)
    return status, json.loads(answer) if answer else None


async def outbound(app: TunnelApp, ep: str, *targets: Address, key: str = "tcp/web", **more: Any) -> Any:
    body = {"targets": [{"host": one.host, "port": one.port} for one in targets], **more}
    status, shown = await asked(app, "POST", f"{ep}/outbound/{key}", body)
    assert status == 201, shown
    return shown


async def inbound(app: TunnelApp, ep: str, key: str = "tcp/web", **more: Any) -> Address:
    port = free_port(socket.SOCK_STREAM if key.startswith("tcp") else socket.SOCK_DGRAM)
    status, shown = await asked(
        app, "POST", f"{ep}/inbound/{key}", {"listens": [{"ip": LOOPBACK, "port": port}], **more}
    )
    assert status == 201, shown
    return Address(LOOPBACK, port)


async def udp_echo(mesh: TunnelMesh) -> Datagrams:
    """A target that sends everything back."""
    opened: list[Datagrams] = []

    def received(data: bytes, sender: Address) -> None:
        opened[0].send(data, sender)

    opened.append(await mesh.network.listen_datagrams(Address(LOOPBACK, free_port(socket.SOCK_DGRAM)), received))
    return opened[0]


async def one_connection(mesh: TunnelMesh, address: Address) -> bytes:
    client = await mesh.network.dial(address)
    try:
        await client.write(b"x")
        client.end()
        return await read_all(client)
    except BrokenStreamError:
        return b""
    finally:
        client.abort()


async def test_an_outbound_says_which_targets_are_healthy_and_which_are_held_off(
    mesh: TunnelMesh, echo: Address
) -> None:
    a = await mesh.join("a")
    dead = Address(LOOPBACK, free_port())
    assert "state" not in (await outbound(a, A, dead, echo))["targets"][0]
    assert await one_connection(mesh, await inbound(a, A)) == b"x<end>"
    _, shown = await asked(a, "GET", f"{A}/outbound/tcp/web")
    first, second = shown["targets"]
    assert first["state"] == "held off 10 s"
    assert "connection refused" in first["error"]
    assert second["state"] == "healthy"
    assert shown["owner"] == "alice"
    assert shown["users"] == ["alice"]


async def test_an_inbound_says_which_exits_are_healthy_and_which_are_held_off(mesh: TunnelMesh, echo: Address) -> None:
    a, b, c = await mesh.join("a"), await mesh.join("b"), await mesh.join("c")
    await outbound(b, B, Address(LOOPBACK, free_port()))
    await outbound(c, C, echo)
    address = await inbound(a, A)
    _, shown = await asked(a, "GET", f"{A}/inbound/tcp/web")
    assert shown["health"] == [{"id": B, "state": "untried"}, {"id": C, "state": "untried"}]
    assert await one_connection(mesh, address) == b"x<end>"
    _, shown = await asked(a, "GET", f"{A}/inbound/tcp/web")
    assert [one["state"] for one in shown["health"]] == ["held off 10 s", "healthy"]
    assert "connection refused" in shown["health"][0]["error"]


async def test_the_idle_time_of_a_udp_tunnel_is_stored_shown_and_sent_to_other_endpoints(mesh: TunnelMesh) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    target = Address(LOOPBACK, 9)
    assert (await outbound(a, B, target, key="udp/dns", idleTimeout=7))["idleTimeout"] == 7
    assert (await asked(b, "GET", f"{B}/outbound/udp/dns"))[1]["idleTimeout"] == 7
    await inbound(a, A, "udp/dns", idleTimeout=9)
    assert json.loads(mesh.context("a").disk.local["config.json"])["inbound"][0]["idleTimeout"] == 9
    a = await mesh.restart("a")
    assert (await asked(a, "GET", f"{A}/inbound/udp/dns"))[1]["idleTimeout"] == 9


@pytest.mark.parametrize(("key", "seconds"), [("tcp/web", 5), ("udp/dns", 0), ("udp/dns", 86401), ("udp/dns", "5")])
async def test_an_idle_time_that_makes_no_sense_is_refused(mesh: TunnelMesh, key: str, seconds: object) -> None:
    a = await mesh.join("a")
    body = {"targets": [{"host": LOOPBACK, "port": 9}], "idleTimeout": seconds}
    assert (await asked(a, "POST", f"{A}/outbound/{key}", body))[0] == 400


@pytest.mark.parametrize("end", ["inbound", "outbound"])
async def test_the_idle_time_of_either_end_is_what_counts_there(mesh: TunnelMesh, end: str) -> None:
    quick = limited(StreamLimits(idle_seconds=0.02))
    a = await mesh.join("a", factory=quick if end == "inbound" else None)
    b = await mesh.join("b", factory=quick if end == "outbound" else None)
    server = await udp_echo(mesh)
    await outbound(b, B, server.address, key="udp/dns", **({"idleTimeout": 60} if end == "outbound" else {}))
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    address = await inbound(a, A, "udp/dns", **({"idleTimeout": 60} if end == "inbound" else {}))
    await mesh.restart("a", factory=quick if end == "inbound" else None)
    client = await mesh.network.dial_datagrams(address, lambda data, _sender: answers.put_nowait(data))
    client.send(b"one")
    assert await answers.get() == b"one"
    pause = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, pause.set)  # longer than the usual time here
    await pause.wait()
    client.send(b"two")
    assert await answers.get() == b"two"
    assert len(mesh.asked) == 1
    client.close()
    server.close()


async def test_a_drain_waits_for_tcp_and_then_for_no_udp_session(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    exchanges: list[Exchange] = []

    async def note(exchange: Exchange) -> None:
        exchanges.append(exchange)

    mesh.before_answer = note
    server = await udp_echo(mesh)
    await outbound(b, B, server.address, key="udp/dns")
    await outbound(b, B, echo)
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    udp = await mesh.network.dial_datagrams(
        await inbound(a, A, "udp/dns"), lambda data, _sender: answers.put_nowait(data)
    )
    udp.send(b"one")
    assert await answers.get() == b"one"
    tcp = await mesh.network.dial(await inbound(a, A))
    await tcp.write(b"x")
    assert await read_exactly(tcp, 1) == b"x"
    draining = asyncio.create_task(b.drain())
    udp.send(b"two")
    assert await answers.get() == b"two"  # goes on as long as there is something to wait for
    assert not draining.done()
    tcp.end()
    assert await read_all(tcp) == b"<end>"
    await draining
    await exchanges[0].ended()
    udp.close()
    server.close()


@pytest.mark.parametrize(("users", "status"), [(["carol"], 403), (["alice"], 502), (None, 403)])
async def test_after_a_refused_connect_the_stream_is_ended_here(
    mesh: TunnelMesh, users: list[str] | None, status: int
) -> None:
    await mesh.join("a")
    b = await mesh.join("b", user="bob")
    await outbound(b, B, Address(LOOPBACK, free_port()), **({} if users is None else {"users": users}))
    stream = await mesh.context("a").connect(B)
    await stream.write(connect_head("/api/outbound/tcp/web"))
    await stream.response()
    assert (await connect_answer(stream))[0] == status
    while await stream.read():
        pass  # the body says why; then comes the end, though this side is still open
    stream.end()
    await stream.ended()


async def test_a_retry_of_a_busy_port_ends_with_the_drain(mesh: TunnelMesh) -> None:
    a = await mesh.join("a", factory=limited(StreamLimits(retry_seconds=0.01)))
    busy = Address(LOOPBACK, free_port())
    rival = await mesh.network.listen(busy, lambda stream: stream.ended())
    await asked(a, "POST", f"{A}/inbound/tcp/web", {"listens": [{"ip": busy.host, "port": busy.port}]})
    await a.drain()
    await rival.close()
    while mesh.context("a").tasks:
        await asyncio.sleep(0)
    again = await mesh.network.listen(busy, lambda stream: stream.ended())
    await again.close()
