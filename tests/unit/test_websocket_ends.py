"""How a WebSocket ends: by either side's close, by a failure, and by a peer that breaks the rules."""

import asyncio
import logging
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.events import BytesMessage, CloseConnection, Message, TextMessage

from memory_stream import stream_pair
from websocket_client import WebSocketClient
from websocket_served import LIMIT, LIMITS, MASK, Told, accepting, opened, settled
from ztm.errors import BrokenStreamError, ForbiddenError
from ztm.net.asgi import Receive, Send
from ztm.net.http1_server import serve_http1


async def test_the_peers_close_is_answered_and_told() -> None:
    app = Told()
    async with opened(app) as client:
        assert await client.close(3001, "bye") == (3001, "bye")
        assert await client.stream.read() == b""
    assert app.end == (3001, "bye")


async def test_a_close_without_a_code_and_an_end_without_a_close_are_told_apart() -> None:
    app = Told()
    async with opened(app) as client:
        await client.stream.write(b"\x88\x80\x00\x00\x00\x00")
        assert await client.receive() == (1005, "")
    assert app.end == (1005, "")
    async with opened(app) as client:
        client.stream.end()
        assert await client.receive() is None
    assert app.end == (1006, "")


async def test_a_cut_stream_is_told_and_ends_the_serving() -> None:
    app = Told()
    client, server = stream_pair()
    async with asyncio.timeout(5):
        task = asyncio.create_task(serve_http1(server, app, {}, LIMITS))
        await WebSocketClient(client).open()
        client.abort("gone")
        await task
    assert app.end is not None
    assert app.end[0] == 1006


async def test_the_applications_close_has_its_code_and_reason() -> None:
    ends: list[object] = []

    async def talk(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": 4000, "reason": "ż" * 100})
        await send({"type": "websocket.close", "code": 4001})
        with pytest.raises(OSError, match="closed"):
            await send({"type": "websocket.send", "text": "late"})
        ends.append((await receive())["code"])

    async with opened(accepting(talk)) as client:
        code, reason = await client.receive()  # type: ignore[misc]
        assert (code, reason) == (4000, "ż" * 61)
        for late in (b"\x89\x80" + MASK, b"\x82\xfe\x03\xe9" + MASK + bytes(LIMIT + 1)):  # a ping, and more than may be
            client.stream.write_now(late)
        client.put(CloseConnection(4000))
        assert await client.stream.read() == b""
    assert ends == [4000]


async def test_what_an_application_did_not_receive_does_not_keep_its_close_from_ending_well() -> None:
    go = asyncio.Event()

    async def talk(_receive: Receive, _send: Send) -> None:
        await go.wait()

    async with opened(accepting(talk), window=200_000) as client:
        for _ in range(150):
            client.put(BytesMessage(data=bytes(900)))
        await settled()
        go.set()
        assert await client.receive() == (1000, "")
        client.put(CloseConnection(1000))
        assert await client.stream.read() == b""


async def test_an_application_that_ends_closes_with_1000_and_one_that_fails_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def returns(_receive: Receive, _send: Send) -> None:
        return

    async def refuses(_receive: Receive, _send: Send) -> None:
        raise ForbiddenError("not any more")

    async def breaks(_receive: Receive, _send: Send) -> None:
        raise ValueError("secret")

    ends = ((returns, (1000, "")), (refuses, (1011, "not any more")), (breaks, (1011, "internal error")))
    for talk, end in ends:
        async with opened(accepting(talk)) as client:
            assert await client.receive() == end
            client.put(CloseConnection(end[0]))
            assert await client.stream.read() == b""
    assert [record.levelno for record in caplog.records if record.levelno >= logging.ERROR] == [logging.ERROR]


async def test_sending_to_a_peer_that_has_left_is_an_os_error_as_asgi_promises() -> None:
    raised: list[BaseException] = []

    async def talk(receive: Receive, send: Send) -> None:
        await receive()
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as error:
            raised.append(error)
            raise

    async with opened(accepting(talk)) as client:
        await client.close()
    (error,) = raised
    assert isinstance(error, BrokenStreamError)
    assert str(error) == "the WebSocket is closed"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x01a", 1002),  # not masked
        (b"\xc1\x81" + MASK + b"a", 1002),  # a reserved bit, as of compression
        (b"\x83\x80" + MASK, 1002),  # a reserved opcode
        (b"\x8b\x80" + MASK, 1002),
        (b"\x09\x80" + MASK, 1002),  # a control frame in fragments
        (b"\x89\xfe\x00\x7e" + MASK + bytes(126), 1002),  # a long control frame
        (b"\x80\x81" + MASK + b"a", 1002),  # a continuation of nothing
        (b"\x01\x81" + MASK + b"a" + b"\x81\x81" + MASK + b"b", 1002),  # a message within a message
        (b"\x82\xfe\x00\x01" + MASK + b"a", 1002),  # a length not in its shortest form
        (b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01" + MASK, 1002),  # a negative length
        (b"\x88\x81" + MASK + b"\x03", 1002),  # half a code
        (b"\x88\x82" + MASK + b"\x03\xed", 1002),  # 1005 is in no frame
        (b"\x88\x82" + MASK + b"\x00\x01", 1002),
        (b"\x88\x83" + MASK + b"\x03\xe8\xff", 1007),
        (b"\x81\x81" + MASK + b"\xff", 1007),
        (b"\x81\x83" + MASK + b"\xed\xa0\x80", 1007),  # half of a surrogate pair
        (b"\x81\x81" + MASK + b"\xc5", 1007),  # ends within a character
        (b"\x01\x81" + MASK + b"\xc5" + b"\x80\x81" + MASK + b"A", 1007),
        (b"\x82\xfe\x03\xe9" + MASK + bytes(LIMIT + 1), 1009),
        (b"\x82\xff\x7f" + bytes(7) + MASK + bytes(LIMIT + 1), 1009),  # announced larger than any memory
        ((b"\x02\xfe\x02\x00" + MASK + bytes(512)) + (b"\x80\xfe\x02\x00" + MASK + bytes(512)), 1009),
        (b"\x81\xfe\x03\xea" + MASK + "ż".encode() * (LIMIT // 2 + 1), 1009),  # bytes count, not characters
    ],
)
async def test_a_peer_that_breaks_the_rules_is_told_which_and_closed(sent: bytes, code: int) -> None:
    app = Told()
    async with opened(app) as client:
        client.stream.write_now(sent)
        told = await client.receive()
        assert isinstance(told, tuple)
        assert told[0] == code
        assert await client.stream.read() == b""
    assert app.end == told


async def test_a_message_of_exactly_the_bound_is_taken() -> None:
    async with opened() as client:
        await client.send(bytes(LIMIT // 2), bytes(LIMIT - LIMIT // 2))
        assert await client.receive() == bytes(LIMIT)


# ---------------------------------------------------------------------- whatever comes, however it is cut

MESSAGES = st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=300)), min_size=1, max_size=5)


@given(MESSAGES, st.lists(st.integers(0, 1500), max_size=12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_messages_arrive_whole_wherever_they_are_cut(
    messages: list[str | bytes], cuts: list[int], is_bytewise: bool
) -> None:
    async def run() -> None:
        async with opened() as client:
            sent = b""
            for message in messages:
                kind: type[Message] = TextMessage if isinstance(message, str) else BytesMessage  # type: ignore[type-arg]
                half = len(message) // 2
                sent += client.wire.send(kind(data=message[:half], message_finished=False))
                sent += client.wire.send(kind(data=message[half:], message_finished=True))
            points = (
                range(len(sent) + 1) if is_bytewise else sorted({0, len(sent), *(c for c in cuts if c < len(sent))})
            )
            for start, end in pairwise(points):
                await client.stream.write(sent[start:end])
            for message in messages:
                assert await client.receive() == message
            assert await client.close() == (1000, "")

    asyncio.run(run())


FRAMES = st.builds(
    lambda first, size, rest: bytes((first, 0x80 | size)) + MASK + rest,
    st.integers(0, 255), st.integers(0, 127), st.binary(max_size=130),
)  # fmt: skip


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=60), FRAMES), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_garbage_after_the_handshake_ends_in_a_close_or_in_nothing(pieces: list[bytes]) -> None:
    async def run() -> None:
        app = Told()
        async with opened(app) as client:
            for piece in pieces:
                client.stream.write_now(piece)
            client.stream.end()
            while (told := await client.receive()) is not None and not isinstance(told, tuple):
                pass
            assert told is None or told[0] in (1002, 1005, 1007) or 1000 <= told[0] < 5000
        assert app.end is not None

    asyncio.run(run())
