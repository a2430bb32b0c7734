//! How sessions end, and that nothing is left of them.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::peer::{self, CONNECT, client, head, of_kind, raw};
use crate::flow::{Port, pipe};
use crate::http2::frame;
use crate::http2::session::{SILENT_AFTER, Session};
use crate::http2::state::Limits;
use crate::inlet;

#[test]
fn nothing_is_opened_once_it_is_over() {
    let mut peer = client(Limits::default());
    let goaway = raw(frame::GOAWAY, 0, 0, &[0; 8]);
    peer.say(&[goaway, head(1, CONNECT), head(3, CONNECT)].concat());
    assert!(peer.taken.is_empty());
    assert_eq!(peer.session.streams(), 0);
}

#[test]
fn a_goaway_is_the_last_that_is_sent() {
    let mut peer = client(Limits::default());
    peer.say(&head(1, CONNECT));
    let stream = peer.taken[0].clone();
    let session = peer.session.clone();
    peer.turn(|turn| {
        session.close(turn, "the end");
        session.close(turn, "again");
        stream.send(turn, b"late");
        stream.abort(turn, &"late".into());
    });
    peer.say(&raw(frame::PING, 0, 0, &[0; 8]));
    let heard = peer.hears();
    assert_eq!(of_kind(&heard, frame::GOAWAY).len(), 1);
    assert_eq!(heard.last().expect("frames").0.kind, frame::GOAWAY);
    assert_eq!(stream.inlet().broken_by().as_deref(), Some("the end"));
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let mut peer = client(Limits::default());
    let now = Instant::now();
    peer.tick(now + Duration::from_secs(6));
    assert_eq!(of_kind(&peer.hears(), frame::PING).len(), 1);
    peer.tick(now + SILENT_AFTER + Duration::from_secs(2));
    assert_eq!(peer.closed.as_deref(), Some("the peer was silent for 20 s"));
    assert!(peer.below.is_over());
}

#[test]
fn a_peer_that_stays_after_the_end_is_cut() {
    let mut peer = client(Limits::default());
    let session = peer.session.clone();
    peer.turn(|turn| session.close(turn, "bye"));
    let now = Instant::now();
    peer.tick(now);
    assert!(!peer.below.is_over(), "it has its time to read why");
    peer.tick(now + Duration::from_secs(12));
    assert!(peer.below.is_over());
}

#[test]
fn a_lost_connection_cuts_all_streams_and_leaves_nothing() {
    let mut peer = client(Limits::default());
    peer.say(&[head(1, CONNECT), head(3, CONNECT)].concat());
    let (a, b) = (peer.taken[0].clone(), peer.taken[1].clone());
    peer.turn(|turn| pipe(turn, &a, &b, None));
    peer.turn(|turn| pipe(turn, &b, &a, None));
    let port: Arc<dyn Port> = peer.below.clone();
    peer.turn(|turn| inlet::broken(&port, turn, &"lost".into()));
    peer.turn(|turn| port.abort(turn, &"lost".into()));
    assert_eq!(a.inlet().broken_by().as_deref(), Some("lost"));
    let left: (Weak<Session>, Weak<dyn Port>, Weak<dyn Port>) =
        (Arc::downgrade(&peer.session), Arc::downgrade(&a), Arc::downgrade(&b));
    drop((peer, a, b, port));
    assert_eq!(
        (left.0.strong_count(), left.1.strong_count(), left.2.strong_count()),
        (0, 0, 0)
    );
}

#[test]
fn a_splice_that_has_ended_in_order_leaves_nothing() {
    let mut one = client(Limits::default());
    let mut two = peer::server(false);
    one.say(&head(1, CONNECT));
    let (a, b) = (one.taken.remove(0), two.open(CONNECT).expect("a stream"));
    one.respond(&a, "200");
    one.turn(|turn| {
        pipe(turn, &a, &b, None);
        pipe(turn, &b, &a, None);
    });
    one.say(&[peer::data(1, b"there"), peer::end(1)].concat());
    two.say(&[head(1, &[(":status", "200")]), peer::data(1, b"back"), peer::end(1)].concat());
    assert_eq!(peer::body(&two.hears(), 1), 5);
    assert_eq!(peer::body(&one.hears(), 1), 4);
    assert!(a.is_over() && b.is_over());
    assert_eq!((one.session.streams(), two.session.streams()), (0, 0));
    let left = (Arc::downgrade(&a), Arc::downgrade(&b));
    drop((a, b));
    assert_eq!((left.0.strong_count(), left.1.strong_count()), (0, 0));
}

#[test]
fn a_cut_of_one_end_cuts_the_other_while_the_splice_is_blocked() {
    let mut one = client(Limits::default());
    let mut two = peer::server(false);
    one.say(&head(1, CONNECT));
    let (a, b) = (one.taken.remove(0), two.open(CONNECT).expect("a stream"));
    one.respond(&a, "200");
    one.turn(|turn| {
        pipe(turn, &a, &b, None);
        pipe(turn, &b, &a, None);
    });
    for _ in 0..40 {
        one.say(&peer::data(1, &[0; 16384]));
    }
    assert!(a.inlet().queued() > 0, "the second peer's window is used up");
    two.say(&peer::reset(1));
    assert!(a.is_over() && b.is_over());
    assert_eq!(of_kind(&one.hears(), frame::RST_STREAM).len(), 1);
    assert_eq!((one.session.held(), a.inlet().queued()), (0, 0));
    let left = (Arc::downgrade(&a), Arc::downgrade(&b));
    drop((a, b));
    assert_eq!((left.0.strong_count(), left.1.strong_count()), (0, 0));
}
