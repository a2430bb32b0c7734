"""Messages of a WebSocket: whole, in order, and never more than their taker has room for."""

import asyncio

import pytest
from wsproto.events import BytesMessage, Ping, Pong, TextMessage

from memory_stream import stream_pair
from websocket_client import WebSocketClient, handshake
from websocket_served import LIMITS, accepting, echo, echoing, opened, served, settled
from ztm.net.asgi import HttpLimits, Receive, Scope, Send
from ztm.net.http1_server import serve_http1
from ztm.net.websocket_frames import FRAGMENT
from ztm.net.websocket_inbox import HELD


async def test_text_and_bytes_come_back_as_they_were() -> None:
    async with opened() as client:
        for message in ("hello", b"\x00\xff", "", b"", "żółw 🐢"):
            await client.send(message)
            assert await client.receive() == message
        assert await client.close(1000, "done") == (1000, "done")


async def test_frames_sent_with_the_handshake_are_read_after_it() -> None:
    async with served() as client:
        early = bytes(client.wire.send(TextMessage(data="early")))
        await client.stream.write(handshake() + early)
        head = await client.stream.read_until(b"\r\n\r\n")  # type: ignore[attr-defined]
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert await client.receive() == "early"


async def test_no_frame_leaves_before_the_application_has_accepted() -> None:
    go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await echo(scope, receive, send)

    async with served(app) as client:
        early = bytes(client.wire.send(Ping(payload=b"1"))) + bytes(client.wire.send(TextMessage(data="early")))
        await client.stream.write(handshake() + early)
        await settled()
        assert client.stream._in.held == 0  # type: ignore[attr-defined]
        go.set()
        assert (await client.stream.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")  # type: ignore[attr-defined]
        assert await client.receive() == "early"
        assert client.pongs == [b"1"]


async def test_fragments_are_one_message_and_control_frames_may_come_between() -> None:
    async with opened() as client:
        client.put(TextMessage(data="a", message_finished=False))
        client.put(Ping(payload=b"now"))
        client.put(Pong(payload=b"unasked"))
        client.put(TextMessage(data="", message_finished=False))
        client.put(TextMessage(data="b", message_finished=True))
        assert await client.receive() == "ab"
        assert client.pongs == [b"now"]


async def test_a_long_message_leaves_in_frames_that_others_can_come_between() -> None:
    text = "ż" * (FRAGMENT * 2 + 1)
    async with opened(echo, HttpLimits(message_bytes=1 << 20, linger_seconds=5), 1 << 20) as client:
        await client.send(text)
        assert await client.receive() == text
        await client.send(bytes(FRAGMENT))
        assert await client.receive() == bytes(FRAGMENT)


async def test_two_messages_sent_at_once_are_not_mixed() -> None:
    a, b = "a" * (FRAGMENT + 1), "b" * (FRAGMENT + 1)

    async def talk(_receive: Receive, send: Send) -> None:
        await asyncio.gather(*(send({"type": "websocket.send", "text": text}) for text in (a, b)))

    async with opened(accepting(talk), window=1000) as client:
        assert [await client.receive() for _ in range(3)] == [a, b, (1000, "")]


async def test_a_message_whose_sending_is_given_up_harms_none_behind_it() -> None:
    long = "a" * (FRAGMENT * 3)

    async def talk(_receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(send({"type": "websocket.send", "text": long}))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
        await send({"type": "websocket.send", "bytes": b"next"})

    async with opened(accepting(talk), window=1000) as client:
        assert [await client.receive() for _ in range(3)] == [long, b"next", (1000, "")]


async def test_text_without_utf_8_is_refused_before_any_of_it_is_sent() -> None:
    async def talk(_receive: Receive, send: Send) -> None:
        with pytest.raises(UnicodeEncodeError):
            await send({"type": "websocket.send", "text": "a" * FRAGMENT + "\ud800"})
        await send({"type": "websocket.send", "text": "fine"})

    async with opened(accepting(talk)) as client:
        assert await client.receive() == "fine"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": "a", "bytes": b"b"},
        {"type": "websocket.accept"},
        {"type": "websocket.http.response.start", "status": 200},
        {"type": "websocket.close", "code": 1005},
        {"type": "websocket.close", "code": 99},
    ],
)
async def test_a_message_that_makes_no_sense_is_the_applications_failure(message: dict[str, object]) -> None:
    async def talk(_receive: Receive, send: Send) -> None:
        with pytest.raises(RuntimeError):
            await send(message)

    async with opened(accepting(talk)) as client:
        assert await client.receive() == (1000, "")


# ---------------------------------------------------------------------- back-pressure


async def test_a_peer_that_does_not_read_stops_the_applications_sending() -> None:
    sent = 0

    async def talk(_receive: Receive, send: Send) -> None:
        nonlocal sent
        while sent < 100:
            await send({"type": "websocket.send", "bytes": bytes(1000)})
            sent += 1

    async with opened(accepting(talk), window=10_000) as client:
        await settled()
        assert sent == 9  # the tenth waits for room
        for _ in range(100):
            assert await client.receive() == bytes(1000)
        assert await client.receive() == (1000, "")


async def test_an_application_that_does_not_receive_stops_its_peer() -> None:
    go = asyncio.Event()

    async def talk(receive: Receive, send: Send) -> None:
        await go.wait()
        await echoing(receive, send)

    async with opened(accepting(talk), window=10_000) as client:
        message, passed = bytes(900), 0

        async def flood() -> None:
            nonlocal passed
            while passed < 300:
                await client.send(message)
                passed += 1

        flooding = asyncio.create_task(flood())
        await settled()
        assert HELD // 2 < passed * len(message) < HELD + 20_000
        go.set()
        for _ in range(300):
            assert await client.receive() == message
        await flooding


async def test_a_flood_of_empty_messages_is_held_back_too() -> None:
    go = asyncio.Event()
    seen = 0

    async def talk(receive: Receive, _send: Send) -> None:
        nonlocal seen
        await go.wait()
        while (await receive())["type"] == "websocket.receive":
            seen += 1

    async with opened(accepting(talk)) as client:
        server = client.stream.partner  # type: ignore[attr-defined]
        flood = b"".join(bytes(client.wire.send(BytesMessage(data=b""))) for _ in range(5000))
        client.stream.write_now(flood)
        client.stream.write_now(flood)
        await settled()
        assert len(server._in.chunks) == 1  # the second was not read
        go.set()
        await client.close()
    assert seen == 10_000


async def test_pings_are_answered_while_the_application_does_something_else() -> None:
    go = asyncio.Event()

    async def talk(_receive: Receive, _send: Send) -> None:
        await go.wait()

    async with opened(accepting(talk)) as client:
        await client.send("waits")
        client.put(Ping(payload=b"1"))
        event = await client.event()
        assert isinstance(event, Pong)
        go.set()
        assert await client.receive() == (1000, "")


async def test_a_flood_of_pings_from_a_peer_that_reads_no_pong_is_bounded() -> None:
    async with opened(window=2000) as client:

        async def flood() -> None:
            for _ in range(100):
                await client.stream.write(bytes(client.wire.send(Ping(payload=bytes(100)))))

        flooding = asyncio.create_task(flood())
        await settled()
        assert not flooding.done()
        assert client.stream._in.held < 3000  # type: ignore[attr-defined]
        while len(client.pongs) < 100:
            event = await client.event()
            assert isinstance(event, Pong)
            client.pongs.append(bytes(event.payload))
        await flooding


async def test_one_that_fails_harms_no_other() -> None:
    async def breaks(_receive: Receive, _send: Send) -> None:
        raise ValueError

    async with opened() as good, opened(accepting(breaks)) as bad:
        assert await bad.receive() == (1011, "internal error")
        await good.send("still here")
        assert await good.receive() == "still here"


async def test_a_serving_that_is_cancelled_ends_the_application() -> None:
    ended = asyncio.Event()

    async def talk(receive: Receive, send: Send) -> None:
        try:
            await echoing(receive, send)
        finally:
            ended.set()

    client, server = stream_pair()
    async with asyncio.timeout(5):
        before = asyncio.all_tasks()
        task = asyncio.create_task(serve_http1(server, accepting(talk), {}, LIMITS))
        await WebSocketClient(client).open()
        task.cancel()
        await asyncio.wait([task])
        assert ended.is_set()
        assert asyncio.all_tasks() == before
