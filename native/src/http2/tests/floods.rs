//! Whatever a hostile peer sends costs little, and ends that session at most.

use std::time::Instant;

use super::peer::{self, CONNECT, GET, Peer, client, data, head, last_head, of_kind, raw, reset, settings, window};
use crate::http2::frame::{self, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, PROTOCOL_ERROR};
use crate::http2::state::Limits;

const LOW: Limits = Limits {
    streams: 10,
    held: 1 << 20,
    header_bytes: 16 << 10,
    resets: 2.0,
    controls: 2.0,
};

/// `said`, over and over, ends the session with `code`.
#[track_caller]
fn ends(mut peer: Peer, said: &[u8], times: usize, code: u32) -> String {
    for _ in 0..times {
        peer.say(said);
    }
    let (found, text) = peer.goaway().expect("the session ends with a GOAWAY");
    assert_eq!(found, code, "{text}");
    assert_eq!(peer.closed.as_deref(), Some(&*text));
    assert_eq!((peer.session.streams(), peer.session.held()), (0, 0));
    text
}

#[test]
fn excess_streams_are_refused_one_by_one_and_the_session_lives() {
    let mut peer = client(LOW);
    for stream in (1..61).step_by(2) {
        peer.say(&[head(stream, CONNECT), data(stream, b"at once")].concat());
    }
    let heard = peer.hears();
    let refused: Vec<u32> = of_kind(&heard, frame::RST_STREAM)
        .iter()
        .map(|(head, _)| head.stream)
        .collect();
    assert_eq!(refused, (21..61).step_by(2).collect::<Vec<u32>>());
    assert_eq!((peer.taken.len(), peer.session.streams()), (10, 10));
    peer.say(&[reset(1), head(61, CONNECT)].concat());
    assert_eq!(peer.taken.len(), 11);
    assert!(peer.session.reason().is_none());
}

#[test]
fn rapid_resets_end_the_session() {
    let mut peer = client(LOW);
    for stream in (1..101).step_by(2) {
        peer.say(&[last_head(stream, GET), reset(stream)].concat());
    }
    assert_eq!(peer.goaway().expect("a GOAWAY").0, ENHANCE_YOUR_CALM);
    assert!(
        peer.taken.len() <= 22,
        "no stream is taken up once it is over: {}",
        peer.taken.len()
    );
}

#[test]
fn resets_of_answered_streams_are_no_attack() {
    let mut peer = client(LOW);
    for stream in (1..401).step_by(2) {
        peer.say(&head(stream, CONNECT));
        let taken = peer.taken.pop().expect("a stream");
        peer.respond(&taken, "200");
        peer.say(&reset(stream));
    }
    assert!(peer.session.reason().is_none());
    assert_eq!(peer.session.streams(), 0);
}

#[test]
fn settings_and_pings_beyond_measure_end_the_session() {
    assert!(ends(client(LOW), &settings(&[]), 100, ENHANCE_YOUR_CALM).contains("SETTINGS"));
    ends(client(LOW), &raw(frame::PING, 0, 0, &[7; 8]), 100, ENHANCE_YOUR_CALM);
}

#[test]
fn frames_that_say_nothing_end_the_session_beyond_measure() {
    let mut peer = client(LOW);
    peer.say(&head(1, CONNECT));
    ends(peer, &data(1, b""), 20_000, ENHANCE_YOUR_CALM);
    for kind in [frame::PRIORITY, 0x0c, 0xff] {
        ends(client(LOW), &raw(kind, 0, 1, &[0; 5]), 20_000, ENHANCE_YOUR_CALM);
    }
    ends(
        client(LOW),
        &raw(frame::PING, frame::ACK, 0, &[0; 8]),
        20_000,
        ENHANCE_YOUR_CALM,
    );
    ends(
        client(LOW),
        &raw(frame::SETTINGS, frame::ACK, 0, b""),
        20_000,
        ENHANCE_YOUR_CALM,
    );
}

#[test]
fn heads_that_open_nothing_end_the_session_beyond_measure() {
    let mut peer = client(LOW);
    peer.say(&head(1, CONNECT));
    ends(peer, &head(1, GET), 20_000, ENHANCE_YOUR_CALM);
    let mut peer = client(LOW);
    peer.say(&[head(1, CONNECT), reset(1)].concat());
    ends(peer, &head(1, GET), 20_000, ENHANCE_YOUR_CALM);
}

#[test]
fn interim_answers_beyond_measure_end_the_session() {
    let mut peer = peer::server(false);
    peer.open(CONNECT).expect("a stream");
    ends(peer, &head(1, &[(":status", "103")]), 20_000, ENHANCE_YOUR_CALM);
}

#[test]
fn a_header_block_without_end_ends_the_session() {
    for piece in [&b""[..], b"\x00", &[0; 4096]] {
        let mut peer = client(LOW);
        peer.say(&raw(frame::HEADERS, 0, 1, b""));
        ends(peer, &raw(frame::CONTINUATION, 0, 1, piece), 20_000, ENHANCE_YOUR_CALM);
    }
    let large = vec![0; 16384];
    let mut peer = client(Limits {
        header_bytes: 8192,
        ..LOW
    });
    peer.say(&raw(frame::HEADERS, 0, 1, &large));
    assert_eq!(peer.goaway().expect("a GOAWAY").0, ENHANCE_YOUR_CALM);
}

#[test]
fn a_header_block_that_grows_when_it_is_read_ends_the_session() {
    // One long value put into the table, and then named again and again by one byte each.
    let mut bomb = vec![0x40, 1, b'a', 0x7f, 0x80 | 0x11, 0x1e];
    bomb.extend_from_slice(&[b'v'; 4000]);
    bomb.extend_from_slice(&[0x80 | 62; 8000]);
    assert_eq!(
        usize::from(bomb[4] & 0x7f) + (usize::from(bomb[5]) << 7) + 127,
        4000 - 16
    );
    let mut peer = client(LOW);
    peer.say(&raw(frame::HEADERS, frame::END_HEADERS, 1, &bomb[..12006]));
    assert!(peer.goaway().is_some());
    assert!(peer.taken.is_empty());
}

#[test]
fn nothing_else_may_come_within_a_header_block() {
    let mut peer = client(LOW);
    peer.say(&raw(frame::HEADERS, 0, 1, b""));
    ends(peer, &data(1, b"x"), 1, PROTOCOL_ERROR);
    let mut peer = client(LOW);
    peer.say(&raw(frame::HEADERS, 0, 1, b""));
    ends(peer, &raw(frame::CONTINUATION, 0, 3, b""), 1, PROTOCOL_ERROR);
    ends(client(LOW), &raw(frame::CONTINUATION, 0, 1, b""), 1, PROTOCOL_ERROR);
}

#[test]
fn windows_opened_by_nothing_or_too_far_end_the_session() {
    ends(client(LOW), &window(0, 0), 1, PROTOCOL_ERROR);
    ends(client(LOW), &window(0, 0x7fff_ffff), 1, FLOW_CONTROL_ERROR);
    let mut peer = client(LOW);
    peer.say(&head(1, CONNECT));
    ends(peer, &window(1, 0x7fff_ffff), 1, FLOW_CONTROL_ERROR);
    ends(client(LOW), &window(7, 1), 1, PROTOCOL_ERROR);
    ends(
        client(LOW),
        &settings(&[(frame::INITIAL_WINDOW_SIZE, 0x8000_0000)]),
        1,
        FLOW_CONTROL_ERROR,
    );
}

#[test]
fn more_than_a_window_ends_the_session() {
    let mut peer = client(LOW);
    peer.say(&head(1, CONNECT));
    ends(peer, &data(1, &[0; 16384]), 65, FLOW_CONTROL_ERROR);
}

#[test]
fn what_was_never_opened_is_neither_written_nor_reset() {
    ends(client(LOW), &data(5, b"x"), 1, PROTOCOL_ERROR);
    ends(client(LOW), &reset(5), 1, PROTOCOL_ERROR);
    ends(client(LOW), &head(2, GET), 1, PROTOCOL_ERROR);
    ends(client(LOW), &raw(frame::PUSH_PROMISE, 4, 1, &[0; 4]), 1, PROTOCOL_ERROR);
}

#[test]
fn frames_too_large_too_small_or_padded_beyond_their_end_end_the_session() {
    ends(client(LOW), &raw(frame::PING, 0, 0, b""), 1, frame::FRAME_SIZE_ERROR);
    ends(
        client(LOW),
        &raw(frame::WINDOW_UPDATE, 0, 0, b"123"),
        1,
        frame::FRAME_SIZE_ERROR,
    );
    ends(
        client(LOW),
        &raw(frame::SETTINGS, 0, 0, b"12345"),
        1,
        frame::FRAME_SIZE_ERROR,
    );
    ends(client(LOW), &raw(0xee, 0, 0, &[0; 16385]), 1, frame::FRAME_SIZE_ERROR);
    let mut peer = client(LOW);
    peer.say(&head(1, CONNECT));
    ends(peer, &raw(frame::DATA, frame::PADDED, 1, &[9, 0, 0]), 1, PROTOCOL_ERROR);
    ends(
        client(LOW),
        &raw(frame::HEADERS, frame::PADDED | frame::END_HEADERS, 1, &[9]),
        1,
        PROTOCOL_ERROR,
    );
}

#[test]
fn a_peer_that_speaks_something_else_is_told_off() {
    let mut peer = Peer::new(true, false, LOW);
    peer.say(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(peer.goaway().expect("a GOAWAY").0, PROTOCOL_ERROR);
}

#[test]
fn settings_of_many_entries_cost_little_with_many_streams() {
    let mut peer = client(Limits {
        streams: 2000,
        ..Limits::default()
    });
    for stream in (1..4001).step_by(2) {
        peer.say(&head(stream, CONNECT));
    }
    let entries: Vec<(u16, u32)> = (0..2700)
        .map(|each| (frame::INITIAL_WINDOW_SIZE, 1000 + each % 2))
        .collect();
    let said = settings(&entries);
    let began = Instant::now();
    for _ in 0..50 {
        peer.say(&said);
    }
    // In all 135,000 entries: for each of 2,000 streams they would be 270 million changes.
    assert!(began.elapsed().as_secs_f64() < 3.0, "{:?}", began.elapsed());
    assert!(peer.session.reason().is_none());
}

#[test]
fn a_peer_that_never_reads_does_not_pile_up_answers() {
    let mut peer = client(Limits {
        streams: 0,
        controls: 1e9,
        ..LOW
    });
    peer.reads(Some(0));
    let ping = raw(frame::PING, 0, 0, &[1; 8]).repeat(1000);
    for _ in 0..100 {
        peer.say(&ping);
    }
    let kept = peer.session.state().queued();
    assert!(kept <= crate::http2::UNREAD + ping.len(), "{kept}");
    assert!(peer.session.reason().is_none());
    peer.reads(None);
    assert_eq!(
        of_kind(&peer.hears(), frame::PING).len(),
        100_000,
        "what waited was answered later"
    );
}
