"""Windows and back-pressure of a session: each byte is credited once, and a stalled stream stops nobody."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import DataFrame, Frame, SettingsFrame, WindowUpdateFrame

from http2_peer import CONNECT, GET, OK, ForeignPeer, Requests, body, data, of_type, raw, settings, window
from ztm.errors import BrokenStreamError
from ztm.net.base import SessionLimits
from ztm.net.http2 import session
from ztm.net.http2.session import SESSION_WINDOW
from ztm.testing import settle

FRAME = 16384
STREAM = 1 << 20


@pytest.fixture
async def requests() -> Requests:
    return Requests()


@pytest.fixture
async def client(requests: Requests) -> AsyncIterator[ForeignPeer]:
    peer = ForeignPeer("server", requests)
    yield peer
    peer.session.close()
    await settle()


def credit(said: list[Frame], number: int) -> int:
    return sum(frame.window_increment for frame in of_type(said, WindowUpdateFrame) if frame.stream_id == number)


async def opened(client: ForeignPeer, requests: Requests, *numbers: int) -> None:
    for number in numbers:
        client.say(client.head(number, CONNECT))
    await settle()
    for exchange in requests.taken[-len(numbers) :]:
        exchange.respond(200)
    await settle()


async def test_credit_is_given_when_bytes_are_read_and_not_when_they_arrive(
    client: ForeignPeer, requests: Requests
) -> None:
    await opened(client, requests, 1)
    client.heard()
    for _ in range(STREAM // FRAME):
        client.say(data(1, bytes(FRAME)))
    assert credit(await client.hears(), 1) == 0
    assert client.session.held == STREAM
    for _ in range(STREAM // FRAME):
        await requests.last.read()
    assert credit(await client.hears(), 1) == STREAM
    assert client.session.held == 0


async def test_a_peer_that_sends_beyond_its_window_ends_its_session(client: ForeignPeer, requests: Requests) -> None:
    await opened(client, requests, 1)
    for _ in range(STREAM // FRAME + 1):
        client.say(data(1, bytes(FRAME)))
    assert not client.session.is_open
    assert "window" in (await client.session.closed()).lower() or "flow" in (await client.session.closed()).lower()


async def test_padding_is_credited_also_where_there_is_nothing_else(client: ForeignPeer, requests: Requests) -> None:
    await opened(client, requests, 1)
    client.heard()
    for _ in range(1100):
        client.say(data(1, b"xy", padding=255), data(1, b"", padding=255))
        if requests.last._held:
            await requests.last.read()
    said = await client.hears()
    assert client.session.is_open
    assert client.session.held == 0
    assert credit(said, 1) >= 1100 * 514 - STREAM // 4


async def test_the_sessions_window_is_given_back_although_a_stream_is_stalled(
    client: ForeignPeer, requests: Requests
) -> None:
    await opened(client, requests, 1, 3)
    client.heard()
    for _ in range(STREAM // FRAME):
        client.say(data(1, bytes(FRAME)))
    sent = 0
    for _ in range(4 * SESSION_WINDOW // FRAME):
        client.say(data(3, bytes(FRAME)))
        sent += FRAME
        await requests.taken[1].read()
    said = await client.hears()
    assert client.session.is_open
    assert credit(said, 3) >= sent - STREAM // 4
    assert credit(said, 0) >= sent - SESSION_WINDOW


async def test_a_session_that_holds_too_much_stops_and_goes_on_as_soon_as_it_holds_less(
    requests: Requests,
) -> None:
    peer = ForeignPeer("server", requests, limits=SessionLimits(held=4 << 20))
    numbers = range(1, 2 * SESSION_WINDOW // STREAM, 2)
    await opened(peer, requests, *numbers)
    peer.heard()
    for number in numbers:
        for _ in range(STREAM // FRAME):
            peer.say(data(number, bytes(FRAME)))
    assert credit(await peer.hears(), 0) < SESSION_WINDOW  # a part of the window is kept shut
    for exchange in requests.taken:
        while exchange._held:
            await exchange.read()
    assert credit(await peer.hears(), 0) >= SESSION_WINDOW // 2  # without a word from the peer in between
    peer.session.close()


async def test_an_aborted_stream_gives_back_what_it_held(client: ForeignPeer, requests: Requests) -> None:
    await opened(client, requests, 1)
    client.say(data(1, bytes(FRAME)))
    requests.last.abort()
    assert client.session.held == 0


# ---------------------------------------------------------------------- sending


async def test_no_more_is_sent_than_the_windows_allow(client: ForeignPeer, requests: Requests) -> None:
    client.say(settings({SettingsFrame.INITIAL_WINDOW_SIZE: 1000}))
    await opened(client, requests, 1)
    client.heard()
    writing = asyncio.ensure_future(requests.last.write(bytes(5000)))
    assert len(body(await client.hears(), 1)) == 1000
    client.say(window(1, 1500))
    assert len(body(await client.hears(), 1)) == 1500
    assert not writing.done()
    client.say(settings({SettingsFrame.INITIAL_WINDOW_SIZE: 10_000}))
    assert len(body(await client.hears(), 1)) == 2500
    await writing


async def test_the_end_waits_for_the_bytes_before_it(client: ForeignPeer, requests: Requests) -> None:
    client.say(settings({SettingsFrame.INITIAL_WINDOW_SIZE: 10}))
    await opened(client, requests, 1)
    client.heard()
    requests.last.write_now(bytes(25))
    requests.last.end()
    said = await client.hears()
    assert len(body(said, 1)) == 10
    assert not any("END_STREAM" in frame.flags for frame in said)
    client.say(window(1, 100))
    said = of_type(await client.hears(), DataFrame)
    assert sum(len(frame.data) for frame in said) == 15
    assert "END_STREAM" in said[-1].flags


async def test_frames_are_no_larger_than_the_peer_takes(client: ForeignPeer, requests: Requests) -> None:
    await opened(client, requests, 1)
    client.heard()
    requests.last.write_now(bytes(60_000))
    assert max(len(frame.data) for frame in of_type(await client.hears(), DataFrame)) == FRAME


async def test_streams_share_a_session_that_is_full_in_turns(client: ForeignPeer, requests: Requests) -> None:
    client.say(settings({SettingsFrame.INITIAL_WINDOW_SIZE: STREAM}))
    await opened(client, requests, 1, 3, 5)
    client.heard()
    for exchange in requests.taken:
        exchange.write_now(bytes(200_000))
    await client.hears()
    client.say(window(0, 10 * FRAME))
    said = of_type(await client.hears(), DataFrame)
    sizes = [sum(len(frame.data) for frame in said if frame.stream_id == number) for number in (1, 3, 5)]
    assert sum(sizes) == 10 * FRAME
    assert max(sizes) - min(sizes) <= 3 * FRAME


async def test_a_stream_without_a_window_does_not_stop_its_neighbours(client: ForeignPeer, requests: Requests) -> None:
    client.say(settings({SettingsFrame.INITIAL_WINDOW_SIZE: 0}), window(0, 1 << 20))
    await opened(client, requests, 1, 3)
    client.heard()
    for exchange in requests.taken:
        exchange.write_now(bytes(100))
    client.say(window(3, 100))
    said = await client.hears()
    assert body(said, 1) == b""
    assert len(body(said, 3)) == 100


async def test_many_streams_without_windows_hold_their_bytes_and_send_them_later(
    client: ForeignPeer, requests: Requests
) -> None:
    client.say(settings({SettingsFrame.INITIAL_WINDOW_SIZE: 0}))
    numbers = range(1, 401, 2)
    await opened(client, requests, *numbers)
    client.heard()
    for exchange in requests.taken:
        exchange.write_now(b"x" * 50)
    assert not of_type(await client.hears(), DataFrame)
    client.say(settings({SettingsFrame.INITIAL_WINDOW_SIZE: 65535}))
    said = await client.hears()
    assert all(len(body(said, number)) == 50 for number in numbers)


async def test_a_window_that_shrinks_below_zero_lets_nothing_through(client: ForeignPeer, requests: Requests) -> None:
    await opened(client, requests, 1)
    requests.last.write_now(bytes(1000))
    client.say(settings({SettingsFrame.INITIAL_WINDOW_SIZE: 100}))
    await client.hears()
    requests.last.write_now(bytes(10))
    client.say(window(1, 890))
    assert not of_type(await client.hears(), DataFrame)
    client.say(window(1, 20))
    assert len(body(await client.hears(), 1)) == 10


@pytest.mark.parametrize("number", [0, 1])
async def test_a_window_update_of_nothing_ends_the_session(
    client: ForeignPeer, requests: Requests, number: int
) -> None:
    await opened(client, requests, 1)
    client.say(raw(8, 0, number, bytes(4)))
    assert not client.session.is_open


async def test_a_window_that_overflows_harms_no_more_than_its_session(client: ForeignPeer, requests: Requests) -> None:
    await opened(client, requests, 1)
    client.say(window(1, 2**31 - 1))
    await settle()
    assert requests.last.is_over
    client.say(window(0, 2**31 - 1))
    assert not client.session.is_open


async def test_a_window_update_for_a_stream_that_is_over_is_ignored(client: ForeignPeer, requests: Requests) -> None:
    await opened(client, requests, 1)
    requests.last.abort()
    client.say(window(1, 100), window(1, 2**31 - 1))
    assert client.session.is_open


# ---------------------------------------------------------------------- the stream below


async def test_a_stalled_connection_makes_writers_wait(client: ForeignPeer, requests: Requests) -> None:
    await opened(client, requests, 1)
    client.say(window(0, 1 << 30), window(1, 1 << 30))
    client.flow.room = 0
    client.heard()
    written = 0

    async def write() -> None:
        nonlocal written
        while True:
            await requests.last.write(bytes(FRAME))
            written += FRAME

    writing = asyncio.ensure_future(write())
    await settle()
    assert len(client.flow.sent) < 1 << 20
    assert not writing.done()
    client.flow.broken("gone")
    with pytest.raises(BrokenStreamError, match="gone"):
        await writing


async def test_one_large_write_takes_time_in_proportion(client: ForeignPeer, requests: Requests) -> None:
    await opened(client, requests, 1)
    client.say(window(0, 1 << 30))
    client.flow.room = 0
    client.heard()
    sent = bytes(range(256)) * (16 << 12)
    requests.last.write_now(sent)
    received = bytearray()
    for _ in range(len(sent) // (STREAM // 4)):
        client.say(window(1, STREAM // 4))
        client.flow.take(client.flow._owed)
        received += body(await client.hears(), 1)
    assert bytes(received) == sent


async def test_answers_to_a_peer_that_does_not_read_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may ask for refusals, pongs and credit as fast as the wire takes them; then it is not read any more."""
    monkeypatch.setattr(session, "UNREAD", 64 << 10)
    peer = ForeignPeer("server", Requests(), limits=SessionLimits(streams=0))
    peer.flow.room = 0
    offered = peer.flow.credited
    for number in range(1, 20_001, 2):
        head = peer.head(number, GET, end=True).serialize()
        offered += len(head)
        peer.say(head)
        if number % 199 == 0:
            await asyncio.sleep(0)
    await settle()
    assert offered - peer.flow.credited > 10_000
    peer.flow.take(peer.flow._owed)
    assert peer.flow.credited >= offered
    peer.session.close()


async def test_an_answer_to_requests_begins_before_all_has_been_read(client: ForeignPeer, requests: Requests) -> None:
    client.say(client.head(1, CONNECT), data(1, b"early"))
    await settle()
    assert await requests.last.read() == b"early"
    requests.last.respond(200)
    said = await client.hears()
    assert client.fields(said[-1]) == list(OK)  # type: ignore[arg-type]
