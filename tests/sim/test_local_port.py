"""The agent's local port and its events on virtual time: what is warned of, what is bounded, what is told."""

import asyncio
import logging
from pathlib import Path

import pytest

from ztm.agent.config import AgentConfig
from ztm.agent.events.bus import Event, Filter
from ztm.agent.local import port as localport
from ztm.agent.local.port import WARN_EVERY, LocalPort
from ztm.errors import BrokenStreamError, ConflictError, UsageError
from ztm.model import Address
from ztm.net.base import Stream
from ztm.net.scope import Receive, Scope, Send
from ztm.testing import SimWorld
from ztm.testing.mesh import SimMesh

LOOPBACK = Address("127.0.0.1", 7777)


async def nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def local_port(directory: Path, listen: Address = LOOPBACK, **more: object) -> tuple[LocalPort, SimWorld]:
    world = SimWorld()
    config = AgentConfig(data=directory, listen=listen, pointers=directory / "pointers", **more)  # type: ignore[arg-type]
    return LocalPort(config, world.host("10.0.0.2"), nothing), world


async def test_an_open_api_is_warned_of_at_the_start_and_every_hour(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port, _ = local_port(tmp_path, open_api=True)
    caplog.set_level(logging.WARNING, "ztm")
    await port.open()
    await asyncio.sleep(WARN_EVERY * 2.5)
    assert len([one for one in caplog.messages if one.startswith("INSECURE")]) == 3
    assert len(port.warnings) == 1
    await port.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.2", "example.com"])
async def test_an_open_api_beyond_loopback_does_not_start(tmp_path: Path, host: str) -> None:
    port, _ = local_port(tmp_path, Address(host, 7777), open_api=True)
    with pytest.raises(UsageError, match="loopback"):
        await port.open()
    assert port.token == ""
    await port.close()


@pytest.mark.parametrize("origin", ["*", "null", "localhost", "http://", "http://a b", "http://a/b"])
async def test_what_is_no_origin_cannot_be_allowed(tmp_path: Path, origin: str) -> None:
    port, _ = local_port(tmp_path, origins=(origin,))
    with pytest.raises(UsageError, match="not an origin"):
        await port.open()
    await port.close()


async def test_an_api_beyond_this_machine_is_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    port, _ = local_port(tmp_path, Address("0.0.0.0", 7777))
    caplog.set_level(logging.WARNING, "ztm")
    await port.open()
    assert any("beyond this machine" in one for one in caplog.messages)
    assert "beyond this machine" in port.warnings[0]
    assert port.page == "http://127.0.0.1:7777"
    await port.close()


async def test_one_connection_too_many_is_told_so_and_a_freed_place_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localport, "CONNECTIONS", 3)
    port, world = local_port(tmp_path)
    await port.open()
    host = world.host("10.0.0.2")

    async def answer(stream: Stream) -> bytes:
        await stream.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        async with asyncio.timeout(5):
            return (await stream.read())[:12]

    crowd = [await host.dial(LOOPBACK) for _ in range(3)]
    assert [await answer(stream) for stream in crowd] == [b"HTTP/1.1 200"] * 3
    assert await answer(await host.dial(LOOPBACK)) == b"HTTP/1.1 503"
    crowd[0].abort()
    await asyncio.sleep(1)
    assert await answer(await host.dial(LOOPBACK)) == b"HTTP/1.1 200"
    for stream in crowd:
        stream.abort()
    await port.close()


async def test_a_socket_that_cannot_be_had_stops_the_start(tmp_path: Path) -> None:
    port, _ = local_port(tmp_path, socket=tmp_path / "run" / "a.sock")
    with pytest.raises(ConflictError):
        await port.open()
    await port.close()


async def test_an_endpoint_that_falls_silent_is_told_within_the_hubs_patience(tmp_path: Path) -> None:
    mesh = SimMesh(tmp_path)
    try:
        a, b = await mesh.join("a", "b")
        assert a.agent is not None
        reader = a.agent.events.read(Filter(frozenset({"endpoint", "mesh"})))
        await asyncio.sleep(10)
        b_id = b.id
        await b.kill()
        told = await reader.next(60.0)
        assert told is not None
        assert (told.event.type, told.event.id, told.event.online) == ("endpoint", b_id, False)
        assert told.event == Event(
            type="endpoint", time=told.event.time, mesh="sim", id=b_id, name="b", user="root", online=False
        )
        await mesh.kill_hub()
        told = await reader.next(60.0)
        assert told is not None
        assert (told.event.type, told.event.state) == ("mesh", "unreachable")
        reader.close()
    finally:
        await mesh.close()


async def test_a_caller_that_cuts_its_connection_is_no_reader_any_more(tmp_path: Path) -> None:
    mesh = SimMesh(tmp_path)
    try:
        (a,) = await mesh.join("a")
        assert a.agent is not None
        stream = await a.network.dial(a.agent.address)
        head = f"GET /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {a.agent.token}\r\n\r\n"
        await stream.write(head.encode())
        assert (await stream.read()).startswith(b"HTTP/1.1 200")
        assert a.agent.events.is_wanted("log")
        stream.abort()
        await asyncio.sleep(1)
        assert not a.agent.events.is_wanted("log")
        with pytest.raises(BrokenStreamError):
            await stream.write(b"x")
    finally:
        await mesh.close()
