"""The frames between the command line and an agent: however the bytes are cut, the same frames come out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm.errors import UsageError
from ztm.wire.console import MAX_PAYLOAD, Frame, Frames, Kind, Window, status_frame, window_frame

FRAMES = st.lists(st.builds(Frame, st.sampled_from(Kind), st.binary(max_size=300)), max_size=8)


@given(FRAMES, st.lists(st.integers(1, 40), max_size=60))
def test_frames_survive_any_cutting(sent: list[Frame], cuts: list[int]) -> None:
    data, reader, got = b"".join(frame.encode() for frame in sent), Frames(), []
    for size in cuts:
        got += list(reader.feed(data[:size]))
        data = data[size:]
    assert [*got, *reader.feed(data)] == sent


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for_and_nothing_else(data: bytes) -> None:
    try:
        frames = list(Frames().feed(data))
    except UsageError:
        return
    assert sum(len(frame.encode()) for frame in frames) <= len(data)


def test_a_frame_too_large_is_refused_before_it_has_come() -> None:
    head = Frame(Kind.STDIN, b"x").encode()[:1] + (MAX_PAYLOAD + 1).to_bytes(4, "big")
    with pytest.raises(UsageError, match="at most"):
        list(Frames().feed(head))


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_status_is_told_as_it_is(status: int) -> None:
    assert status_frame(status).status == status


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_a_window_is_told_as_it_is(columns: int, rows: int) -> None:
    assert window_frame(Window(columns, rows)).window == Window(columns, rows)


def test_a_window_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError):
        _ = Frame(Kind.WINDOW, b"123").window
