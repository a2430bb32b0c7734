"""Asking an exit: whose fault it is that a stream does not come about, and who is held off for it."""

import asyncio
import json
from pathlib import Path

import pytest
from app_mesh import LOOPBACK
from proxy_mesh import ProxyMesh, Source, proxies

from ztm.apps.proxy.entry.http_body import MalformedBodyError
from ztm.apps.streams.limits import LIMITS
from ztm.apps.streams.reach import Early, Reach
from ztm.core.balance import HOLD_OFF
from ztm.errors import BrokenStreamError, NotFoundError, RefusedError, UnreachableError
from ztm.net.base import Exchange
from ztm.net.joint import Joint, joint


class Breaking(Source):
    """Sends what it is told to, and then what comes is malformed; the client is still there."""

    def __init__(self, *parts: bytes) -> None:
        super().__init__(*parts)
        self.error = MalformedBodyError("malformed request body")

    async def read(self) -> bytes:
        if self._parts:
            return await super().read()
        raise self.error


async def _exits(mesh: ProxyMesh) -> dict[str, dict[str, object]]:
    return {one["endpoint"]: one for one in json.loads((await mesh.ask("entry", "GET", "exits"))[2])}


async def _silent(_exchange: Exchange) -> None:
    await asyncio.get_running_loop().create_future()


async def _ready(mesh: ProxyMesh, *exits: str) -> int:
    port = await mesh.echo()
    await mesh.join("entry")
    for name in exits:
        await mesh.join(name)
        await mesh.configure(name, targets=[f"{LOOPBACK}/32"])
    return port


@pytest.mark.parametrize("parts", [(), (b"early",)])
async def test_an_exit_is_not_held_off_for_a_client_that_breaks_off_while_it_is_asked(parts: tuple[bytes, ...]) -> None:
    async with proxies() as mesh:
        port = await _ready(mesh, "one", "two")
        mesh.before_answer = _silent
        source = Breaking(*parts)
        route = mesh.apps[mesh.place("entry")].proxy.route
        with pytest.raises(MalformedBodyError) as raised:
            await route.open(LOOPBACK, port, Early(source, 1 << 16))
        assert raised.value is source.error
        assert len(mesh.asked) == 1
        for one in (await _exits(mesh)).values():
            assert not {"heldOff", "lastError"} & set(one)


@pytest.mark.parametrize("status", [404, 503])
async def test_an_exit_to_which_the_mesh_leads_no_more_is_held_off(status: int) -> None:
    async with proxies() as mesh:
        port = await _ready(mesh, "one", "two")
        stream, first = await mesh.reach("entry", LOOPBACK, port)
        stream.abort()
        mesh.refusing[first] = status
        stream, second = await mesh.reach("entry", LOOPBACK, port)
        stream.abort()
        assert second != first
        held = (await _exits(mesh))[first]["heldOff"]
        assert isinstance(held, float)
        assert 0 < held <= HOLD_OFF


async def test_exits_that_are_all_offline_are_no_missing_destination(tmp_path: Path) -> None:
    async with proxies(tmp_path) as mesh:
        port = await _ready(mesh, "one")
        mesh.refusing[mesh.place("one")] = 404
        with pytest.raises(UnreachableError, match="the mesh leads to no such app there"):
            await mesh.reach("entry", LOOPBACK, port)


async def test_an_exit_that_finds_no_such_name_is_not_held_off() -> None:
    async with proxies() as mesh:
        await _ready(mesh, "one")
        await mesh.configure("one", targets=["*"])
        with pytest.raises(NotFoundError):
            await mesh.reach("entry", "nowhere.test", 80)
        assert "heldOff" not in (await _exits(mesh))[mesh.place("one")]


class _Answering:
    """A context whose exit answers as a test says; see `AppContext.connect`."""

    def __init__(self, exchange: "_CannedExchange") -> None:
        self._exchange = exchange

    async def connect(self, _endpoint: str) -> "_CannedExchange":
        return self._exchange


class _CannedExchange:
    """The own end of a joint, on which the mesh leads on once it is told so."""

    def __init__(self, near: Joint) -> None:
        self._near = near
        self.led = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._near, name)

    async def write(self, data: bytes) -> None:
        raise BrokenStreamError(f"the exit takes no more, as {len(data)} bytes")

    async def response(self) -> tuple[int, list[tuple[str, str]]]:
        await self.led.wait()
        return 200, []


async def test_the_answer_of_an_exit_that_takes_no_more_bytes_is_heard() -> None:
    near, far = joint()
    exchange = _CannedExchange(near)
    early = Early(Source(b"more"), 1 << 16)
    asking = asyncio.ensure_future(Reach("/x", _Answering(exchange), LIMITS).ask("one", early))  # type: ignore[arg-type]
    while not early.data():
        await asyncio.sleep(0)
    far.write_now(b"HTTP/1.1 502 Bad Gateway\r\nztm-error: it refused\r\n\r\n")
    exchange.led.set()
    with pytest.raises(RefusedError, match="it refused"):
        await asking
    assert early.broken is None
    assert early.data() == b"more"
