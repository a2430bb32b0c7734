"""A session with hostile peers: whatever arrives costs little, raises nothing, and ends that session at most."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame, SettingsFrame
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from http2_peer import (
    CONNECT,
    GET,
    OK,
    PREFACE,
    ForeignPeer,
    Requests,
    data,
    goaway,
    in_pieces,
    of_type,
    ping,
    raw,
    reset,
    settings,
    window,
)
from ztm.net.base import Exchange, SessionLimits
from ztm.testing import run_virtual, settle

CALM = 11
"""ENHANCE_YOUR_CALM (RFC 9113 section 7)."""


@pytest.fixture
async def requests() -> Requests:
    return Requests()


@pytest.fixture
async def client(requests: Requests) -> AsyncIterator[ForeignPeer]:
    peer = ForeignPeer("server", requests, limits=SessionLimits(streams=10, resets=2, controls=2))
    yield peer
    peer.session.close()
    await settle()


async def test_excess_streams_are_refused_one_by_one(client: ForeignPeer, requests: Requests) -> None:
    client.heard()
    for number in range(1, 61, 2):
        client.say(client.head(number, CONNECT), data(number, b"at once"))
    refused = of_type(await client.hears(), RstStreamFrame)
    assert {frame.stream_id for frame in refused} == set(range(21, 61, 2))
    assert {frame.error_code for frame in refused if frame.stream_id == 21} & {7}
    assert len(requests.taken) == client.session.streams == 10
    assert client.session.is_open
    client.say(reset(1), client.head(61, CONNECT))
    await settle()
    assert requests.last.number == 61


async def test_rapid_resets_end_the_session(client: ForeignPeer) -> None:
    client.heard()
    for number in range(1, 101, 2):
        client.say(client.head(number, GET, end=True), reset(number))
        await asyncio.sleep(0)
    assert "reset" in await client.session.closed()
    assert [frame.error_code for frame in of_type(await client.hears(), GoAwayFrame)] == [CALM]


async def test_resets_of_streams_that_were_answered_are_no_attack() -> None:
    async def answer(exchange: Exchange) -> None:
        exchange.respond(200)
        await exchange.ended()

    peer = ForeignPeer("server", answer, limits=SessionLimits(resets=2))
    for number in range(1, 201, 2):
        peer.say(peer.head(number, CONNECT))
        await settle(3)
        peer.say(reset(number))
    assert peer.session.is_open
    assert peer.session.streams == 0
    peer.session.close()


@pytest.mark.parametrize("frame", [ping(), settings({}), settings({SettingsFrame.INITIAL_WINDOW_SIZE: 5})])
async def test_a_flood_of_control_frames_ends_the_session(client: ForeignPeer, frame: Frame) -> None:
    client.heard()
    for _ in range(50):
        client.say(frame)
    assert "too many" in await client.session.closed()
    assert [made.error_code for made in of_type(await client.hears(), GoAwayFrame)] == [CALM]


async def test_a_few_control_frames_are_no_flood(client: ForeignPeer) -> None:
    for _ in range(15):
        client.say(ping())
    assert client.session.is_open


async def test_a_flood_of_continuations_ends_the_session(client: ForeignPeer) -> None:
    client.say(raw(1, 0, 1, b""))
    for _ in range(100):
        client.say(raw(9, 0, 1, b"x"))
        if not client.session.is_open:
            break
    assert not client.session.is_open


async def test_a_head_that_is_too_large_ends_the_session_in_bounded_memory(client: ForeignPeer) -> None:
    fields = [(f"x-{number}", "v" * 4000) for number in range(100)]
    client.say(*in_pieces(client.head(1, (*CONNECT, *fields)), 16384))
    assert not client.session.is_open


async def test_a_small_head_that_unpacks_to_a_large_one_ends_the_session(client: ForeignPeer) -> None:
    fields = [("x-bomb", "v" * 3000)]
    client.say(client.head(1, (*CONNECT, *fields)))
    assert client.session.is_open
    client.say(client.head(3, (*CONNECT, *(fields * 1000))))
    assert not client.session.is_open


async def test_a_frame_is_refused_by_the_size_it_announces(client: ForeignPeer) -> None:
    """Nothing of its content has come, and nothing of it is gathered."""
    client.say(b"\xff\xff\xff" + raw(0, 0, 1)[3:])
    assert not client.session.is_open


async def test_a_header_block_is_refused_by_the_size_it_announces() -> None:
    peer = ForeignPeer("server", Requests(), limits=SessionLimits(header_bytes=20_000))
    peer.say(raw(1, 0, 1, bytes(16_000)))
    assert peer.session.is_open
    peer.say((16_000).to_bytes(3, "big") + raw(9, 0, 1)[3:])
    assert not peer.session.is_open


async def test_a_frame_that_is_too_long_ends_the_session(client: ForeignPeer) -> None:
    client.say(raw(0, 0, 1, bytes(16385)))
    assert not client.session.is_open


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(raw(0, 0, 0, b"x"), id="data on no stream"),
        pytest.param(raw(1, 4, 0, b"\x82"), id="head on no stream"),
        pytest.param(raw(1, 4, 2, b"\x82"), id="even stream number"),
        pytest.param(raw(1, 4, 1, b"\xff\xff\xff\xff\xff"), id="header block that is none"),
        pytest.param(raw(1, 4, 1, b"\x82\x3f\xe1\xff\x3f"), id="table size beyond the setting"),
        pytest.param(raw(3, 0, 0, bytes(4)), id="reset of no stream"),
        pytest.param(raw(3, 0, 1, bytes(3)), id="reset of a wrong length"),
        pytest.param(raw(4, 0, 0, bytes(5)), id="settings of a wrong length"),
        pytest.param(raw(4, 0, 1, bytes(6)), id="settings on a stream"),
        pytest.param(raw(4, 0, 0, b"\0\x04\xff\xff\xff\xff"), id="window setting too large"),
        pytest.param(raw(4, 0, 0, b"\0\x05\0\0\0\x01"), id="frame size setting too small"),
        pytest.param(raw(6, 0, 0, bytes(7)), id="ping of a wrong length"),
        pytest.param(raw(6, 0, 1, bytes(8)), id="ping on a stream"),
        pytest.param(raw(7, 0, 0, bytes(3)), id="short goaway"),
        pytest.param(raw(8, 0, 0, bytes(3)), id="short window update"),
        pytest.param(raw(9, 4, 3, b"\x82"), id="continuation of nothing"),
        pytest.param(raw(1, 0, 1, b"\x82") + raw(6, 0, 0, bytes(8)), id="ping within a header block"),
        pytest.param(raw(0, 8, 1, b"\xff"), id="more padding than frame"),
        pytest.param(raw(5, 4, 1, b"\0\0\0\x02\x82"), id="push promise from a client"),
    ],
)
async def test_a_malformed_frame_ends_the_session_and_raises_nothing(client: ForeignPeer, said: bytes) -> None:
    client.say(client.head(3, CONNECT), said)
    assert not client.session.is_open
    assert client.flow.is_end_sent
    client.say(said)  # what comes after is ignored


async def test_a_stream_number_that_goes_back_harms_only_that_stream(client: ForeignPeer, requests: Requests) -> None:
    client.say(client.head(9, CONNECT), client.head(5, CONNECT))
    await settle()
    assert client.session.is_open
    assert [exchange.number for exchange in requests.taken] == [9]


async def test_empty_frames_cost_no_memory(client: ForeignPeer, requests: Requests) -> None:
    client.say(client.head(1, CONNECT))
    for _ in range(1000):
        client.say(data(1))
    await settle()
    assert client.session.held == 0
    assert not requests.last._held


def test_random_bytes_end_the_session_at_most() -> None:
    @hypothesis_settings(deadline=None, max_examples=150)
    @given(st.lists(st.binary(max_size=200), max_size=8), st.booleans(), st.sampled_from(["client", "server"]))
    def fuzz(parts: list[bytes], preface: bool, role: str) -> None:
        run_virtual(_survive(role, parts, preface=preface))

    fuzz()


def test_frames_with_random_contents_end_the_session_at_most() -> None:
    frames = st.builds(raw, st.integers(0, 11), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40))

    @hypothesis_settings(deadline=None, max_examples=300)
    @given(st.lists(frames, max_size=12), st.sampled_from(["client", "server"]))
    def fuzz(parts: list[bytes], role: str) -> None:
        run_virtual(_survive(role, parts, preface=True))

    fuzz()


def test_a_good_conversation_with_flipped_bits_ends_the_session_at_most() -> None:
    """Each time, one byte of a long and valid exchange is another."""
    said = PREFACE + SettingsFrame(0).serialize()
    peer_frames = _conversation()
    good = said + b"".join(peer_frames)
    chance = random.Random(1)
    for _ in range(300):
        bad = bytearray(good)
        bad[chance.randrange(len(PREFACE), len(bad))] ^= 1 << chance.randrange(8)
        cut = chance.randrange(len(bad))
        run_virtual(_survive("server", [bytes(bad[:cut]), bytes(bad[cut:])], preface=False))


def _conversation() -> list[bytes]:
    from hpack import Encoder

    encoder = Encoder()
    made = []
    for number in (1, 3, 5):
        made.append(raw(1, 4, number, encoder.encode(list(CONNECT))))
        made.append(data(number, b"some bytes", padding=3).serialize())
        made.append(window(number, 100).serialize())
    made += [ping().serialize(), data(1, end=True).serialize(), reset(3).serialize(), settings({4: 9}).serialize()]
    return [*made, goaway(0, b"bye").serialize()]


async def _survive(role: str, parts: list[bytes], *, preface: bool) -> None:
    async def answer(exchange: Exchange) -> None:
        exchange.respond(200)
        while said := await exchange.read():
            await exchange.write(said)

    peer = ForeignPeer("server" if role == "server" else "client", answer, preface=preface)
    if role == "client":
        for _ in range(3):
            peer.session.open(CONNECT).write_now(b"data")
    for part in parts:
        peer.say(part)
        await settle(3)
    if not peer.session.is_open:
        assert await peer.session.closed()
        assert peer.session.streams == 0
    peer.session.close()
    assert peer.session.held == 0 or peer.session.streams == 0
    await settle()


@pytest.mark.parametrize("frames", ["two heads", "a body without a head"])
async def test_a_server_that_answers_out_of_order_ends_its_session_and_every_wait(frames: str) -> None:
    peer = ForeignPeer("client")
    exchange = peer.session.open(CONNECT)
    waiting = [asyncio.ensure_future(wait) for wait in (exchange.response(), exchange.read(), exchange.ended())]
    await settle()
    peer.say(*([peer.head(1, OK), peer.head(1, OK)] if frames == "two heads" else [data(1, b"x")]))
    await asyncio.wait(waiting, timeout=5)
    assert all(wait.done() for wait in waiting)
    assert not peer.session.is_open
    await asyncio.gather(*waiting, return_exceptions=True)
