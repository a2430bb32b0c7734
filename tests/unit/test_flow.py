"""Streams and pipes apart from any network: credit is given once for each byte, and no end or cut gets lost."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from http2_peer import MemoryFlow
from ztm.errors import BrokenStreamError
from ztm.net.flow import Pipe
from ztm.testing import run_virtual, settle


async def test_reading_gives_credit_for_what_was_read() -> None:
    stream = MemoryFlow()
    stream.arrived(b"abc")
    stream.arrived(b"de")
    assert stream.credited == 0
    assert await stream.read() == b"abc"
    assert stream.credited == 3


async def test_what_was_put_back_is_credited_once() -> None:
    source, sink = MemoryFlow(), MemoryFlow()
    source.arrived(b"headbody")
    assert await source.read() == b"headbody"
    source.unread(b"body")
    Pipe(source, sink, None)
    source.arrived(b"more")
    assert bytes(sink.sent) == b"bodymore"
    assert source.credited == 12


async def test_a_pipe_gives_credit_as_the_next_hop_takes_the_bytes() -> None:
    source, sink = MemoryFlow(), MemoryFlow()
    sink.room = 10
    Pipe(source, sink, None)
    source.arrived(bytes(25))
    assert source.credited == 10
    sink.take(15)
    assert source.credited == 25


async def test_a_pipe_gives_no_credit_for_what_was_sent_before_it() -> None:
    source, sink = MemoryFlow(), MemoryFlow()
    sink.room = 0
    sink.write_now(bytes(100))
    Pipe(source, sink, None)
    source.arrived(bytes(30))
    sink.take(60)
    assert source.credited == 0
    sink.take(50)
    assert source.credited == 10
    sink.take(20)
    source.arrived(bytes(5))
    sink.take(5)
    assert source.credited == 35


async def test_a_writer_waits_until_all_is_taken() -> None:
    stream = MemoryFlow()
    stream.room = 0
    writing = asyncio.ensure_future(stream.write(b"abc"))
    await settle()
    assert not writing.done()
    stream.take(3)
    await writing


async def test_a_cut_gives_back_the_credit_of_what_was_not_taken() -> None:
    source, sink = MemoryFlow(), MemoryFlow()
    sink.room = 0
    Pipe(source, sink, None)
    source.arrived(bytes(30))
    sink.broken("gone")
    source.arrived(bytes(10))
    assert source.credited == 40


async def test_a_cut_before_the_pipe_was_made_is_passed_on() -> None:
    source, sink = MemoryFlow(), MemoryFlow()
    source.broken("gone")
    with pytest.raises(BrokenStreamError, match="gone"):
        await Pipe(source, sink, None).joined()
    assert sink.is_aborted


async def test_an_end_and_a_cut_before_the_splice_was_made_are_both_passed_on() -> None:
    a, b = MemoryFlow(), MemoryFlow()
    a.arrived(b"last")
    a.finished()
    a.broken("gone")
    with pytest.raises(BrokenStreamError):
        await Pipe(a, b, None).joined()
    assert bytes(b.sent) == b"last"
    assert b.is_aborted


async def test_a_cut_after_both_ends_is_no_success_if_bytes_were_left() -> None:
    class Slow(MemoryFlow):
        """Is over only when all was taken, as an HTTP/2 stream."""

        def _check_over(self) -> None:
            if self._owed <= 0:
                super()._check_over()

    a, b = MemoryFlow(), Slow()
    b.room = 0
    splicing = asyncio.ensure_future(Pipe(a, b, None).joined())
    await settle()
    a.arrived(bytes(100))
    a.finished()
    b.finished()
    await settle()
    assert not splicing.done()
    b.broken("gone")
    with pytest.raises(BrokenStreamError, match="gone"):
        await splicing


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 1000)), max_size=40), st.integers(0, 500))
@settings(deadline=None)
def test_no_credit_is_lost_or_given_twice(steps: list[tuple[int, int]], before: int) -> None:
    async def play() -> None:
        source, sink = MemoryFlow(), MemoryFlow()
        sink.room = 0
        sink.write_now(bytes(before))
        Pipe(source, sink, None)
        arrived, owed = 0, before
        for size, taken in steps:
            source.arrived(bytes(size))
            arrived += size
            owed += size
            now = min(taken, owed)
            if now:
                sink.take(now)
            owed -= now
            assert source.credited == arrived - min(owed, arrived)
        if owed:
            sink.take(owed)
        assert source.credited == arrived

    run_virtual(play())
