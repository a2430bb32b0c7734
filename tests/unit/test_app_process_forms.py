"""What an agent and an app's process say to each other: forms that are read as they were written."""

import asyncio
import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm.agent.apps.process.limits import LIMITS
from ztm.agent.apps.process.output import Output
from ztm.errors import UsageError
from ztm.model import Peer
from ztm.wire import processes, websockets

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@given(TEXT, TEXT, TEXT, st.integers(0, 65535))
def test_a_peer_is_told_whole_whatever_its_name_is(user: str, endpoint: str, ip: str, port: int) -> None:
    peer = Peer(user, endpoint, ip, port)
    told = processes.peer_headers(peer)
    assert all(value.isascii() and value.isprintable() and " " not in value for _, value in told)
    assert processes.peer_of([(name.encode(), value.encode()) for name, value in told]) == peer


def test_a_request_of_a_peer_without_the_peer_is_none() -> None:
    with pytest.raises(UsageError, match="without the peer"):
        processes.peer_of([])


@given(st.lists(TEXT, max_size=5), TEXT)
def test_a_command_is_told_whole(words: list[str], directory: str) -> None:
    call = processes.CallRecord(
        program="ztm x", words=words, directory=directory, endpoint_id="", endpoint_name="", environment={"TERM": "x"}
    )
    assert processes.decode_call(processes.encode_call(call)) == call


def test_a_command_line_that_fits_no_head_is_refused() -> None:
    call = processes.CallRecord(
        program="ztm x", words=["x" * 40_000], directory="", endpoint_id="", endpoint_name="", environment={}
    )
    with pytest.raises(UsageError, match="too long"):
        processes.encode_call(call)
    with pytest.raises(UsageError, match="not a command"):
        processes.decode_call("{")


@given(st.lists(st.binary(max_size=50) | TEXT, max_size=6), st.integers(1, 30))
def test_messages_of_a_websocket_are_whole_wherever_they_are_cut(sent: list[bytes | str], size: int) -> None:
    said = [
        {"type": "websocket.send", "text" if isinstance(one, str) else "bytes": one, "headers": [(b"a", b"b")]}
        for one in sent
    ]
    data = b"".join([websockets.encode(message) for message in said])
    reader, found = websockets.Messages(), []
    for begin in range(0, len(data), size):
        found += list(reader.feed(data[begin : begin + size]))
    assert [message.get("text", message.get("bytes")) for message in found] == sent


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", b"\0\0\0\1\x80", b"\0\0\0\2\x92\1"])
def test_what_is_no_message_of_a_websocket_is_refused(garbage: bytes) -> None:
    with pytest.raises(UsageError):
        list(websockets.Messages().feed(garbage))


async def printed(*pieces: bytes, caplog: pytest.LogCaptureFixture, lines: float = 50.0) -> list[tuple[str, str]]:
    reader = asyncio.StreamReader()
    log = logging.LoggerAdapter(logging.getLogger("test.output"), {})
    output = Output(log, replace(LIMITS, line_bytes=10, lines=lines))
    with caplog.at_level(logging.DEBUG, "test.output"):
        reading = asyncio.ensure_future(output.read(reader))
        for piece in pieces:
            reader.feed_data(piece)
            await asyncio.sleep(0)
        reader.feed_eof()
        await reading
    return [(record.levelname, record.getMessage()) for record in caplog.records]


async def test_lines_keep_their_level_and_are_whole_wherever_they_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    told = await printed(b"<3>ba", b"d\nplain\r\n<9>odd\n\n<7>", b"x\nend", caplog=caplog)
    assert told == [
        ("ERROR", "bad"), ("INFO", "plain"), ("INFO", "<9>odd"), ("INFO", ""), ("DEBUG", "x"), ("INFO", "end")
    ]  # fmt: skip


async def test_a_long_line_is_cut_and_too_many_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert await printed(b"x" * 1000, b"y" * 1000 + b"\nz\n", caplog=caplog) == [
        ("INFO", "x" * 10 + " ... (cut)"), ("INFO", "z")
    ]  # fmt: skip
    caplog.clear()
    told = await printed(b"l\n" * 100, caplog=caplog, lines=1.0)
    assert told == [*[("INFO", "l")] * 10, ("WARNING", "90 lines of output were dropped: the app prints too much")]
