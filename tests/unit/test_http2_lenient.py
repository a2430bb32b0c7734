"""Where our HTTP/2 connection differs from the `h2` library's: each difference, lest an update change one unseen."""

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError, TooManyStreamsError
from h2.settings import SettingCodes

from ztm.net.http2.lenient import FRAME, FRAMES_AT_ONCE, OWN_FRAME, WINDOW, LenientConnection

CONNECT = [(b":method", b"CONNECT"), (b":scheme", b"http"), (b":path", b"/x?a=b")]
POST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x")]


def lenient(role: str = "server", *, own: bool = False, header_bytes: int = 65536) -> LenientConnection:
    made = LenientConnection(role, own=own, header_bytes=header_bytes)
    made.initiate_connection()
    return made


def plain(role: str = "client") -> H2Connection:
    """The library as it comes, but allowed to send what we want to test."""
    made = H2Connection(
        H2Configuration(client_side=role == "client", validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    made.initiate_connection()
    return made


def carry(source: H2Connection, sink: H2Connection) -> list[Event]:
    return sink.receive_data(source.data_to_send())


def shake_hands(client: H2Connection, server: H2Connection) -> None:
    carry(client, server)
    carry(server, client)
    carry(client, server)


def of_type(events: list[Event], kind: type[Event]) -> list[Event]:
    return [event for event in events if type(event) is kind]


@pytest.mark.parametrize("length", [b"5", b"0", b"x", b"-1"])
def test_a_body_that_contradicts_its_content_length_is_taken(length: bytes) -> None:
    client, server = plain(), lenient()
    shake_hands(client, server)
    client.send_headers(1, [*POST, (b"content-length", length)])
    client.send_data(1, b"ab", end_stream=True)
    events = carry(client, server)
    assert of_type(events, RequestReceived)
    assert of_type(events, DataReceived)
    assert of_type(events, StreamEnded)


def test_the_library_itself_would_end_the_connection_over_it() -> None:
    """If this fails, `_LenientStream` is no longer needed."""
    client, server = plain(), plain("server")
    shake_hands(client, server)
    client.send_headers(1, [*POST, (b"content-length", b"5")])
    client.send_data(1, b"ab", end_stream=True)
    with pytest.raises(ProtocolError):
        carry(client, server)


def test_connect_with_scheme_and_path_is_sent_and_taken_unchanged() -> None:
    client, server = lenient("client"), lenient()
    shake_hands(client, server)
    client.send_headers(1, CONNECT)
    (event,) = of_type(carry(client, server), RequestReceived)
    assert isinstance(event, RequestReceived)
    assert [(bytes(name), bytes(value)) for name, value in event.headers or ()] == CONNECT


def test_no_number_of_streams_raises() -> None:
    client, server = lenient("client"), lenient()
    shake_hands(client, server)
    for number in range(1, 2001, 2):
        client.send_headers(number, CONNECT)
    events = carry(client, server)
    while server.is_behind:
        events += server.receive_data(b"")
    assert len(of_type(events, RequestReceived)) == 1000


def test_frames_are_taken_some_at_a_time_and_the_rest_is_kept() -> None:
    server = lenient()
    shake_hands(lenient("client"), server)
    empty = b"\0\0\0\xff\0\0\0\0\0"  # of an unknown type, which is ignored
    server.receive_data(empty * (FRAMES_AT_ONCE + 1) + empty[:5])
    assert server.is_behind
    server.receive_data(empty[5:])
    assert not server.is_behind


def test_the_library_itself_would_raise_after_its_limit() -> None:
    client, server = lenient("client"), plain("server")
    client.receive_data(server.data_to_send())
    client.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
    for number in range(1, 301, 2):
        client.send_headers(number, CONNECT)
    with pytest.raises((TooManyStreamsError, ProtocolError)):
        carry(client, server)


def test_forgetting_a_stream_drops_its_state() -> None:
    client, server = lenient("client"), lenient()
    shake_hands(client, server)
    for number in range(1, 11, 2):
        client.send_headers(number, CONNECT)
        client.reset_stream(number)
        client.forget(number)
    assert not client.streams
    client.forget(1)
    client.forget(99)


def test_how_streams_ended_is_remembered_for_a_bounded_number_of_them() -> None:
    client, server = lenient("client"), lenient()
    shake_hands(client, server)
    for number in range(1, 6001, 2):
        client.send_headers(number, CONNECT)
        client.reset_stream(number)
        client.forget(number)
        client.data_to_send()
    assert len(client._closed_streams) <= LenientConnection.MAX_CLOSED_STREAMS


def test_a_late_frame_is_answered_with_a_reset_and_the_others_of_its_batch_are_taken() -> None:
    client, server = lenient("client"), lenient()
    shake_hands(client, server)
    for number in (1, 3):
        client.send_headers(number, CONNECT)
    carry(client, server)
    server.reset_stream(1)
    server.forget(1)
    server.data_to_send()
    client.send_data(1, b"late")
    client.send_data(3, b"good")
    events = of_type(carry(client, server), DataReceived)
    assert [bytes(event.data or b"") for event in events if isinstance(event, DataReceived)] == [b"good"]
    assert server.data_to_send()


def test_late_data_still_counts_for_the_connections_window_only() -> None:
    client, server = lenient("client"), lenient()
    shake_hands(client, server)
    client.send_headers(1, CONNECT)
    carry(client, server)
    before = server.inbound_flow_control_window
    server.reset_stream(1)
    server.forget(1)
    client.send_data(1, bytes(1000))
    carry(client, server)
    assert server.inbound_flow_control_window == before - 1000


@pytest.mark.parametrize("own", [True, False])
def test_the_first_settings_are_ours_from_the_first_byte(*, own: bool) -> None:
    made = lenient(own=own)
    assert made.local_settings.initial_window_size == WINDOW
    assert made.local_settings.max_frame_size == (OWN_FRAME if own else FRAME)
    assert made.max_inbound_frame_size == (OWN_FRAME if own else FRAME)
    assert made.local_settings.enable_push == 0


def test_a_streams_window_is_told_apart_from_the_sessions() -> None:
    client, server = lenient("client"), lenient()
    shake_hands(client, server)
    client.send_headers(1, CONNECT)
    client.outbound_flow_control_window = 0
    assert client.has_stream_window(1)
    assert not client.has_stream_window(3)
