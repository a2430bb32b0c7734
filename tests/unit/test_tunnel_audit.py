"""What tunnels and forwarded streams leave in the audit log: one line for each session, at both ends."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from app_mesh import LOOPBACK, OWN_IDS, Echo, ask, free_port, read_all, read_exactly
from tunnel_mesh import TunnelMesh, limited

from ztm.apps.audit import Trail
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.tunnel.api import TunnelApp
from ztm.errors import BrokenStreamError
from ztm.model import Address, Peer
from ztm.net.asgi import Upgrade
from ztm.net.base import Stream

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


async def post(app: TunnelApp, path: str, body: dict[str, Any]) -> None:
    status, _, answer = await ask(app.user_api, "POST", path, json.dumps(body).encode())
    assert status == 201, answer


async def outbound(app: TunnelApp, ep: str, target: Address, protocol: str = "tcp", **more: Any) -> None:
    body = {"targets": [{"host": target.host, "port": target.port}], **more}
    await post(app, f"/api/endpoints/{ep}/outbound/{protocol}/web", body)


async def inbound(app: TunnelApp, ep: str, protocol: str = "tcp", **more: Any) -> Address:
    port = free_port(socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    await post(
        app, f"/api/endpoints/{ep}/inbound/{protocol}/web", {"listens": [{"ip": LOOPBACK, "port": port}], **more}
    )
    return Address(LOOPBACK, port)


async def line(mesh: TunnelMesh, name: str, number: int = 0) -> Trail:
    """What an endpoint wrote, once it has."""
    trails = mesh.context(name).trail.trails
    while len(trails) <= number:
        await asyncio.sleep(0)
    return trails[number]


async def hello(mesh: TunnelMesh, address: Address) -> bytes:
    client = await mesh.network.dial(address)
    try:
        await client.write(b"hello")
        client.end()
        return await read_all(client)
    except BrokenStreamError:
        return b""
    finally:
        client.abort()


async def test_a_connection_is_one_line_at_each_end(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    await outbound(b, B, echo, users=["alice"])
    client = await mesh.network.dial(await inbound(a, A, fromUsers=["bob"]))
    await client.write(b"hello")
    client.end()
    assert await read_all(client) == b"hello<end>"
    entry, exit_ = await line(mesh, "a"), await line(mesh, "b")
    local = client.local
    assert local is not None
    assert (entry.side, entry.action, entry.subject, entry.target) == ("entry", "connect", "inbound tcp/web", B)
    assert entry.peer == Peer("alice", A, local.host, local.port)
    assert (exit_.side, exit_.action, exit_.subject, exit_.target) == ("exit", "connect", "outbound tcp/web", str(echo))
    assert exit_.peer == Peer("alice", A, LOOPBACK, 1)
    assert (exit_.is_allowed, exit_.rule) == (True, "user alice")
    for one in (entry, exit_):
        assert (one.meter.sent, one.meter.received, one.reason, one.is_allowed) == (5, 10, "ended", True)
    assert [len(mesh.context(name).trail.trails) for name in "ab"] == [1, 1]


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({"users": ["carol"]}, "only bob, carol"),
        ({"users": [], "entrances": [C]}, "only the entrances that are named"),
    ],
)
async def test_a_refusal_is_a_line_that_says_by_which_rule(
    mesh: TunnelMesh, echo: Address, rules: dict[str, Any], rule: str
) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    await outbound(b, B, echo, **rules)
    assert await hello(mesh, await inbound(a, A, fromUsers=["bob"])) == b""
    entry, exit_ = await line(mesh, "a"), await line(mesh, "b")
    assert (exit_.is_allowed, exit_.rule, exit_.target) == (False, rule, "")
    assert "may not use it" in exit_.reason
    assert (entry.is_allowed, entry.target) == (False, B)
    assert "may not use it" in entry.reason


async def test_a_target_that_refuses_is_the_reason_and_no_denial(mesh: TunnelMesh) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, Address(LOOPBACK, free_port()))
    assert await hello(mesh, await inbound(a, A)) == b""
    for name in "ab":
        trail = await line(mesh, name)
        assert trail.is_allowed
        assert "connection refused" in trail.reason


async def test_the_entry_names_the_exit_that_took_the_client(mesh: TunnelMesh, echo: Address) -> None:
    a, b, c = await mesh.join("a"), await mesh.join("b"), await mesh.join("c")
    await outbound(b, B, Address(LOOPBACK, free_port()))
    await outbound(c, C, echo)
    assert await hello(mesh, await inbound(a, A)) == b"hello<end>"
    assert (await line(mesh, "a")).target == C
    assert [len(mesh.context(name).trail.trails) for name in "ac"] == [1, 1]


async def test_both_ends_on_one_endpoint_are_two_lines(mesh: TunnelMesh, echo: Address) -> None:
    a = await mesh.join("a")
    await outbound(a, A, echo)
    assert await hello(mesh, await inbound(a, A)) == b"hello<end>"
    exit_, entry = await line(mesh, "a"), await line(mesh, "a", 1)
    assert [exit_.side, entry.side] == ["exit", "entry"]
    assert (exit_.rule, exit_.peer.endpoint) == ("owner", A)


async def test_a_stream_that_is_cut_says_why(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    client = await mesh.network.dial(await inbound(a, A))
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    await ask(b.user_api, "DELETE", f"/api/endpoints/{B}/outbound/tcp/web")
    assert "the outbound was closed" in (await line(mesh, "b")).reason
    assert (await line(mesh, "a")).reason != "ended"
    client.abort()


async def test_a_udp_session_is_one_line_that_says_that_it_fell_silent(mesh: TunnelMesh) -> None:
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    quick = limited(StreamLimits(idle_seconds=0.05))
    a, b = await mesh.join("a", factory=quick), await mesh.join("b")
    where = Address(LOOPBACK, free_port(socket.SOCK_DGRAM))
    server = await mesh.network.listen_datagrams(where, lambda data, sender: server.send(data * 2, sender))
    await outbound(b, B, where, "udp")
    client = await mesh.network.dial_datagrams(
        await inbound(a, A, "udp"), lambda data, _sender: answers.put_nowait(data)
    )
    client.send(b"ab")
    assert await answers.get() == b"abab"
    entry, exit_ = await line(mesh, "a"), await line(mesh, "b")
    assert (entry.reason, entry.peer.port) == ("idle", client.address.port)
    assert (exit_.target, exit_.rule) == (str(where), "owner")
    assert [(one.meter.sent, one.meter.received) for one in (entry, exit_)] == [(2, 4)] * 2
    client.close()
    server.close()


class Caller:
    """A local caller of `ztm forward`: one socket to an endpoint's own HTTP, as the agent's port hands it over."""

    def __init__(self, mesh: TunnelMesh, app: TunnelApp) -> None:
        self._mesh = mesh
        self._app = app
        self.answers: list[tuple[int, dict[str, str], bytes]] = []

    async def call(self, path: str) -> Stream:
        async def accept(stream: Stream) -> None:
            upgrade = Upgrade(stream, lambda _headers: stream.write_now(b"+"))
            self.answers.append(await self._finish(path, upgrade))

        self._listener = await self._mesh.network.listen(Address(LOOPBACK, free_port()), accept)
        return await self._mesh.network.dial(self._listener.address)

    async def _finish(self, path: str, upgrade: Upgrade) -> tuple[int, dict[str, str], bytes]:
        try:
            return await ask(self._app.user_api, "CONNECT", path, upgrade=upgrade)
        except KeyError:  # it was accepted, and there is no other answer
            return 200, {}, b""

    async def close(self) -> None:
        await self._listener.close()


async def test_a_forwarded_stream_is_one_line_at_each_end(mesh: TunnelMesh, echo: Address) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b")
    caller = Caller(mesh, a)
    client = await caller.call(f"/api/endpoints/{B}/forward/tcp/{LOOPBACK}%3A{echo.port}")
    await client.write(b"hello")
    client.end()
    assert await read_all(client) == b"+hello<end>"
    entry, exit_ = await line(mesh, "a"), await line(mesh, "b")
    assert (entry.side, entry.action, entry.subject, entry.target) == ("entry", "forward", f"tcp {echo}", B)
    assert client.local is not None
    assert entry.peer == Peer("alice", A, client.local.host, client.local.port)
    assert (exit_.side, exit_.action, exit_.target, exit_.rule) == ("exit", "forward", str(echo), "owner")
    assert exit_.meter.received == 10
    await caller.close()


async def test_forwarding_by_another_user_is_refused_and_is_a_line(mesh: TunnelMesh, echo: Address) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b", user="bob")
    caller = Caller(mesh, a)
    client = await caller.call(f"/api/endpoints/{B}/forward/tcp/{LOOPBACK}%3A{echo.port}")
    exit_ = await line(mesh, "b")
    assert (exit_.is_allowed, exit_.peer.user) == (False, "alice")
    entry = await line(mesh, "a")
    assert not entry.is_allowed
    while not caller.answers:
        await asyncio.sleep(0)
    status, headers, _ = caller.answers[0]
    assert status == 403
    assert "only bob" in headers["ztm-error"]
    client.abort()
    await caller.close()
