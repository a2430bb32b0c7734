"""Streams on streams: two ends in one process, a stream looked at in passing, and TLS over any of them."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest
from tls_origin import Origin

from ztm.errors import BrokenStreamError, CertificateError
from ztm.net.aio import AioNetwork
from ztm.net.base import Meter, Stream
from ztm.net.joint import WINDOW, joint
from ztm.net.layer import Tapped
from ztm.net.secured import SecuredStream, secured

NAME = "a.test"
BIG = os.urandom(3_000_000)


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's."""
    served = Origin(tmp_path, NAME)
    return ssl.create_default_context(cafile=str(served.ca)), served.context


async def tls_pair(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> tuple[SecuredStream, SecuredStream]:
    near, far = joint()
    return await asyncio.gather(secured(near, contexts[0], server_name=NAME), secured(far, contexts[1]))


async def said(stream: Stream) -> bytes:
    got = []
    while data := await stream.read():
        got.append(data)
    return b"".join(got)


async def say(stream: Stream, data: bytes) -> None:
    for at in range(0, len(data), 50_000):
        await stream.write(data[at : at + 50_000])
    stream.end()


async def test_two_ends_carry_bytes_and_ends_and_whoever_writes_too_much_waits() -> None:
    near, far = joint()
    await near.write(b"x" * WINDOW)
    more = asyncio.ensure_future(near.write(b"y"))
    await asyncio.sleep(0)
    assert not more.done()
    assert await far.read() == b"x" * WINDOW
    await more
    near.end()
    assert await said(far) == b"y"
    await asyncio.gather(say(far, BIG), _expect(near, BIG))
    assert near.is_over
    assert far.is_over


async def _expect(stream: Stream, data: bytes) -> None:
    assert await said(stream) == data


async def test_a_cut_end_cuts_the_other_and_wakes_its_writer() -> None:
    near, far = joint()
    writing = asyncio.ensure_future(near.write(bytes(10 * WINDOW)))
    await asyncio.sleep(0)
    far.abort("enough")
    with pytest.raises(BrokenStreamError, match="enough"):
        await writing


async def test_a_tap_sees_what_the_peer_sends_and_changes_nothing() -> None:
    near, far = joint()
    seen: list[bytes] = []
    near.unread(b"first ")
    tapped = Tapped(near, seen.append)
    _, _, got, back = await asyncio.gather(say(far, BIG), say(tapped, BIG), said(tapped), said(far))
    assert b"".join(seen) == got == b"first " + BIG
    assert back == BIG


async def test_tls_carries_bytes_both_ways_with_half_close(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    client, server = await tls_pair(contexts)
    await client.write(b"question")
    client.end()
    assert await said(server) == b"question"
    await asyncio.gather(say(server, BIG), _expect(client, BIG))
    assert client.is_over
    assert server.is_over
    assert not client.is_ragged


async def test_tls_is_spliced_and_a_reader_that_takes_nothing_holds_the_writer_back(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    client, near = await tls_pair(contexts)
    far, server = await tls_pair(contexts)
    meter = Meter()
    splicing = asyncio.ensure_future(AioNetwork().splice(near, server, meter))
    writing = asyncio.ensure_future(say(client, BIG))
    before = -1
    while before != meter.sent:
        before = meter.sent
        for _ in range(20):
            await asyncio.sleep(0)
    assert meter.sent < 8 * WINDOW
    await asyncio.gather(writing, _expect(far, BIG), say(far, b"done"), _expect(client, b"done"), splicing)
    assert meter.sent == len(BIG)


async def test_an_end_without_a_goodbye_is_told_apart(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    near, far = joint()
    client, server = await asyncio.gather(secured(near, contexts[0], server_name=NAME), secured(far, contexts[1]))
    await server.write(b"half of")
    far.end()
    assert await said(client) == b"half of"
    assert client.is_ragged


async def test_a_ragged_end_is_passed_on_as_one(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    client, near = await tls_pair(contexts)
    below, origin = joint()
    far, _ = await asyncio.gather(secured(below, contexts[0], server_name=NAME), secured(origin, contexts[1]))
    near.mirrored = far
    splicing = asyncio.ensure_future(AioNetwork().splice(near, far))
    origin.end()
    assert await said(client) == b""
    assert client.is_ragged
    client.end()
    await splicing


async def test_a_wrong_name_is_said_to_both(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    near, far = joint()
    ends = await asyncio.gather(
        secured(near, contexts[0], server_name="b.test"), secured(far, contexts[1]), return_exceptions=True
    )
    assert isinstance(ends[0], CertificateError)
    assert isinstance(ends[1], BrokenStreamError)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x05\x02\0\0\x01x", b""])
async def test_what_is_no_tls_breaks_the_handshake_and_nothing_is_kept(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], garbage: bytes
) -> None:
    near, far = joint()
    shaking = asyncio.ensure_future(secured(far, contexts[1]))
    await say(near, garbage)
    with pytest.raises(BrokenStreamError):
        await shaking


async def test_a_handshake_that_is_given_up_cuts_the_stream(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    near, far = joint()
    shaking = asyncio.ensure_future(secured(near, contexts[0], server_name=NAME))
    await far.read()
    shaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shaking
    with pytest.raises(BrokenStreamError):
        await far.read()
