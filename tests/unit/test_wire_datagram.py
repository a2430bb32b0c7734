"""Datagrams as v1 frames them, and streams that are out of step."""

import tracemalloc

import pytest

from ztm.errors import TooLargeError, UsageError
from ztm.wire import datagram
from ztm.wire.datagram import MAX_PAYLOAD, Decoder


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (1, b"\x82\x01"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (16384, b"\x82\x7e\x40\x00"),
        (MAX_PAYLOAD, b"\x82\x7e\xff\xe3"),
    ],
)
def test_a_datagram_is_one_unmasked_final_binary_frame(size, head):
    assert datagram.encode(b"x" * size) == head + b"x" * size


def test_an_empty_datagram_is_nothing_and_a_larger_one_than_udp_has_is_refused():
    assert datagram.encode(b"") == b""
    with pytest.raises(TooLargeError, match="65508"):
        datagram.encode(b"x" * (MAX_PAYLOAD + 1))


def test_the_opening_frame_and_other_empty_messages_are_dropped():
    assert Decoder().feed(datagram.OPENING + b"\x01\x00\x80\x00" + b"\x82\x01x") == [b"x"]


def test_v1s_fragments_with_an_empty_last_one_are_joined():
    whole = b"a" * 16384
    assert Decoder().feed(b"\x01\x7e\x40\x00" + whole + b"\x80\x00") == [whole]


def test_any_opcode_is_data_and_masks_are_undone():
    assert Decoder().feed(b"\x89\x02hi") == [b"hi"]
    masked = bytes(byte ^ b"\x01\x02\x03\x04"[at % 4] for at, byte in enumerate(b"hello"))
    assert Decoder().feed(b"\x81\x85\x01\x02\x03\x04" + masked) == [b"hello"]


def test_a_64_bit_length_is_understood():
    assert Decoder().feed(b"\x82\x7f" + (3).to_bytes(8, "big") + b"abc") == [b"abc"]


def test_an_oversized_message_is_skipped_whole_and_the_next_one_arrives():
    too_long = b"\x82\x7f" + (MAX_PAYLOAD + 1).to_bytes(8, "big") + b"x" * (MAX_PAYLOAD + 1)
    fragments = (b"\x02\x7e\xff\x00" + b"x" * 0xFF00) * 2 + b"\x80\x00"
    assert Decoder().feed(too_long + fragments + b"\x82\x02ok") == [b"ok"]


def test_an_endless_message_holds_no_memory():
    decoder, frame = Decoder(), b"\x02\x7e\xff\x00" + b"x" * 0xFF00
    tracemalloc.start()
    for _ in range(200):
        assert decoder.feed(frame) == []
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2 * MAX_PAYLOAD


@pytest.mark.parametrize(
    "stream", [b"\xc2\x01x", b"\x92\x00", b"\x82\x7f" + (2**20 + 1).to_bytes(8, "big"), b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_a_stream_out_of_step_is_a_usage_error(stream):
    with pytest.raises(UsageError, match="not a datagram stream"):
        Decoder().feed(stream + b"\xff" * 64)
