"""A session with foreign peers: what it accepts from them, what it sends, and what it never sends."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from http2_peer import (
    CONNECT,
    GET,
    OK,
    ForeignPeer,
    Requests,
    body,
    data,
    goaway,
    in_pieces,
    is_set,
    of_type,
    ping,
    raw,
    reset,
    settings,
)
from ztm.errors import BrokenStreamError, LimitError
from ztm.net.base import Exchange
from ztm.testing import settle


@pytest.fixture
async def requests() -> Requests:
    return Requests()


@pytest.fixture
async def client(requests: Requests) -> AsyncIterator[ForeignPeer]:
    """A foreign client; the session is a server's."""
    peer = ForeignPeer("server", requests)
    yield peer
    peer.session.close()
    await settle()


@pytest.fixture
async def server() -> AsyncIterator[ForeignPeer]:
    """A foreign server; the session is a client's."""
    peer = ForeignPeer("client")
    yield peer
    peer.session.close()
    await settle()


# ---------------------------------------------------------------------- settings and heads


async def test_the_settings_are_those_that_v1_peers_know(server: ForeignPeer) -> None:
    sent = of_type(server.heard(), SettingsFrame)[0].settings
    assert sent[SettingsFrame.HEADER_TABLE_SIZE] == 4096
    assert sent[SettingsFrame.ENABLE_PUSH] == 0
    assert sent[SettingsFrame.INITIAL_WINDOW_SIZE] == 1 << 20
    assert sent[SettingsFrame.MAX_FRAME_SIZE] == 16384


async def test_connect_with_path_and_scheme_is_accepted(client: ForeignPeer, requests: Requests) -> None:
    client.say(client.head(1, CONNECT))
    await settle()
    assert tuple(requests.last.request) == CONNECT
    requests.last.respond(200)
    await requests.last.write(b"hello")
    said = await client.hears()
    head = of_type(said, HeadersFrame)[0]
    assert client.fields(head) == [(":status", "200")]
    assert not is_set(head, "END_STREAM")
    assert body(said, 1) == b"hello"


async def test_connect_is_sent_with_path_and_scheme_and_no_end(server: ForeignPeer) -> None:
    server.session.open(CONNECT)
    head = of_type(await server.hears(), HeadersFrame)[0]
    assert server.fields(head) == list(CONNECT)
    assert not is_set(head, "END_STREAM")


async def test_a_request_without_a_body_ends_with_an_empty_frame(server: ForeignPeer) -> None:
    server.session.open(GET, end=True)
    said = await server.hears()
    head, end = of_type(said, HeadersFrame)[0], of_type(said, DataFrame)[0]
    assert not is_set(head, "END_STREAM")
    assert (end.data, is_set(end, "END_STREAM")) == (b"", True)


async def test_content_length_is_never_sent(client: ForeignPeer, server: ForeignPeer, requests: Requests) -> None:
    """v1 keeps the last one per connection and ends the connection over it (spec 4.2)."""
    client.say(client.head(1, GET, end=True))
    await settle()
    requests.last.respond(200, [("content-type", "text/plain"), ("content-length", "2")])
    requests.last.write_now(b"hi")
    head = of_type(await client.hears(), HeadersFrame)[0]
    assert client.fields(head) == [(":status", "200"), ("content-type", "text/plain")]
    server.session.open((*GET, ("content-length", "0")), end=True)
    head = of_type(await server.hears(), HeadersFrame)[0]
    assert server.fields(head) == list(GET)


async def test_a_wrong_content_length_harms_nobody(client: ForeignPeer, requests: Requests) -> None:
    client.say(client.head(1, CONNECT), client.head(3, (*GET, ("content-length", "5"))), data(3, b"ab", end=True))
    await settle()
    assert await requests.taken[1].read() == b"ab"
    assert await requests.taken[1].read() == b""
    client.say(client.head(5, (*GET, ("content-length", "many"))), data(5, b"abc", end=True))
    await settle()
    assert await requests.last.read() == b"abc"
    assert client.session.is_open


async def test_a_long_head_in_pieces_is_put_together(client: ForeignPeer, requests: Requests) -> None:
    fields = (*CONNECT, ("x-long", "v" * 20_000))
    client.say(*in_pieces(client.head(1, fields), 1024))
    await settle()
    assert tuple(requests.last.request) == fields


async def test_bytes_may_arrive_one_at_a_time(client: ForeignPeer, requests: Requests) -> None:
    said = client.head(1, CONNECT).serialize() + data(1, b"xyz", end=True).serialize()
    for at in range(len(said)):
        client.say(said[at : at + 1])
    await settle()
    assert await requests.last.read() == b"xyz"
    assert await requests.last.read() == b""


async def test_end_on_the_head_is_accepted(client: ForeignPeer, requests: Requests) -> None:
    client.say(client.head(1, GET, end=True))
    await settle()
    assert await requests.last.read() == b""


async def test_trailers_are_dropped_and_end_the_stream(
    client: ForeignPeer, server: ForeignPeer, requests: Requests
) -> None:
    client.say(client.head(1, GET), data(1, b"body"), client.head(1, [("x-trailer", "t")], end=True))
    await settle()
    assert await requests.last.read() == b"body"
    assert await requests.last.read() == b""
    exchange = server.session.open(GET, end=True)
    server.say(server.head(1, OK), data(1, b"body"), server.head(1, [("x-trailer", "t")], end=True))
    assert await exchange.response() == (200, list(OK))
    assert await exchange.read() == b"body"
    assert await exchange.read() == b""


async def test_an_informational_answer_is_not_the_answer(server: ForeignPeer) -> None:
    exchange = server.session.open(GET, end=True)
    server.say(server.head(1, [(":status", "103")]), server.head(1, [(":status", "204")], end=True))
    assert (await exchange.response())[0] == 204


async def test_an_answer_without_a_number_is_a_bad_gateway(server: ForeignPeer) -> None:
    exchange = server.session.open(GET, end=True)
    server.say(server.head(1, [(":status", "fine")], end=True))
    assert (await exchange.response())[0] == 502


async def test_header_values_that_are_no_text_do_not_end_the_session(client: ForeignPeer, requests: Requests) -> None:
    block = bytes(client.head(1, GET).data) + b"\x00\x05x-bin\x02\xff\xfe"
    client.say(raw(1, 4, 1, block))
    await settle()
    assert dict(requests.last.request)["x-bin"] == "\ufffd\ufffd"


async def test_requests_without_their_pseudo_headers_harm_nobody(client: ForeignPeer, requests: Requests) -> None:
    client.say(client.head(1, [("x", "y")]), client.head(3, [(":method", "GET")]), client.head(5, GET, end=True))
    await settle()
    assert client.session.is_open
    assert tuple(requests.last.request) == GET


# ---------------------------------------------------------------------- ends


async def test_both_halves_end_on_data(client: ForeignPeer, requests: Requests) -> None:
    client.say(client.head(1, CONNECT), data(1, b"bye", end=True))
    await settle()
    exchange = requests.last
    exchange.respond(200)
    assert await exchange.read() == b"bye"
    assert await exchange.read() == b""
    assert not exchange.is_over
    await exchange.write(b"still here")
    exchange.end()
    said = await client.hears()
    assert body(said, 1) == b"still here"
    assert is_set(of_type(said, DataFrame)[-1], "END_STREAM")
    assert exchange.is_over
    assert client.session.streams == 0


async def test_a_reset_ends_the_stream_for_reader_and_writer(server: ForeignPeer) -> None:
    exchange = server.session.open(CONNECT)
    server.say(server.head(1, OK), data(1, b"half"), reset(1))
    assert (await exchange.response())[0] == 200
    assert await exchange.read() == b"half"
    with pytest.raises(BrokenStreamError, match="reset"):
        await exchange.read()
    with pytest.raises(BrokenStreamError):
        await exchange.write(b"more")
    assert server.session.is_open
    assert server.session.streams == 0


async def test_a_stream_that_is_reset_without_an_answer_is_broken(server: ForeignPeer) -> None:
    exchange = server.session.open(CONNECT)
    asking = asyncio.ensure_future(exchange.response())
    await settle()
    server.say(reset(1))
    with pytest.raises(BrokenStreamError):
        await asking
    assert server.session.is_open


async def test_goaway_ends_the_session_at_once_with_its_reason(server: ForeignPeer) -> None:
    exchange = server.session.open(CONNECT)
    server.say(goaway(0, b"restarting"))
    assert await server.session.closed() == "restarting"
    with pytest.raises(BrokenStreamError, match="restarting"):
        await exchange.response()
    assert server.flow.is_end_sent
    with pytest.raises(BrokenStreamError):
        server.session.open(GET)


async def test_goaway_without_words_tells_its_code(server: ForeignPeer) -> None:
    server.say(goaway(9))
    assert "9" in await server.session.closed()


async def test_closing_says_why_and_ends_the_stream_below(server: ForeignPeer) -> None:
    server.session.close("moved to another hub")
    server.session.close("twice")
    said = of_type(server.heard(), GoAwayFrame)
    assert [(frame.error_code, bytes(frame.additional_data)) for frame in said] == [(0, b"moved to another hub")]
    assert server.flow.is_end_sent


async def test_the_end_of_the_stream_below_is_the_end_of_the_session(server: ForeignPeer) -> None:
    exchange = server.session.open(CONNECT)
    server.flow.finished()
    assert await server.session.closed()
    with pytest.raises(BrokenStreamError):
        await exchange.read()


async def test_late_frames_for_an_aborted_stream_harm_nobody(server: ForeignPeer) -> None:
    aborted = server.session.open(CONNECT)
    aborted.abort()
    kept = server.session.open(CONNECT)
    server.say(server.head(1, OK), data(1, b"late"), server.head(1, [("x", "y")], end=True), reset(1))
    server.say(server.head(3, OK), data(3, b"good"))
    assert (await kept.response())[0] == 200
    assert await kept.read() == b"good"


async def test_late_frames_harm_nobody_however_many_streams_were_aborted_since(server: ForeignPeer) -> None:
    for _ in range(3000):
        server.session.open(CONNECT).abort()
    server.say(server.head(1, OK), data(1, b"late"), reset(1))
    exchange = server.session.open(GET, end=True)
    server.say(server.head(exchange.number, OK, end=True))
    assert (await exchange.response())[0] == 200


async def test_late_frames_of_a_client_harm_nobody_however_many_streams_were_aborted_since(
    client: ForeignPeer, requests: Requests
) -> None:
    for number in range(1, 6001, 2):
        client.say(client.head(number, CONNECT))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        requests.last.respond(200)
        requests.last.abort()
    client.say(data(1, b"late"), client.head(1, [("x", "y")], end=True), reset(1))
    client.say(client.head(7001, GET, end=True))
    await settle()
    assert client.session.is_open
    assert requests.last.number == 7001


# ---------------------------------------------------------------------- pings, prefaces, settings


async def test_a_ping_is_answered_with_its_own_bytes(client: ForeignPeer) -> None:
    client.heard()
    client.say(ping(b"abcdefgh"))
    answers = [frame for frame in of_type(await client.hears(), PingFrame) if is_set(frame, "ACK")]
    assert [bytes(frame.opaque_data) for frame in answers] == [b"abcdefgh"]


async def test_requests_may_be_sent_before_the_server_has_shown_its_settings() -> None:
    peer = ForeignPeer("client", preface=False)
    exchange = peer.session.open(CONNECT)
    await exchange.write(b"x" * 60_000)
    assert len(body(await peer.hears(), 1)) == 60_000  # within the window that every server begins with
    peer.say(SettingsFrame(0), peer.head(1, OK))
    assert (await exchange.response())[0] == 200
    peer.session.close()


async def test_settings_are_acknowledged_and_unknown_ones_ignored(client: ForeignPeer) -> None:
    client.heard()
    client.say(settings({0x99: 7, SettingsFrame.INITIAL_WINDOW_SIZE: 100}))
    assert any(is_set(frame, "ACK") for frame in of_type(await client.hears(), SettingsFrame))


async def test_priority_and_unknown_frames_are_ignored(client: ForeignPeer, requests: Requests) -> None:
    client.say(raw(2, 0, 1, b"\0\0\0\0\x10"), raw(0x55, 0xFF, 0, b"what"), client.head(1, GET, end=True))
    await settle()
    assert requests.taken
    assert client.session.is_open


async def test_a_push_promise_ends_the_session(server: ForeignPeer) -> None:
    server.session.open(GET, end=True)
    server.say(raw(5, 4, 1, b"\0\0\0\x02" + bytes(server.encoder.encode(list(GET)))))
    assert await server.session.closed()


async def test_a_refused_stream_is_told_as_such(server: ForeignPeer) -> None:
    exchange = server.session.open(GET, end=True)
    server.say(reset(1, 7))
    with pytest.raises(BrokenStreamError, match="refused"):
        await exchange.response()


async def test_requests_to_a_session_that_takes_none_are_refused() -> None:
    peer = ForeignPeer("server", None)
    peer.heard()
    peer.say(peer.head(1, GET, end=True))
    refused = of_type(await peer.hears(), RstStreamFrame)
    assert [(frame.stream_id, frame.error_code) for frame in refused] == [(1, 7)]
    assert peer.session.is_open
    peer.session.close()


async def test_a_handler_that_never_answers_is_a_reset_and_not_a_body_without_a_head() -> None:
    """Many peers, ours too, end the session over DATA before HEADERS."""

    async def forgetful(exchange: Exchange) -> None:
        await exchange.read()

    peer = ForeignPeer("server", forgetful)
    peer.heard()
    peer.say(peer.head(1, GET, end=True), peer.head(3, CONNECT), data(3, b"x"))
    said = await peer.hears()
    assert not of_type(said, DataFrame)
    assert [frame.stream_id for frame in of_type(said, RstStreamFrame)] == [1, 3]
    assert peer.session.streams == 0
    peer.session.close()


async def test_a_session_that_has_used_up_its_stream_numbers_says_so(server: ForeignPeer) -> None:
    server.session.open(GET, end=True)
    server.session._conn.highest_outbound_stream_id = 2**31 - 1
    with pytest.raises(LimitError):
        server.session.open(GET)


async def test_all_that_came_before_the_peer_closed_the_connection_is_taken(server: ForeignPeer) -> None:
    exchange = server.session.open(GET, end=True)
    server.say(server.head(1, OK), *(data(1, b"%4d" % number) for number in range(1000)), data(1, end=True))
    server.say(goaway(0, b"that was all"))
    server.flow.finished()
    assert await server.session.closed() == "that was all"
    seen = b""
    while said := await exchange.read():
        seen += said
    assert seen == b"".join(b"%4d" % number for number in range(1000))
