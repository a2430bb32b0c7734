"""Handshakes with the proxy's port: whatever comes and however it is cut, there is the protocol's own end to it."""

import asyncio
import itertools
import logging
from collections.abc import Sequence

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memory_stream import MemoryStream, stream_pair
from ztm.apps.audit import Trail
from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.entry import socks4, socks5, socks_datagram
from ztm.apps.proxy.entry.destination import Destination
from ztm.apps.proxy.entry.detection import Speech, speech_of
from ztm.apps.proxy.entry.door import Door
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.apps.proxy.way import Passage
from ztm.apps.streams.reach import Early
from ztm.errors import BrokenStreamError, RefusedError, UsageError
from ztm.model import Peer
from ztm.net.aio import AioNetwork
from ztm.net.base import Meter, Stream

CANARY = b"canary-of-the-client"
"""What clients send early; nothing but the target may ever say it."""
LIMITS = DoorLimits(head_seconds=5, idle_seconds=5, linger_seconds=5, header_bytes=4096)
CREDENTIALS = Credentials.create("me", "secret")


class MemoryNetwork(AioNetwork):
    """Splices streams in memory."""

    async def splice(self, a: Stream, b: Stream, meter: Meter | None = None) -> None:
        async def carry(source: Stream, sink: Stream) -> None:
            while data := await source.read():
                await sink.write(data)
            sink.end()

        await asyncio.gather(carry(a, b), carry(b, a))


class Nowhere:
    """A way that refuses all."""

    async def open(self, host: str, port: int, early: Early) -> Passage:
        raise RefusedError("refused")

    async def open_datagrams(self, host: str, port: int) -> Passage:
        raise RefusedError("refused")


class Everywhere(Nowhere):
    """A way to a target that says ``target`` first, and at the end how much it was sent."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.heard = b""
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self, host: str, port: int, early: Early) -> Passage:
        self.asked.append((host, port))
        near, far = stream_pair()
        await near.write(early.data())
        self.tasks.append(asyncio.get_running_loop().create_task(self._serve(far)))
        return Passage(near, "exit")

    async def _serve(self, far: MemoryStream) -> None:
        await far.write(b"target:")
        self.heard = await far.read_all()
        await far.write(b"%d" % len(self.heard))
        far.end()


class Answering(Nowhere):
    """A way to a target that answers with certain bytes and ends."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def open(self, host: str, port: int, early: Early) -> Passage:
        near, far = stream_pair()
        far.write_now(self._answer)
        far.end()
        return Passage(near, "exit")


class NoAudit:
    def begin(self, trail: Trail) -> None: ...
    def end(self, trail: Trail) -> None: ...


async def talk(way: Nowhere, pieces: Sequence[bytes], credentials: Credentials | None = None) -> bytes | None:
    """What the door says to a client that sends `pieces` and ends its side; None if it cut the client."""
    near, far = stream_pair()
    door = Door(
        MemoryNetwork(), way, logging.LoggerAdapter(logging.getLogger("test"), {}), LIMITS, credentials,
        audit=NoAudit(), peer=Peer("me"),
    )  # fmt: skip

    async def serve() -> None:
        await door.accept(far)
        if not far.is_over:
            far.end()

    serving = asyncio.ensure_future(serve())
    try:
        async with asyncio.timeout(4):
            for piece in pieces:
                near.write_now(piece)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            near.end()
            answer = await near.read_all()
            await serving
            return answer
    except BrokenStreamError:
        await serving
        return None
    finally:
        serving.cancel()


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    at = sorted({0, len(data), *(one % (len(data) + 1) for one in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


CUTS = st.lists(st.integers(0, 400), max_size=12)
HOSTS = st.sampled_from(["web.test", "10.1.2.3", "2001:db8::1", "a-b.c_d.test"])
PORTS = st.integers(1, 65535)


def socks5_wish(host: str, port: int, *, password: bool) -> tuple[bytes, bytes]:
    """A whole handshake, and its answer where it is granted."""
    asked = b"\x05\x01\x00" + socks5.address_bytes(host, port)
    done = b"\x05\x00\x00\x01" + bytes(6)
    if password:
        return b"\x05\x02\x00\x02" + b"\x01\x02me\x06secret" + asked, b"\x05\x02\x01\x00" + done
    return b"\x05\x01\x00" + asked, b"\x05\x00" + done


def socks4_wish(host: str, port: int) -> tuple[bytes, bytes]:
    return b"\x04\x01" + port.to_bytes(
        2, "big"
    ) + b"\x00\x00\x00\x09user\x00" + host.encode() + b"\x00", b"\x00\x5a" + bytes(6)


def connect_wish(host: str, port: int) -> tuple[bytes, bytes]:
    target = Destination(host, port)
    return (
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nX: y\r\n\r\n".encode(),
        b"HTTP/1.1 200 Connection established\r\n\r\n",
    )


@settings(max_examples=150)
@given(HOSTS, PORTS, st.sampled_from(["socks5", "login", "socks4", "connect"]), CUTS, st.binary(max_size=60))
def test_a_handshake_works_however_it_is_cut(host: str, port: int, kind: str, cuts: list[int], early: bytes) -> None:
    if kind == "socks4" and ":" in host:
        host = "web.test"
    wish, accepted = {
        "socks5": lambda: socks5_wish(host, port, password=False),
        "login": lambda: socks5_wish(host, port, password=True),
        "socks4": lambda: socks4_wish(host, port),
        "connect": lambda: connect_wish(host, port),
    }[kind]()
    way = Everywhere()
    answer = asyncio.run(talk(way, cut(wish + early, cuts), CREDENTIALS if kind == "login" else None))
    assert way.asked == [(host, port)]
    assert way.heard == early
    assert answer == accepted + b"target:%d" % len(early)


def test_a_handshake_works_cut_at_every_position() -> None:
    for wish, accepted in (
        socks5_wish("web.test", 80, password=False), socks4_wish("web.test", 80), connect_wish("web.test", 80)
    ):  # fmt: skip
        for at in range(1, len(wish)):
            assert asyncio.run(talk(Everywhere(), [wish[:at], wish[at:]])) == accepted + b"target:0"
        assert asyncio.run(talk(Everywhere(), [bytes((byte,)) for byte in wish])) == accepted + b"target:0"


def is_own_end(answer: bytes | None, first: bytes) -> bool:
    """Whether this is how the protocol that `first` begins with ends, or a plain close."""
    if not answer:
        return True
    match speech_of(first):
        case Speech.SOCKS5:
            return answer[0] == 5 and answer[:2] in (b"\x05\x00", b"\x05\xff", b"\x05\x02")
        case Speech.SOCKS4:
            return answer == b"\x00\x5b" + bytes(6)
        case Speech.TLS:
            return answer[:1] == b"\x15"
        case Speech.HTTP:
            return answer.startswith(b"HTTP/1.1 ") and answer[9:10] in b"45"
        case Speech.HTTP2:
            return answer[3:4] == b"\x04"
        case _:
            return False


FIRSTS = st.sampled_from(
    [
        b"",
        b"\x05",
        b"\x05\x01\x00",
        b"\x05\x01\x00\x05\x01\x00",
        b"\x04",
        b"\x04\x01",
        b"GET ",
        b"CONNECT ",
        b"P",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"\x16\x03",
    ]
)


@settings(max_examples=300)
@given(FIRSTS, st.binary(max_size=120), CUTS, st.booleans())
@example(b"POST ", b"http://x.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxx", [], False)
@example(b"GET ", b"http://x.test/ HTTP/1.1\r\nHost: \xff\r\n\r\n", [], False)
@example(b"CONNECT ", b"x.test:80 HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", [], False)
def test_garbage_ends_in_the_protocols_own_way_and_is_never_echoed(
    first: bytes, rest: bytes, cuts: list[int], asks: bool
) -> None:
    sent = first + rest + CANARY
    answer = asyncio.run(talk(Nowhere(), cut(sent, cuts), CREDENTIALS if asks else None))
    assert is_own_end(answer, sent)
    assert CANARY not in (answer or b"")


@settings(max_examples=200)
@given(
    st.sampled_from(
        [
            socks5_wish("web.test", 80, password=False)[0],
            socks4_wish("web.test", 80)[0],
            connect_wish("web.test", 80)[0],
        ]
    ),
    st.integers(0, 200),
    st.integers(0, 255),
    CUTS,
)
def test_one_wrong_byte_ends_in_an_answer_or_a_close(wish: bytes, at: int, byte: int, cuts: list[int]) -> None:
    at %= len(wish)
    sent = wish[:at] + bytes((byte,)) + wish[at + 1 :] + CANARY
    answer = asyncio.run(talk(Nowhere(), cut(sent, cuts)))
    assert is_own_end(answer, sent)
    assert CANARY not in (answer or b"")


def test_a_handshake_that_ends_too_early_is_closed_without_an_exit() -> None:
    for wish in (
        socks5_wish("web.test", 80, password=False)[0],
        socks4_wish("web.test", 80)[0],
        connect_wish("web.test", 80)[0],
    ):
        for size in range(len(wish)):
            way = Everywhere()
            asyncio.run(talk(way, [wish[:size]]))
            assert way.asked == []


@given(st.binary(max_size=400))
def test_parsers_take_the_same_from_any_beginning_that_is_whole(data: bytes) -> None:
    for parse in (socks5.greeting, socks5.login, socks5.request, socks4.request):
        try:
            found = parse(data)
        except socks5.MalformedError:
            continue
        if found is not None:
            _, size = found
            assert size <= len(data)
            assert parse(data[:size]) == found
            assert parse(data[: size - 1]) is None
            assert parse(data + b"more") == found


@given(HOSTS, st.integers(0, 65535), st.binary(min_size=1, max_size=100))
def test_a_datagrams_head_is_read_as_it_was_written(host: str, port: int, payload: bytes) -> None:
    assert socks_datagram.read(socks_datagram.head(host, port) + payload) == (host, port, payload)


@given(st.binary(max_size=60))
def test_any_datagram_is_read_or_dropped(data: bytes) -> None:
    found = socks_datagram.read(data)
    assert found is None or data.endswith(found.payload)


@given(st.text(max_size=40))
def test_a_destination_is_read_the_same_from_its_own_text_or_refused(text: str) -> None:
    try:
        found = Destination.parse(text, 80)
    except UsageError:
        return
    assert Destination.parse(str(found)) == found


@given(
    st.sampled_from(
        [
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"PRIOR x",
            b"P",
            b"\x05\x01\x00",
            b"\x16\x03",
            b"\r\nGET",
            b"\x00",
        ]
    )
    | st.binary(max_size=30)
)
def test_what_a_client_speaks_never_changes_with_more_bytes(first: bytes) -> None:
    told = [speech_of(first[:size]) for size in range(len(first) + 1)]
    decided = [speech for speech in told if speech is not None]
    assert len(set(decided)) <= 1
    assert told == [None] * (len(told) - len(decided)) + decided


def test_one_byte_is_enough_where_it_can_mean_one_thing() -> None:
    assert [speech_of(bytes((byte,))) for byte in b"\x04\x05\x16GC\x00"] == [
        Speech.SOCKS4, Speech.SOCKS5, Speech.TLS, Speech.HTTP, Speech.HTTP, Speech.UNKNOWN,
    ]  # fmt: skip


def test_answers_of_the_door_are_http() -> None:
    answer = asyncio.run(talk(Nowhere(), [b"GET http://x.test/ HTTP/1.1\r\nHost: x.test\r\n\r\n"]))
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.receive_data(answer or b"")
    event = connection.next_event()
    assert isinstance(event, h11.Response)
    assert event.status_code == 502


ANSWERS = st.sampled_from(
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 304 Not\r\n\r\n",
    ]
)


@settings(max_examples=200)
@given(ANSWERS, st.binary(max_size=60), st.sampled_from(["GET", "HEAD", "POST"]))
def test_whatever_an_origin_answers_the_client_gets_http_or_is_cut(answer: bytes, rest: bytes, method: str) -> None:
    request = f"{method} http://x.test/ HTTP/1.1\r\nHost: x.test\r\n\r\n".encode()
    told = asyncio.run(talk(Answering(answer + rest), [request]))
    assert told is None or told.startswith(b"HTTP/1.1 ")
