"""What a TCP tunnel promises its clients, on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from app_mesh import LOOPBACK, OWN_IDS, Echo, ask, free_port, read_all, read_exactly
from tunnel_mesh import TunnelMesh, limited

from ztm.apps.streams.limits import StreamLimits
from ztm.apps.tunnel.api import TunnelApp
from ztm.errors import BrokenStreamError
from ztm.model import Address
from ztm.net.base import Exchange, Stream

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


async def outbound(app: TunnelApp, ep: str, *targets: Address, name: str = "web", **more: Any) -> dict[str, Any]:
    body = {"targets": [{"host": one.host, "port": one.port} for one in targets], **more}
    return await post(app, f"/api/endpoints/{ep}/outbound/tcp/{name}", body)


async def inbound(app: TunnelApp, ep: str, *, name: str = "web", **more: Any) -> Address:
    port = free_port()
    body = {"listens": [{"ip": LOOPBACK, "port": port}], **more}
    shown = await post(app, f"/api/endpoints/{ep}/inbound/tcp/{name}", body)
    assert shown["listens"] == [{"ip": LOOPBACK, "port": port, "open": True}]
    return Address(LOOPBACK, port)


async def is_reset(stream: Stream) -> bool:
    try:
        return bool(await stream.read()) and False
    except BrokenStreamError:
        return True


async def test_bytes_go_through_and_half_close_passes(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    client = await mesh.network.dial(await inbound(a, A))
    await client.write(b"hello")
    client.end()
    assert await read_all(client) == b"hello<end>"
    await client.ended()


async def test_the_first_bytes_arrive_before_anything_was_answered(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)

    async def have_first_bytes(exchange: Exchange) -> None:
        got = b""
        while not got.endswith(b"hello"):
            got += await exchange.read()
        exchange.unread(got)

    mesh.before_answer = have_first_bytes
    client = await mesh.network.dial(await inbound(a, A))
    await client.write(b"hello")
    assert await read_exactly(client, 5) == b"hello"
    client.abort()


async def test_a_target_that_speaks_first_is_heard(mesh: TunnelMesh) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    target = Echo(mesh.network, greeting=b"220 ready")
    await outbound(b, B, await target.open())
    client = await mesh.network.dial(await inbound(a, A))
    assert await read_exactly(client, 9) == b"220 ready"
    client.abort()
    await target.close()


async def test_a_client_that_ends_before_the_answer_still_gets_it(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    client = await mesh.network.dial(await inbound(a, A))
    client.end()
    assert await read_all(client) == b"<end>"


async def test_much_data_goes_through_each_way(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    client = await mesh.network.dial(await inbound(a, A))
    data = bytes(range(256)) * 20_000

    async def send() -> None:
        await client.write(data)
        client.end()

    sending = asyncio.create_task(send())
    assert await read_all(client) == data + b"<end>"
    await sending
    shown = await get(a, f"/api/endpoints/{A}/inbound/tcp/web")
    assert shown["traffic"]["total"] == 1


async def test_a_refused_target_resets_the_client_and_both_ends_say_why(mesh: TunnelMesh) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    dead = Address(LOOPBACK, free_port())
    await outbound(b, B, dead)
    client = await mesh.network.dial(await inbound(a, A))
    await client.write(b"hello")
    assert await is_reset(client)
    at_entry = await get(a, f"/api/endpoints/{A}/inbound/tcp/web")
    at_exit = await get(b, f"/api/endpoints/{B}/outbound/tcp/web")
    assert str(dead) in at_entry["lastError"]["message"]
    assert B in at_entry["lastError"]["message"]
    assert "connection refused" in at_entry["lastError"]["message"]
    assert "connection refused" in at_exit["targets"][0]["error"]
    assert at_exit["lastError"]["time"].endswith("Z")


async def test_a_client_without_any_exit_is_reset_and_told_so(mesh: TunnelMesh) -> None:
    a = await mesh.join("a")
    client = await mesh.network.dial(await inbound(a, A))
    assert await is_reset(client)
    shown = await get(a, f"/api/endpoints/{A}/inbound/tcp/web")
    assert "no exit is known" in shown["lastError"]["message"]


async def test_a_dead_target_is_skipped(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, Address(LOOPBACK, free_port()), echo)
    address = await inbound(a, A)
    for _ in range(4):
        client = await mesh.network.dial(address)
        await client.write(b"x")
        assert await read_exactly(client, 1) == b"x"
        client.abort()


async def test_targets_take_turns(mesh: TunnelMesh) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    targets = Echo(mesh.network), Echo(mesh.network)
    await outbound(b, B, *[await one.open() for one in targets])
    address = await inbound(a, A)
    for _ in range(4):
        client = await mesh.network.dial(address)
        await client.write(b"x")
        assert await read_exactly(client, 1) == b"x"
        client.end()
        assert await read_all(client) == b"<end>"
    assert [one.connections for one in targets] == [2, 2]
    for one in targets:
        await one.close()


@pytest.mark.parametrize("refusal", ["target", "way", "unreachable", "broken"])
async def test_the_next_exit_gets_the_first_bytes_when_one_refuses(
    mesh: TunnelMesh, echo: Address, refusal: str
) -> None:
    a, b, c = await mesh.join("a"), await mesh.join("b"), await mesh.join("c")
    await outbound(b, B, Address(LOOPBACK, free_port()) if refusal == "target" else echo)
    await outbound(c, C, echo)

    async def have_first_bytes(exchange: Exchange) -> None:
        got = b""
        while not got.endswith(b"hello"):
            got += await exchange.read()
        exchange.unread(got)
        if refusal == "broken" and mesh.asked == [B]:
            exchange.abort("broken")

    if refusal == "way":
        mesh.refusing[B] = 403
    if refusal == "unreachable":
        del mesh.apps[B]
    mesh.before_answer = have_first_bytes
    client = await mesh.network.dial(await inbound(a, A))
    await client.write(b"hello")
    assert await read_exactly(client, 5) == b"hello"
    assert mesh.asked == [B, C]
    client.abort()
    mesh.apps[B] = b


async def test_an_exit_that_does_not_answer_in_time_is_given_up(mesh: TunnelMesh, echo: Address) -> None:
    a = await mesh.join("a", factory=limited(StreamLimits(answer_seconds=0.05)))
    b, c = await mesh.join("b"), await mesh.join("c")
    await outbound(b, B, echo)
    await outbound(c, C, echo)

    async def hang(exchange: Exchange) -> None:
        if mesh.asked == [B]:
            await exchange.ended()

    mesh.before_answer = hang
    client = await mesh.network.dial(await inbound(a, A))
    await client.write(b"hello")
    assert await read_exactly(client, 5) == b"hello"
    client.abort()


async def test_no_more_than_the_early_bytes_are_taken_before_an_exit_accepts(mesh: TunnelMesh, echo: Address) -> None:
    a = await mesh.join("a", factory=limited(StreamLimits(early_bytes=1)))
    b = await mesh.join("b")
    await outbound(b, B, echo)
    came, go_on = asyncio.Event(), asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        got = b""
        while not got.endswith(b"one"):
            got += await exchange.read()
        exchange.unread(got)
        came.set()
        await go_on.wait()

    mesh.before_answer = hold
    client = await mesh.network.dial(await inbound(a, A))
    await client.write(b"one")
    await came.wait()
    await client.write(b"two")
    go_on.set()
    assert await read_exactly(client, 6) == b"onetwo"
    client.abort()


async def test_a_client_that_leaves_while_waiting_is_no_failure_of_the_exit(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    cut = asyncio.Event()

    async def wait_for_cut(exchange: Exchange) -> None:
        if not cut.is_set():
            client.abort("left")
            try:
                await exchange.ended()
            finally:
                cut.set()

    mesh.before_answer = wait_for_cut
    address = await inbound(a, A)
    client = await mesh.network.dial(address)
    await client.write(b"x")
    await cut.wait()
    assert "lastError" not in await get(a, f"/api/endpoints/{A}/inbound/tcp/web")


async def test_the_own_endpoint_is_an_exit_without_a_stream(mesh: TunnelMesh, echo: Address) -> None:
    a = await mesh.join("a")
    await outbound(a, A, echo)
    client = await mesh.network.dial(await inbound(a, A))
    await client.write(b"hello")
    client.end()
    assert await read_all(client) == b"hello<end>"
    assert mesh.asked == []


async def test_the_own_endpoint_comes_after_a_refusal_with_the_first_bytes(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(a, A, echo)
    mesh.refusing[B] = 503

    async def unused(exchange: Exchange) -> None:
        raise AssertionError

    mesh.before_answer = unused
    client = await mesh.network.dial(await inbound(a, A, exits=[B, A]))
    await client.write(b"hello")
    client.end()
    assert await read_all(client) == b"hello<end>"
    assert mesh.asked == [B]
    assert b is mesh.apps[B]


async def test_named_exits_are_the_only_ones(mesh: TunnelMesh, echo: Address) -> None:
    a, b, c = await mesh.join("a"), await mesh.join("b"), await mesh.join("c")
    await outbound(b, B, echo)
    await outbound(c, C, echo)
    address = await inbound(a, A, exits=[C])
    for _ in range(3):
        client = await mesh.network.dial(address)
        await client.write(b"x")
        assert await read_exactly(client, 1) == b"x"
        client.abort()
    assert set(mesh.asked) == {C}


async def test_another_users_outbound_of_the_same_name_is_never_used(mesh: TunnelMesh, echo: Address) -> None:
    a, b, m = await mesh.join("a"), await mesh.join("b"), await mesh.join("m", user="mallory")
    await outbound(b, B, echo)
    await outbound(m, C, echo, users=[])
    address = await inbound(a, A)
    for _ in range(6):
        client = await mesh.network.dial(address)
        await client.write(b"x")
        assert await read_exactly(client, 1) == b"x"
        client.abort()
    assert set(mesh.asked) == {B}


@pytest.mark.parametrize("trusted", ["bob", "*"])
async def test_another_users_outbound_is_used_once_that_user_is_named(
    mesh: TunnelMesh, echo: Address, trusted: str
) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    await outbound(b, B, echo, users=["bob", "alice"])
    client = await mesh.network.dial(await inbound(a, A, fromUsers=[trusted]))
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    client.abort()


@pytest.mark.parametrize("rules", [{}, {"users": ["carol"]}, {"users": [], "entrances": [C]}])
async def test_an_outbound_refuses_whom_it_does_not_name(
    mesh: TunnelMesh, echo: Address, rules: dict[str, Any]
) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    await outbound(b, B, echo, **rules)
    client = await mesh.network.dial(await inbound(a, A, fromUsers=["bob"]))
    assert await is_reset(client)
    shown = await get(a, f"/api/endpoints/{A}/inbound/tcp/web")
    assert "user alice" in shown["lastError"]["message"]
    assert "alice" in (await get(b, f"/api/endpoints/{B}/outbound/tcp/web"))["lastError"]["message"]


async def test_streams_that_an_outbound_no_longer_admits_are_cut(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b", user="bob")
    await outbound(b, B, echo, users=["alice"])
    client = await mesh.network.dial(await inbound(a, A, fromUsers=["bob"]))
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    await outbound(b, B, echo, users=["carol"])
    assert await is_reset(client)


async def test_closing_an_inbound_frees_the_port_and_cuts_its_clients(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    address = await inbound(a, A)
    client = await mesh.network.dial(address)
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    status, _, _ = await ask(a.user_api, "DELETE", f"/api/endpoints/{A}/inbound/tcp/web")
    assert status == 204
    assert await is_reset(client)
    again = await mesh.network.listen(address, lambda stream: stream.ended())
    await again.close()


async def test_changing_an_inbound_leaves_its_other_listeners_and_clients_alone(
    mesh: TunnelMesh, echo: Address
) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    address, more = await inbound(a, A), Address(LOOPBACK, free_port())
    client = await mesh.network.dial(address)
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    listens = [{"ip": one.host, "port": one.port} for one in (address, more)]
    await post(a, f"/api/endpoints/{A}/inbound/tcp/web", {"listens": listens})
    await client.write(b"y")
    assert await read_exactly(client, 1) == b"y"
    other = await mesh.network.dial(more)
    await other.write(b"z")
    assert await read_exactly(other, 1) == b"z"
    client.abort()
    other.abort()


async def test_a_busy_port_is_listed_with_its_error_and_taken_once_it_is_free(mesh: TunnelMesh, echo: Address) -> None:
    a = await mesh.join("a", factory=limited(StreamLimits(retry_seconds=0.01)))
    await outbound(a, A, echo)
    busy, free = Address(LOOPBACK, free_port()), Address(LOOPBACK, free_port())
    other = await mesh.network.listen(busy, lambda stream: stream.ended())
    path = f"/api/endpoints/{A}/inbound/tcp/web"
    shown = await post(a, path, {"listens": [{"ip": one.host, "port": one.port} for one in (busy, free)]})
    assert [one["open"] for one in shown["listens"]] == [False, True]
    assert "in use" in shown["listens"][0]["error"]
    assert "in use" in shown["lastError"]["message"]
    await outbound(a, A, echo, name="another")  # nothing else is poisoned by it
    mesh.network.opened.clear()
    await other.close()
    await mesh.network.opened.wait()
    client = await mesh.network.dial(busy)
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    client.abort()


async def test_what_was_configured_works_again_after_a_restart(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    address = await inbound(a, A)
    mesh.shared.clear()
    await mesh.restart("b")
    await mesh.restart("a")
    client = await mesh.network.dial(address)
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    client.abort()


async def test_a_change_that_cannot_be_saved_changes_nothing(mesh: TunnelMesh, echo: Address) -> None:
    a = await mesh.join("a")
    await outbound(a, A, echo)
    address, more = await inbound(a, A), Address(LOOPBACK, free_port())
    mesh.context("a").disk.is_full = True
    body = json.dumps({"listens": [{"ip": LOOPBACK, "port": more.port}]}).encode()
    status, _, _ = await ask(a.user_api, "POST", f"/api/endpoints/{A}/inbound/tcp/web", body)
    assert status == 507
    status, _, _ = await ask(a.user_api, "DELETE", f"/api/endpoints/{A}/outbound/tcp/web")
    assert status == 507
    client = await mesh.network.dial(address)
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    client.abort()
    again = await mesh.network.listen(more, lambda stream: stream.ended())
    await again.close()


async def test_stopping_closes_ports_and_cuts_streams(mesh: TunnelMesh, echo: Address) -> None:
    a, b = await mesh.join("a"), await mesh.join("b")
    await outbound(b, B, echo)
    address = await inbound(a, A)
    client = await mesh.network.dial(address)
    await client.write(b"x")
    assert await read_exactly(client, 1) == b"x"
    await b.stop()
    assert await is_reset(client)
    await a.stop()
    again = await mesh.network.listen(address, lambda stream: stream.ended())
    await again.close()
