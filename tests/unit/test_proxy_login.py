"""What asking clients for a password costs: no client waits for another one's hash, and hashes take turns."""

import asyncio
import threading

import pytest
from app_mesh import LOOPBACK, free_port, read_exactly
from proxy_door import doorway
from proxy_mesh import proxies

from ztm.apps.proxy import credentials as module
from ztm.apps.proxy.credentials import Credentials
from ztm.model import Address
from ztm.rest.message import Request, Response
from ztm.rest.router import Router

PASSWORD = "correct horse"
SOCKS = b"\x05\x01\x02\x01\x03ann\x05guess"
HTTP = b"GET http://x.test/ HTTP/1.1\r\nHost: x.test\r\nProxy-Authorization: Basic YW5uOmd1ZXNz\r\n\r\n"


class SlowHash:
    """Instead of scrypt: waits until it is let go, and counts who waits."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked: list[str] = []
        self.at_once = 0
        self.most = 0
        self.go = threading.Event()
        self.is_stuck = False

    def __call__(self, password: str, *_: object) -> bytes:
        with self.lock:
            self.asked.append(password)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.is_stuck = not self.go.wait(2) or self.is_stuck
        with self.lock:
            self.at_once -= 1
        return b"no such hash"


def _credentials() -> Credentials:
    return Credentials.create("ann", PASSWORD)


async def _asked(slow: SlowHash) -> None:
    while not slow.asked:
        await asyncio.sleep(0)


async def test_who_is_known_passes_while_a_wrong_password_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    known, slow = _credentials(), SlowHash()
    assert await known.check("ann", PASSWORD)
    monkeypatch.setattr(module, "_hash", slow)
    guess = asyncio.ensure_future(known.check("ann", "guess"))
    await _asked(slow)
    assert await known.check("ann", PASSWORD)
    slow.go.set()
    assert not await guess
    assert not slow.is_stuck


async def test_wrong_passwords_are_hashed_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    known, slow = _credentials(), SlowHash()
    monkeypatch.setattr(module, "_hash", slow)
    guesses = [asyncio.ensure_future(known.check("ann", f"guess {number}")) for number in range(8)]
    await _asked(slow)
    slow.go.set()
    assert await asyncio.gather(*guesses) == [False] * 8
    assert slow.most == 1
    assert len(slow.asked) == 8


async def test_a_pair_that_is_shown_on_many_connections_at_once_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known, slow = _credentials(), SlowHash()
    monkeypatch.setattr(module, "_hash", slow)
    guesses = [asyncio.ensure_future(known.check("ann", "guess")) for _ in range(8)]
    await _asked(slow)
    slow.go.set()
    assert await asyncio.gather(*guesses) == [False] * 8
    assert slow.asked == ["guess"]


async def test_a_client_that_leaves_while_its_password_is_hashed_lets_no_second_hash_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, slow = _credentials(), SlowHash()
    monkeypatch.setattr(module, "_hash", slow)
    first = asyncio.ensure_future(known.check("ann", "first"))
    await _asked(slow)
    second = asyncio.ensure_future(known.check("ann", "second"))
    first.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert slow.asked == ["first"]
    slow.go.set()
    assert not await second
    assert slow.most == 1


@pytest.mark.parametrize("hello", [SOCKS, HTTP])
async def test_other_clients_are_served_while_a_wrong_password_is_hashed(
    hello: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, slow = _credentials(), SlowHash()
    monkeypatch.setattr(module, "_hash", slow)
    async with doorway(credentials=known) as here:
        guessing = await here.client(hello)
        await _asked(slow)
        other = await here.client(b"\x05\x01\x02")
        assert await read_exactly(other, 2) == b"\x05\x02"
        slow.go.set()
        assert await guessing.read()
        guessing.abort()
        other.abort()
    assert not slow.is_stuck


async def test_a_new_port_asks_for_the_password_from_its_first_moment() -> None:
    async with proxies() as mesh:
        await mesh.join("entry")
        asked, answered = asyncio.Event(), asyncio.Event()

        async def groups(_request: Request) -> Response:
            asked.set()
            await answered.wait()
            return Response(body=[])

        mesh.neighbours["users"] = router = Router()
        router.add("GET", "/api/groups", groups)
        port = free_port()
        changing = asyncio.ensure_future(
            mesh.configure(
                "entry",
                listen=f"{LOOPBACK}:{port}",
                auth={"user": "ann", "password": PASSWORD},
                rules=[{"action": "deny", "groups": ["staff"]}],
            )
        )
        await asked.wait()
        client = await mesh.network.dial(Address(LOOPBACK, port))
        await client.write(b"\x05\x01\x00")
        told = await read_exactly(client, 2)
        client.abort()
        answered.set()
        await changing
        assert told == b"\x05\xff"
