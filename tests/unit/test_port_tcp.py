"""What a TCP port promises its clients, and the access list its owner, on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from app_mesh import LOOPBACK, OWN_IDS, Echo, ask, free_port, read_all, read_exactly
from port_mesh import PortMesh, configure, is_reset, limited, port, ports

from ztm.apps.streams.limits import StreamLimits
from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.base import Exchange, Stream

A, B, C = OWN_IDS[:3]


@pytest.fixture
async def mesh() -> AsyncIterator[PortMesh]:
    made = PortMesh()
    yield made
    await made.close()


@pytest.fixture
async def echo(mesh: PortMesh) -> AsyncIterator[Address]:
    target = Echo(mesh.network)
    yield await target.open()
    await target.close()


def acl(address: str, *users: str, **more: Any) -> dict[str, Any]:
    return {"protocol": "tcp", "address": address, "users": list(users), **more}


async def said_after(mesh: PortMesh, address: Address, data: bytes = b"x") -> bytes:
    """What a client hears that says something; nothing if it is cut off."""
    client = await mesh.network.dial(address)
    with suppress(BrokenStreamError):  # it is cut off already
        await client.write(data)
    heard = b"" if await is_cut_off(client) else await read_exactly(client, len(data))
    client.abort()
    return heard


async def is_cut_off(client: Stream) -> bool:
    try:
        data = await client.read()
    except BrokenStreamError:
        return True
    client.unread(data)
    return False


async def test_bytes_go_through_and_half_close_passes(mesh: PortMesh, echo: Address) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b")
    entry, address = port(B, echo)
    assert (await configure(a, A, [entry]))[0]["open"]
    client = await mesh.network.dial(address)
    await client.write(b"hello")
    client.end()
    assert await read_all(client) == b"hello<end>"
    assert mesh.asked == [B]


async def test_the_request_is_v1s_and_the_first_bytes_leave_with_it(mesh: PortMesh, echo: Address) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b")
    seen: list[bytes] = []

    async def have_first_bytes(exchange: Exchange) -> None:
        got = b""
        while not got.endswith(b"hello"):
            got += await exchange.read()
        seen.append(got)
        exchange.unread(got)

    mesh.before_answer = have_first_bytes
    entry, address = port(B, echo)
    await configure(a, A, [entry])
    assert await said_after(mesh, address, b"hello") == b"hello"
    target = f"{LOOPBACK}%3A{echo.port}".encode()
    assert seen == [b"CONNECT /api/targets/tcp/%b HTTP/1.1\r\nconnection: keep-alive\r\n\r\nhello" % target]


async def test_the_own_endpoint_dials_without_a_stream(mesh: PortMesh, echo: Address) -> None:
    a = await mesh.join("a")
    entry, address = port(A, echo)
    await configure(a, A, [entry])
    assert await said_after(mesh, address) == b"x"
    assert mesh.asked == []


async def test_other_users_reach_nothing_until_an_entry_lets_them(mesh: PortMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    entry, address = port(B, echo)
    await configure(a, A, [entry])
    assert await said_after(mesh, address) == b""
    assert "no acl entry allows it" in (await ports(a, A))[0]["lastError"]["message"]
    await configure(b, B, acl=[acl(LOOPBACK, "alice", port=echo.port)])
    assert await said_after(mesh, address) == b"x"
    await configure(b, B, acl=[acl(LOOPBACK, "alice", port=echo.port + 1 if echo.port < 65535 else 1)])
    assert await said_after(mesh, address) == b""
    await configure(b, B, acl=[acl(LOOPBACK, "carol"), acl("10.0.0.0/8", "alice")])
    assert await said_after(mesh, address) == b""
    await configure(b, B, acl=[acl("127.0.0.0/8", "*")])
    assert await said_after(mesh, address) == b"x"


async def test_what_the_list_no_longer_allows_is_cut(mesh: PortMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    entry, address = port(B, echo)
    await configure(a, A, [entry])
    await configure(b, B, acl=[acl(LOOPBACK, "alice"), acl("127.0.0.0/8", "alice")])
    client = await mesh.network.dial(address)
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    await configure(b, B, acl=[acl("127.0.0.0/8", "alice")])
    await client.write(b"y")
    assert await read_exactly(client, 1) == b"y"
    await configure(b, B)
    assert await is_reset(client)


async def test_the_owner_reaches_everything_but_where_an_entry_holds_him(mesh: PortMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    entry, address = port(B, echo)
    await configure(a, A, [entry])
    assert await said_after(mesh, address) == b"x"
    all_of_it = acl("0.0.0.0/0", ownerToo=True)
    await configure(b, B, acl=[all_of_it])
    assert await said_after(mesh, address) == b""
    assert "holds the owner" in (await ports(a, A))[0]["lastError"]["message"]
    await configure(b, B, acl=[all_of_it, acl(LOOPBACK, "alice")])
    assert await said_after(mesh, address) == b"x"


async def test_a_name_is_judged_by_what_it_leads_to_and_that_is_dialled(
    mesh: PortMesh, echo: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    entry, address = port(B, Address("db.corp", echo.port))
    await configure(a, A, [entry])
    asked: list[str] = []
    leads_to = [[LOOPBACK], ["10.9.9.9"]]

    async def resolve(host: str, **_: float) -> list[str]:
        asked.append(host)
        return leads_to.pop(0)

    monkeypatch.setattr(mesh.network, "resolve", resolve)
    await configure(b, B, acl=[acl("127.0.0.0/8", "alice")])
    assert await said_after(mesh, address) == b"x"
    assert asked == ["db.corp"]
    assert mesh.context("b").trail.begun[-1].target == str(echo)
    assert await said_after(mesh, address) == b""  # the same name leads elsewhere now: not a second time to 127.0.0.1
    assert asked == ["db.corp"] * 2


async def test_only_addresses_that_are_allowed_are_dialled(
    mesh: PortMesh, echo: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    entry, address = port(B, Address("db.corp", echo.port))
    await configure(a, A, [entry])
    dialled: list[str] = []
    dial = mesh.network.dial

    async def watched(address: Address, *more: Any, **named: Any) -> Any:
        dialled.extend([address.host] if address.port == echo.port else [])
        return await dial(address, *more, **named)

    async def resolve(host: str, **_: float) -> list[str]:
        return ["127.0.0.9", LOOPBACK]

    monkeypatch.setattr(mesh.network, "resolve", resolve)
    await configure(b, B, acl=[acl(LOOPBACK, "alice")])
    monkeypatch.setattr(mesh.network, "dial", watched)
    client = await mesh.network.dial(address)
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    assert dialled == [LOOPBACK]
    client.abort()


async def test_names_are_not_resolved_for_whom_no_entry_names(mesh: PortMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    entry, address = port(B, Address("db.corp", 1))
    await configure(a, A, [entry])
    await configure(b, B, acl=[acl("127.0.0.0/8", "carol")])

    async def resolve(host: str, **_: float) -> list[str]:
        raise AssertionError(host)

    monkeypatch.setattr(mesh.network, "resolve", resolve)
    assert await said_after(mesh, address) == b""
    assert "no acl entry" in (await ports(a, A))[0]["lastError"]["message"]


async def test_a_target_that_refuses_resets_the_client_and_the_entry_says_why(mesh: PortMesh) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b")
    entry, address = port(B, Address(LOOPBACK, free_port()))
    await configure(a, A, [entry])
    client = await mesh.network.dial(address)
    assert await is_reset(client)
    message = (await ports(a, A))[0]["lastError"]["message"]
    assert B in message
    assert "connection refused" in message


async def test_a_busy_port_is_listed_with_its_error_poisons_nothing_and_is_taken_once_free(
    mesh: PortMesh, echo: Address
) -> None:
    a = await mesh.join("a", factory=limited(StreamLimits(retry_seconds=0.01)))
    (entry, address), (more, other) = port(A, echo), port(A, echo)
    rival = await mesh.network.listen(address, lambda stream: stream.ended())
    shown = await configure(a, A, [entry])
    assert not shown[0]["open"]
    assert "in use" in shown[0]["error"]
    shown = await configure(a, A, [entry, more])  # nothing else is poisoned by it
    assert [one["open"] for one in shown] == [False, True]
    assert await said_after(mesh, other) == b"x"
    mesh.network.opened.clear()
    await rival.close()
    await mesh.network.opened.wait()
    assert await said_after(mesh, address) == b"x"
    assert await configure(a, A, []) == []


async def test_a_port_that_is_not_open_can_be_deleted(mesh: PortMesh, echo: Address) -> None:
    a = await mesh.join("a")
    entry, address = port(A, echo)
    rival = await mesh.network.listen(address, lambda stream: stream.ended())
    await configure(a, A, [entry])
    assert await configure(a, A, []) == []
    await rival.close()


async def test_deleting_a_port_frees_it_and_cuts_its_clients_and_no_others(mesh: PortMesh, echo: Address) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b")
    (one, first), (two, second) = port(B, echo), port(B, echo)
    await configure(a, A, [one, two])
    clients = [await mesh.network.dial(address) for address in (first, second)]
    for client in clients:
        await client.write(b"x")
        assert await read_exactly(client, 1) == b"x"
    await configure(a, A, [two])
    assert await is_reset(clients[0])
    await clients[1].write(b"y")
    assert await read_exactly(clients[1], 1) == b"y"
    again = await mesh.network.listen(first, lambda stream: stream.ended())
    await again.close()
    clients[1].abort()


async def test_a_port_can_be_led_elsewhere_while_its_connections_go_on(mesh: PortMesh) -> None:
    a, _ = await mesh.join("a"), await mesh.join("b")
    targets = Echo(mesh.network, mark=b"1"), Echo(mesh.network, mark=b"2")
    first, second = [await one.open() for one in targets]
    entry, address = port(B, first)
    await configure(a, A, [entry])
    client = await mesh.network.dial(address)
    await client.write(b"x")
    assert await read_exactly(client, 2) == b"1x"
    await configure(a, A, [{**entry, "target": str(second)}])
    await client.write(b"y")
    assert await read_exactly(client, 2) == b"1y"
    other = await mesh.network.dial(address)
    await other.write(b"z")
    assert await read_exactly(other, 2) == b"2z"
    for stream in (client, other):
        stream.abort()
    for target in targets:
        await target.close()


async def test_what_was_configured_works_again_after_a_restart(mesh: PortMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    entry, address = port(B, echo)
    await configure(a, A, [entry])
    await configure(b, B, acl=[acl(LOOPBACK, "alice")])
    await mesh.restart("b")
    await mesh.restart("a")
    assert await said_after(mesh, address) == b"x"


async def test_a_port_that_is_busy_at_the_start_is_taken_once_free(mesh: PortMesh, echo: Address) -> None:
    a = await mesh.join("a")
    entry, address = port(A, echo)
    await configure(a, A, [entry])
    await a.stop()
    rival = await mesh.network.listen(address, lambda stream: stream.ended())
    a = await mesh.restart("a", factory=limited(StreamLimits(retry_seconds=0.01)))
    assert not (await ports(a, A))[0]["open"]
    mesh.network.opened.clear()
    await rival.close()
    await mesh.network.opened.wait()
    assert await said_after(mesh, address) == b"x"


async def test_a_change_that_cannot_be_saved_changes_nothing(mesh: PortMesh, echo: Address) -> None:
    a = await mesh.join("a")
    (entry, address), (more, other) = port(A, echo), port(A, echo)
    await configure(a, A, [entry])
    mesh.context("a").disk.is_full = True
    body = json.dumps({"ports": [more], "acl": []}).encode()
    status, _, _ = await ask(a.user_api, "POST", f"/api/endpoints/{A}/config", body)
    assert status == 507
    assert await said_after(mesh, address) == b"x"
    again = await mesh.network.listen(other, lambda stream: stream.ended())
    await again.close()


async def test_each_connection_leaves_one_line_at_both_ends(mesh: PortMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    entry, address = port(B, echo)
    await configure(a, A, [entry])
    await configure(b, B, acl=[acl("127.0.0.0/8", "alice")])
    assert await said_after(mesh, address) == b"x"
    await _ended(mesh, "b", 1)
    await _ended(mesh, "a", 1)
    (at_entry,), (at_exit,) = mesh.context("a").trail.trails, mesh.context("b").trail.trails
    assert (at_entry.side, at_entry.target, at_entry.subject) == ("entry", B, f"port tcp/{address}")
    assert (at_entry.peer.user, at_entry.peer.ip, at_entry.is_allowed) == ("alice", LOOPBACK, True)
    assert (at_exit.side, at_exit.target, at_exit.subject) == ("exit", str(echo), f"tcp {echo}")
    assert (at_exit.peer.user, at_exit.peer.endpoint, at_exit.is_allowed) == ("alice", A, True)
    assert at_exit.rule == "acl tcp/127.0.0.0/8: user alice"
    assert [(one.meter.sent, one.meter.received) for one in (at_entry, at_exit)] == [(1, 1)] * 2
    await configure(b, B)
    assert await said_after(mesh, address) == b""
    await _ended(mesh, "b", 2)
    refused = mesh.context("b").trail.trails[-1]
    assert (refused.is_allowed, refused.rule) == (False, "no acl entry allows it")
    assert not mesh.context("a").trail.trails[-1].is_allowed


async def _ended(mesh: PortMesh, name: str, count: int) -> None:
    trail = mesh.context(name).trail
    while len(trail.trails) < count:
        await asyncio.sleep(0)


async def test_a_drain_frees_ports_and_waits_for_connections(mesh: PortMesh, echo: Address) -> None:
    a = await mesh.join("a")
    entry, address = port(A, echo)
    await configure(a, A, [entry])
    client = await mesh.network.dial(address)
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    draining = asyncio.create_task(a.drain())
    await client.write(b"y")
    assert await read_exactly(client, 1) == b"y"
    assert not draining.done()
    again = await mesh.network.listen(address, lambda stream: stream.ended())
    client.end()
    assert await read_all(client) == b"<end>"
    await draining
    await again.close()
