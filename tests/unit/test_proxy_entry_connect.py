"""CONNECT through the proxy's port: told what became of it, by the status that fits, and nothing is lost or echoed."""

import asyncio
from base64 import b64encode
from contextlib import suppress

import pytest
from app_mesh import read_all, read_exactly
from process_mesh import until
from proxy_door import EXIT, OWNER, doorway, read_answer

from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.errors import (
    BrokenStreamError,
    DeadlineError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    ZtmError,
)
from ztm.net.base import Stream

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def connect(target: object, *fields: str) -> bytes:
    return "\r\n".join((f"CONNECT {target} HTTP/1.1", f"Host: {target}", *fields, "", "")).encode()


async def test_bytes_pass_both_ways_and_each_end_of_file_too() -> None:
    async with doorway() as here:
        client = await here.client(connect(await here.echo()))
        assert await read_exactly(client, len(OK) + 6) == OK + b"hello:"
        await client.write(b"some bytes")
        client.end()
        assert await read_all(client) == b"some bytes"


async def test_a_target_that_speaks_first_is_heard_without_a_word_of_the_client() -> None:
    async with doorway() as here:
        client = await here.client(connect(await here.echo()))
        assert (await read_exactly(client, len(OK) + 6)).endswith(b"hello:")


async def test_what_comes_behind_the_head_goes_on_before_the_exit_has_accepted() -> None:
    async with doorway() as here:
        here.way.gate = asyncio.Event()
        heard = asyncio.get_running_loop().create_future()

        async def serve(stream: Stream) -> None:
            heard.set_result(await stream.read())

        client = await here.client(connect(await here.listen(serve)) + b"early")
        assert await heard == b"early"
        here.way.gate.set()
        assert (await read_exactly(client, len(OK))).startswith(OK)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ForbiddenError("rule 3 denies it"), 403),
        (NotFoundError("no exit serves it"), 502),
        (RefusedError("connection refused"), 502),
        (BrokenStreamError("cut"), 502),
        (UnreachableError("no exit is reached"), 503),
        (DeadlineError("no answer"), 504),
    ],
)
async def test_a_refusal_has_its_status_and_its_reason_and_nothing_is_echoed(error: ZtmError, status: int) -> None:
    async with doorway() as here:
        here.way.errors["denied.test"] = error
        client = await here.client(connect("denied.test:443") + b"\x16\x03\x01 early bytes")
        told, headers, body = await read_answer(client)
        assert (told, headers["connection"]) == (status, "close")
        assert str(error) in body.decode()
        assert b"early" not in body + await read_all(client)


async def test_a_403_harms_no_later_connection() -> None:
    async with doorway() as here:
        here.way.errors["denied.test"] = ForbiddenError("denied")
        target = await here.echo()
        for _ in range(3):
            assert (await read_answer(await here.client(connect("denied.test:80"))))[0] == 403
            client = await here.client(connect(target))
            assert await read_exactly(client, len(OK) + 6) == OK + b"hello:"
            client.end()
            await client.ended()


async def test_the_bytes_behind_a_refused_connect_are_no_request() -> None:
    async with doorway() as here:
        here.way.errors["denied.test"] = ForbiddenError("denied")
        client = await here.client(
            connect("denied.test:80") + b"GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n"
        )
        assert (await read_answer(client))[0] == 403
        assert await read_all(client) == b""
        assert here.way.asked == [("denied.test", 80)]


async def test_a_refused_client_that_stays_is_cut() -> None:
    async with doorway(DoorLimits(linger_seconds=0.05)) as here:
        here.way.errors["denied.test"] = ForbiddenError("denied")
        accepted: list[Stream] = []

        async def accept(stream: Stream) -> None:
            accepted.append(stream)
            await here.door.accept(stream)

        address = await here.listen(accept)
        for first in (connect("denied.test:80"), b"\x05\x00", b"\x00"):
            client = await here.network.dial(address)
            here.clients.append(client)
            await client.write(first)
            await read_all(client)
            await accepted[-1].ended()


@pytest.mark.parametrize("host", ["[::1]", "[0:0:0:0:0:0:0:1]"])
async def test_ipv6_is_written_in_brackets_and_asked_for_without(host: str) -> None:
    async with doorway() as here:
        target = await here.echo("::1")
        client = await here.client(connect(f"{host}:{target.port}"))
        assert await read_exactly(client, len(OK) + 6) == OK + b"hello:"
        assert here.way.asked == [("::1", target.port)]


async def test_a_name_is_asked_for_in_one_form() -> None:
    async with doorway() as here:
        here.way.names["host.test"] = await here.echo()
        client = await here.client(connect("HOST.Test.:443"))
        assert (await read_exactly(client, len(OK))).startswith(OK)
        assert here.way.asked == [("host.test", 443)]


@pytest.mark.parametrize(
    "target",
    [
        "x.test",
        "x.test:",
        "x.test:0",
        "x.test:65536",
        "x.test:x",
        "::1:443",
        "a@x.test:1",
        "x%2e:1",
        "0x7f000001:80",
        "127.1:80",
        ":80",
        "[x]:1",
    ],
)
async def test_a_malformed_target_is_a_400_and_no_exit_is_asked(target: str) -> None:
    async with doorway() as here:
        client = await here.client(connect(target))
        assert (await read_answer(client))[0] == 400
        assert here.way.asked == []


async def test_who_asked_for_what_and_what_became_of_it_is_audited() -> None:
    async with doorway() as here:
        here.way.errors["denied.test"] = ForbiddenError("rule 1 denies it")
        target = await here.echo()
        client = await here.client(connect(target) + b"12345")
        assert await read_exactly(client, len(OK) + 11) == OK + b"hello:12345"
        assert client.local is not None
        client.end()
        await here.audited(1)
        await read_answer(await here.client(connect("denied.test:443")))
        await here.audited(2)
        good, bad = here.audit.trails
        assert (good.side, good.action, good.subject, good.target) == ("entry", "connect", str(target), EXIT)
        assert (good.peer.user, good.peer.endpoint) == (OWNER.user, OWNER.endpoint)
        assert (good.peer.ip, good.peer.port) == (client.local.host, client.local.port)
        assert (good.meter.sent, good.meter.received, good.reason, good.is_allowed) == (5, 11, "ended", True)
        assert (bad.subject, bad.is_allowed, bad.reason) == ("denied.test:443", False, "rule 1 denies it")


async def test_a_client_that_leaves_while_an_exit_is_looked_for_leaks_nothing() -> None:
    async with doorway() as here:
        here.way.gate = asyncio.Event()
        client = await here.client(connect(await here.echo()))
        await here.way.began.wait()
        client.abort()
        await here.audited(1)
        assert here.way.opened[0].is_over
        assert here.way.blamed == []
        assert len(here.audit.trails) == 1


async def test_a_stream_that_is_accepted_as_its_client_leaves_is_cut() -> None:
    async with doorway() as here:
        here.way.gate = asyncio.Event()
        here.way.is_just_accepted = True
        client = await here.client(connect(await here.echo()))
        await here.way.began.wait()
        client.abort()
        await here.audited(1)
        assert here.way.opened[0].is_over


async def test_clients_that_leave_without_a_byte_hold_no_stream() -> None:
    async with doorway() as here:
        target = await here.echo()
        for _ in range(10):
            client = await here.client(connect(target))
            await read_exactly(client, len(OK))
            client.end()
            await client.ended()
        for stream in here.way.opened:
            await stream.ended()
        await until(lambda: here.door.traffic.shown().open == 0)


async def test_closing_the_door_cuts_what_is_live_and_takes_nobody() -> None:
    async with doorway() as here:
        client = await here.client(connect(await here.echo()))
        await read_exactly(client, len(OK) + 6)
        await here.door.close("as told")
        with pytest.raises(BrokenStreamError):
            await read_all(client)
        late = await here.client()
        with pytest.raises(BrokenStreamError):
            await read_all(late)


@pytest.mark.parametrize(
    "first", [b"", b"P", b"GET ", b"GET http://x.test/ HTTP/1.1\r\nHost: x", b"\x05", b"\x05\x01\x00\x05", b"\x04\x01"]
)
async def test_a_client_that_does_not_go_on_is_cut(first: bytes) -> None:
    async with doorway(DoorLimits(head_seconds=0.05, idle_seconds=0.05)) as here:
        client = await here.client(first)
        with suppress(BrokenStreamError):
            assert await read_all(client) in (b"", b"\x05\x00")
        assert here.door.traffic.shown().total == 0
        assert here.way.asked == []


async def test_too_many_clients_are_cut_and_those_within_are_served() -> None:
    async with doorway(DoorLimits(clients=1)) as here:
        target = await here.echo()
        client = await here.client(connect(target))
        await read_exactly(client, len(OK) + 6)
        with pytest.raises((BrokenStreamError, UnreachableError)):  # cut before the dial was done, or after
            await read_all(await here.client(connect(target)))
        await client.write(b"x")
        assert await client.read() == b"x"


@pytest.mark.parametrize(
    ("first", "answer"),
    [(b"\x16\x03\x01\x02", b"\x15\x03"), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00\x00\x00\x04")],
)
async def test_tls_and_http2_are_refused_in_their_own_words(first: bytes, answer: bytes) -> None:
    async with doorway() as here:
        assert (await read_all(await here.client(first))).startswith(answer)


def basic(user: str, password: str) -> str:
    return "Proxy-Authorization: Basic " + b64encode(f"{user}:{password}".encode()).decode()


async def test_where_a_password_is_set_it_must_be_shown() -> None:
    async with doorway(credentials=Credentials.create("me", "p:ss wörd")) as here:
        target = await here.echo()
        for fields in (
            (),
            (basic("me", "wrong"),),
            (basic("you", "p:ss wörd"),),
            ("Proxy-Authorization: Basic %%",),
            ("Proxy-Authorization: Bearer x",),
        ):
            status, headers, _ = await read_answer(await here.client(connect(target, *fields)))
            assert status == 407
            assert headers["proxy-authenticate"].startswith("Basic ")
        assert here.way.asked == []
        client = await here.client(connect(target, basic("me", "p:ss wörd")))
        assert (await read_exactly(client, len(OK))).startswith(OK)
        wrong = [trail for trail in here.audit.trails if not trail.is_allowed]
        assert len(wrong) == 2
        assert "wörd" not in str(here.audit.trails)


async def test_a_changed_password_is_asked_of_new_clients() -> None:
    async with doorway() as here:
        target = await here.echo()
        here.door.allow(Credentials.create("me", "secret"))
        assert (await read_answer(await here.client(connect(target))))[0] == 407
        here.door.allow(None)
        assert (await read_exactly(await here.client(connect(target)), len(OK))).startswith(OK)
