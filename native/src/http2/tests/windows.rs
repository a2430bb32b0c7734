//! Windows, turns, and what a stream that nobody reads may hold.

use std::collections::HashMap;
use std::sync::Arc;

use super::peer::{self, CONNECT, Peer, body, client, data, head, of_kind, settings, window};
use crate::flow::Port;
use crate::http2::state::Limits;
use crate::http2::{QUANTUM, QUEUED, WINDOW, frame};

/// Streams that the peer opened and that were answered.
fn answered(peer: &mut Peer, count: u32) -> Vec<Arc<dyn Port>> {
    for each in 0..count {
        peer.say(&head(each * 2 + 1, CONNECT));
    }
    let taken = std::mem::take(&mut peer.taken);
    for stream in &taken {
        peer.respond(stream, "200");
    }
    peer.hears();
    taken
}

#[test]
fn nothing_is_sent_beyond_a_window_and_the_rest_when_it_opens() {
    let mut peer = client(Limits::default());
    let stream = answered(&mut peer, 1).remove(0);
    assert!(!peer.send(&stream, &vec![1; 100_000]));
    assert_eq!(body(&peer.hears(), 1), 65535);
    peer.say(&window(1, 1_000_000));
    assert_eq!(body(&peer.hears(), 1), 0, "the session's window is used up");
    peer.say(&window(0, 10));
    assert_eq!(body(&peer.hears(), 1), 10);
    peer.say(&window(0, 1_000_000));
    assert_eq!(body(&peer.hears(), 1), 100_000 - 65535 - 10);
    assert!(stream.has_room());
}

#[test]
fn windows_may_change_and_become_negative_in_mid_stream() {
    let mut peer = client(Limits::default());
    let stream = answered(&mut peer, 1).remove(0);
    peer.say(&window(0, 1 << 20));
    peer.send(&stream, &[1; 60_000]);
    peer.say(&settings(&[(frame::INITIAL_WINDOW_SIZE, 10)]));
    peer.send(&stream, &[1; 1000]);
    assert_eq!(body(&peer.hears(), 1), 60_000, "its window is 59,990 below nothing");
    peer.say(&window(1, 59_990));
    assert_eq!(body(&peer.hears(), 1), 0);
    peer.say(&window(1, 1));
    assert_eq!(body(&peer.hears(), 1), 1);
    peer.say(&settings(&[
        (frame::INITIAL_WINDOW_SIZE, 1 << 16),
        (frame::MAX_FRAME_SIZE, 1 << 20),
    ]));
    assert_eq!(body(&peer.hears(), 1), 999);
}

#[test]
fn the_last_of_many_values_counts_and_each_is_checked() {
    let mut peer = client(Limits::default());
    let stream = answered(&mut peer, 1).remove(0);
    peer.say(&settings(&[
        (frame::INITIAL_WINDOW_SIZE, 0),
        (frame::INITIAL_WINDOW_SIZE, 7),
    ]));
    peer.send(&stream, &[1; 100]);
    assert_eq!(body(&peer.hears(), 1), 7);
    peer.say(&window(1, 0x7fff_ff00));
    peer.say(&settings(&[(frame::INITIAL_WINDOW_SIZE, 1 << 20)]));
    assert_eq!(peer.goaway().expect("a GOAWAY").0, frame::FLOW_CONTROL_ERROR);
}

#[test]
fn frames_are_no_larger_than_the_peer_lets_them() {
    let mut peer = client(Limits::default());
    let stream = answered(&mut peer, 1).remove(0);
    peer.send(&stream, &[1; 40_000]);
    assert!(
        of_kind(&peer.hears(), frame::DATA)
            .iter()
            .all(|(head, _)| head.length <= 16384)
    );
}

#[test]
fn a_hundred_streams_get_equal_shares() {
    let mut peer = client(Limits::default());
    peer.say(
        &[
            settings(&[(frame::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]),
            window(0, 0x7000_0000),
        ]
        .concat(),
    );
    let streams = answered(&mut peer, 100);
    peer.reads(Some(0));
    for stream in &streams {
        peer.send(stream, &vec![1; 1 << 20]);
    }
    let mut shares: HashMap<u32, usize> = HashMap::new();
    let mut total = 0;
    while total < 40 << 20 {
        peer.reads(Some(100_000));
        for (head, _) in peer.hears() {
            *shares.entry(head.stream).or_default() += head.length;
            total += head.length;
        }
    }
    let most = shares.values().max().expect("shares");
    let least = streams
        .iter()
        .filter_map(|each| shares.get(&each.exchange()?.number))
        .min()
        .expect("shares");
    assert_eq!(shares.len(), 100);
    assert!(most - least <= QUEUED + 2 * QUANTUM, "{least} {most}");
}

#[test]
fn a_stalled_stream_holds_its_window_and_stops_no_other() {
    let mut peer = client(Limits::default());
    let streams = answered(&mut peer, 2);
    for _ in 0..64 {
        peer.say(&data(1, &[0; 16384]));
    }
    assert_eq!(streams[0].inlet().queued(), WINDOW as usize);
    let mut came = 0;
    for _ in 0..1024 {
        peer.say(&data(3, &[0; 16384]));
        let (bytes, credit) = streams[1].inlet().take().expect("bytes");
        came += bytes.len();
        peer.turn(|turn| streams[1].credit(turn, credit));
    }
    assert!(peer.session.reason().is_none());
    assert_eq!((came, peer.session.held()), (16 << 20, WINDOW as usize));
}

#[test]
fn a_session_that_held_too_much_is_opened_again_when_it_holds_less() {
    let mut peer = client(Limits {
        held: 4 << 20,
        ..Limits::default()
    });
    let streams = answered(&mut peer, 12);
    for stream in 0..12 {
        for _ in 0..64 {
            peer.say(&data(stream * 2 + 1, &[0; 16384]));
        }
    }
    assert_eq!(peer.session.held(), 12 << 20);
    let opened = |heard: Vec<peer::Frame>| {
        of_kind(&heard, frame::WINDOW_UPDATE)
            .iter()
            .any(|(head, _)| head.stream == 0)
    };
    peer.hears();
    let mut is_open = false;
    for stream in &streams {
        while let Some((_, credit)) = stream.inlet().take() {
            // A credit of a few bytes at a time, as a slow consumer gives it.
            for part in [credit - credit / 2, credit / 2] {
                peer.turn(|turn| stream.credit(turn, part));
            }
        }
        is_open |= opened(peer.hears());
    }
    assert_eq!(peer.session.held(), 0);
    assert!(is_open, "the peer may send again");
}

#[test]
fn credit_of_streams_that_the_peer_has_ended_opens_the_session_too() {
    let mut peer = client(Limits {
        held: 4 << 20,
        ..Limits::default()
    });
    let streams = answered(&mut peer, 8);
    for stream in 0..8 {
        for _ in 0..64 {
            peer.say(&data(stream * 2 + 1, &[0; 16384]));
        }
        peer.say(&peer::end(stream * 2 + 1));
    }
    peer.hears();
    for stream in &streams {
        peer.turn(|turn| stream.credit(turn, 1 << 20));
    }
    assert!(
        of_kind(&peer.hears(), frame::WINDOW_UPDATE)
            .iter()
            .any(|(head, _)| head.stream == 0)
    );
}
