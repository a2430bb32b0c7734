"""SOCKS through the proxy's port: who may, what is answered, and when."""

import asyncio

import pytest
from app_mesh import read_all, read_exactly
from proxy_door import EXIT, HELLO5, doorway, wish, wish4

from ztm.apps.proxy.credentials import Credentials
from ztm.errors import (
    BrokenStreamError,
    DeadlineError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    ZtmError,
)
from ztm.model import Address

DONE5 = b"\x05\x00" + b"\x05\x00\x00\x01" + bytes(6)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "Name.Test"])
async def test_socks5_connects_to_any_kind_of_address(host: str) -> None:
    async with doorway() as here:
        target = await here.echo("::1" if host == "::1" else "127.0.0.1")
        here.way.names["name.test"] = target
        client = await here.client(HELLO5)
        assert await client.read() == b"\x05\x00"
        await client.write(wish(host, target.port))
        assert await read_exactly(client, 16) == DONE5[2:] + b"hello:"
        await client.write(b"bytes")
        client.end()
        assert await read_all(client) == b"bytes"
        await here.audited(1)
        [trail] = here.audit.trails
        assert (trail.action, trail.subject) == ("connect", str(Address(host.lower(), target.port)))
        assert (trail.target, trail.meter.sent, trail.meter.received) == (EXIT, 5, 11)


@pytest.mark.parametrize("host", ["127.0.0.1", "name.test"])
async def test_socks4_and_4a_connect(host: str) -> None:
    async with doorway() as here:
        target = await here.echo()
        here.way.names["name.test"] = target
        client = await here.client(wish4(host, target.port))
        assert await read_exactly(client, 14) == b"\x00\x5a" + bytes(6) + b"hello:"


async def test_all_sent_at_once_arrives_in_order() -> None:
    async with doorway() as here:
        target = await here.echo()
        client = await here.client(HELLO5 + wish("127.0.0.1", target.port) + b"early")
        assert await read_exactly(client, 23) == DONE5 + b"hello:early"
        client = await here.client(wish4("127.0.0.1", target.port) + b"early")
        assert (await read_exactly(client, 19)).endswith(b"hello:early")


async def test_success_is_told_only_once_an_exit_has_accepted() -> None:
    async with doorway() as here:
        here.way.gate = asyncio.Event()
        target = await here.echo()
        for first, methods in (
            (HELLO5 + wish("127.0.0.1", target.port), b"\x05\x00"),
            (wish4("127.0.0.1", target.port), b""),
        ):
            here.way.gate.clear()
            here.way.began.clear()
            client = await here.client(first)
            await here.way.began.wait()
            assert await read_exactly(client, len(methods)) == methods
            answer = asyncio.ensure_future(client.read())
            for _ in range(10):
                await asyncio.sleep(0)
            assert not answer.done()
            here.way.gate.set()
            assert await answer


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (ForbiddenError("denied"), 2),
        (NotFoundError("no exit"), 4),
        (RefusedError("refused"), 5),
        (DeadlineError("late"), 6),
        (UnreachableError("offline"), 3),
        (BrokenStreamError("cut"), 1),
    ],
)
async def test_a_refusal_has_its_code_and_nothing_is_echoed(error: ZtmError, reply: int) -> None:
    async with doorway() as here:
        here.way.errors["x.test"] = error
        client = await here.client(HELLO5 + wish("x.test", 80) + b"early bytes")
        assert await read_all(client) == bytes((5, 0, 5, reply, 0, 1)) + bytes(6)
        client = await here.client(wish4("x.test", 80) + b"early bytes")
        assert await read_all(client) == b"\x00\x5b" + bytes(6)


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        (b"\x05\x00", b"\x05\xff"),
        (b"\x05\x02\x01\x02", b"\x05\xff"),
        (HELLO5 + wish("x.test", 80, 2), b"\x05\x00\x05\x07"),
        (HELLO5 + wish("x.test", 80, 9), b"\x05\x00\x05\x07"),
        (HELLO5 + b"\x05\x01\x00\x02", b"\x05\x00\x05\x08"),
        (HELLO5 + b"\x04\x01\x00\x01", b"\x05\x00\x05\x01"),
        (HELLO5 + wish("x.test", 0), b"\x05\x00\x05\x04"),
        (HELLO5 + wish("", 80), b"\x05\x00\x05\x04"),
        (HELLO5 + wish("a b", 80), b"\x05\x00\x05\x04"),
        (HELLO5 + wish("0x7f.1", 80), b"\x05\x00\x05\x04"),
        (wish4("x.test", 80, 2), b"\x00\x5b"),
        (wish4("x.test", 80, user=b"u" * 256), b"\x00\x5b"),
        (wish4("h" * 256, 80), b"\x00\x5b"),
        (b"\x00\x01\x02", b""),
        (b"\xff\xfe", b""),
    ],
)
async def test_what_cannot_be_done_has_the_protocols_own_code_and_no_exit_is_asked(first: bytes, answer: bytes) -> None:
    async with doorway() as here:
        got = await read_all(await here.client(first))
        assert got.startswith(answer)
        assert bool(got) is bool(answer)
        assert here.way.asked == []


def login(user: str, password: str) -> bytes:
    return b"".join([b"\x01", *(bytes((len(text.encode()),)) + text.encode() for text in (user, password))])


async def test_where_a_password_is_set_it_must_be_shown() -> None:
    async with doorway(credentials=Credentials.create("me", "sécret")) as here:
        target = await here.echo()
        asked = wish("127.0.0.1", target.port)
        assert await read_all(await here.client(HELLO5 + asked)) == b"\x05\xff"
        assert await read_all(await here.client(wish4("127.0.0.1", target.port))) == b"\x00\x5b" + bytes(6)
        for wrong in (login("me", "secret"), login("", ""), login("you", "sécret")):
            assert await read_all(await here.client(b"\x05\x02\x00\x02" + wrong + asked)) == b"\x05\x02\x01\x01"
        assert here.way.asked == []
        client = await here.client(b"\x05\x02\x00\x02" + login("me", "sécret") + asked)
        assert await read_exactly(client, 20) == b"\x05\x02\x01\x00" + DONE5[2:] + b"hello:"
        assert [trail.is_allowed for trail in here.audit.trails] == [False] * 3


async def test_a_refusal_harms_no_later_connection() -> None:
    async with doorway() as here:
        here.way.errors["x.test"] = ForbiddenError("denied")
        target = await here.echo()
        for _ in range(3):
            await read_all(await here.client(HELLO5 + wish("x.test", 80)))
            client = await here.client(HELLO5 + wish("127.0.0.1", target.port))
            assert await read_exactly(client, 18) == DONE5 + b"hello:"
