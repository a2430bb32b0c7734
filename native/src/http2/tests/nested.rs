//! Sessions inside streams of sessions, as passive ones of the mesh are.

use std::sync::Arc;

use super::peer::{self, CONNECT, Peer, client, head, of_kind};
use crate::events::Happening;
use crate::flow::Port;
use crate::http2::frame;
use crate::http2::session::{Options, Session};
use crate::http2::state::Limits;

/// A session of the client's role in the peer's stream 1.
fn nested(peer: &mut Peer) -> (Arc<dyn Port>, Arc<Session>) {
    peer.say(&head(1, CONNECT));
    let below = peer.taken.remove(0);
    peer.respond(&below, "200");
    let options = Options {
        is_server: false,
        answers: false,
        own: false,
        limits: Limits::default(),
    };
    let events = peer.events.clone();
    let session = peer.turn(|turn| Session::start(turn, &events, below.clone(), options));
    (below, session)
}

/// What the nested session has sent.
fn inner(peer: &mut Peer) -> Vec<u8> {
    let heard = peer.hears();
    of_kind(&heard, frame::DATA)
        .iter()
        .flat_map(|(_, said)| said.clone())
        .collect()
}

#[test]
fn a_nested_session_speaks_within_its_stream() {
    let mut peer = client(Limits::default());
    let (_below, session) = nested(&mut peer);
    assert!(inner(&mut peer).starts_with(frame::PREFACE));
    let stream = peer
        .turn(|turn| session.open(turn, peer::fields(CONNECT)))
        .expect("a stream");
    peer.say(&peer::data(
        1,
        &[
            peer::settings(&[]),
            head(1, &[(":status", "200")]),
            peer::data(1, b"hi"),
        ]
        .concat(),
    ));
    assert_eq!(stream.inlet().take().expect("bytes").0, b"hi");
}

#[test]
fn a_nested_session_waits_for_the_window_of_its_stream_and_goes_on() {
    let mut peer = client(Limits::default());
    let (_below, session) = nested(&mut peer);
    peer.say(&peer::data(
        1,
        &peer::settings(&[(frame::INITIAL_WINDOW_SIZE, 1 << 20)]),
    ));
    peer.say(&peer::data(1, &peer::window(0, 1 << 20)));
    let stream = peer
        .turn(|turn| session.open(turn, peer::fields(CONNECT)))
        .expect("a stream");
    peer.turn(|turn| stream.send(turn, &vec![5; 500_000]));
    let mut came = inner(&mut peer).len();
    assert!(came <= 65535);
    while came < 500_000 {
        let before = came;
        peer.say(&[peer::window(0, 50_000), peer::window(1, 50_000)].concat());
        came += inner(&mut peer).len();
        assert!(came > before, "stuck at {came}");
    }
    assert!(stream.has_room());
}

#[test]
fn the_end_of_the_outer_session_ends_the_nested_one_and_its_streams() {
    let mut peer = client(Limits::default());
    let (below, session) = nested(&mut peer);
    let stream = peer
        .turn(|turn| session.open(turn, peer::fields(CONNECT)))
        .expect("a stream");
    let outer = peer.session.clone();
    peer.turn(|turn| outer.close(turn, "the hub restarts"));
    assert_eq!(session.reason().as_deref(), Some("the hub restarts"));
    assert_eq!(stream.inlet().broken_by().as_deref(), Some("the hub restarts"));
    let left = (
        Arc::downgrade(&below),
        Arc::downgrade(&session),
        Arc::downgrade(&stream),
    );
    drop((below, session, stream));
    assert_eq!(
        (left.0.strong_count(), left.1.strong_count(), left.2.strong_count()),
        (0, 0, 0)
    );
}

#[test]
fn a_flood_in_a_nested_session_ends_that_one_only() {
    let mut peer = client(Limits::default());
    let (_below, session) = nested(&mut peer);
    let told = session.token;
    peer.say(&peer::data(1, &peer::settings(&[]).repeat(1000)));
    assert!(
        session.reason().is_some_and(|reason| reason.contains("SETTINGS")),
        "{told}"
    );
    assert!(peer.session.reason().is_none());
    peer.say(&head(3, CONNECT));
    assert_eq!(peer.taken.len(), 1);
    assert!(
        peer.events
            .take()
            .iter()
            .all(|event| !matches!(event.what, Happening::Closed(_)))
    );
}

#[test]
fn a_nested_session_that_was_ended_gives_its_stream_back() {
    let mut peer = client(Limits::default());
    let (below, session) = nested(&mut peer);
    peer.turn(|turn| session.close(turn, "bye"));
    peer.say(&peer::end(1));
    assert!(below.is_over());
    assert_eq!(peer.session.streams(), 0);
    let left = (Arc::downgrade(&below), Arc::downgrade(&session));
    drop((below, session));
    assert_eq!((left.0.strong_count(), left.1.strong_count()), (0, 0));
}
