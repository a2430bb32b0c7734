//! What the mesh does that RFC 9113 does not, and what peers may do late. Source: spec mesh-protocol 4.

use super::peer::{self, CONNECT, body, client, data, end, fields, head, last_head, of_kind, raw, reset, settings};
use crate::http2::frame;
use crate::http2::state::Limits;

#[test]
fn connect_carries_scheme_and_path_in_both_roles() {
    let mut opener = peer::server(false);
    opener.open(CONNECT).expect("a stream");
    let heard = opener.hears();
    let sent = of_kind(&heard, frame::HEADERS)[0].1.clone();
    let said: Vec<(String, String)> = CONNECT
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    assert_eq!(opener.decode(&sent), said);
    let mut accepter = client(Limits::default());
    accepter.say(&raw(frame::HEADERS, frame::END_HEADERS, 1, &sent));
    assert_eq!(
        *accepter.taken[0].exchange().expect("an exchange").request(),
        fields(CONNECT)
    );
}

#[test]
fn content_length_is_never_sent() {
    let mut opener = peer::server(false);
    opener
        .open(&[(":method", "POST"), (":path", "/"), ("content-length", "5")])
        .expect("a stream");
    let heard = opener.hears();
    let sent = opener.decode(&of_kind(&heard, frame::HEADERS)[0].1);
    assert!(sent.iter().all(|(name, _)| name != "content-length"), "{sent:?}");
}

#[test]
fn an_answer_comes_after_interim_ones_and_trailers_do_not_replace_it() {
    let mut opener = peer::server(false);
    let stream = opener.open(CONNECT).expect("a stream");
    let exchange = stream.exchange().expect("an exchange");
    opener.say(&head(1, &[(":status", "103")]));
    assert!(!exchange.is_answered());
    opener.say(
        &[
            head(1, &[(":status", "200")]),
            data(1, b"body"),
            last_head(1, &[("x", "trailer")]),
        ]
        .concat(),
    );
    assert_eq!(exchange.response(), Some(&fields(&[(":status", "200")])));
    assert_eq!(stream.inlet().take().expect("bytes").0, b"body");
    assert_eq!(stream.inlet().take().expect("the end").0, b"");
}

#[test]
fn each_side_ends_alone_and_a_stream_is_over_when_both_have() {
    let mut peer = client(Limits::default());
    peer.say(&[head(1, CONNECT), end(1)].concat());
    let stream = peer.taken[0].clone();
    peer.respond(&stream, "200");
    peer.send(&stream, b"after the peer's end");
    assert!(stream.inlet().is_ended() && !stream.is_over());
    peer.turn(|turn| stream.end(turn));
    assert!(stream.is_over());
    assert_eq!((stream.inlet().broken_by(), peer.session.streams()), (None, 0));
    let heard = peer.hears();
    assert_eq!(body(&heard, 1), 20);
    let (last, said) = heard.last().expect("frames");
    assert_eq!((last.kind, last.flags, said.len()), (frame::DATA, frame::END_STREAM, 0));
}

#[test]
fn an_end_without_an_answer_is_a_reset() {
    let mut peer = client(Limits::default());
    peer.say(&head(1, CONNECT));
    let stream = peer.taken[0].clone();
    peer.turn(|turn| stream.end(turn));
    assert_eq!(of_kind(&peer.hears(), frame::RST_STREAM).len(), 1);
    assert!(stream.is_over());
}

#[test]
fn late_frames_are_dropped_alone() {
    let mut peer = client(Limits::default());
    peer.say(&[head(1, CONNECT), head(3, CONNECT)].concat());
    let (stream, other) = (peer.taken[0].clone(), peer.taken[1].clone());
    peer.turn(|turn| stream.abort(turn, &"enough".into()));
    peer.say(
        &[
            data(1, b"late"),
            peer::window(1, 5),
            head(1, CONNECT),
            reset(1),
            end(1),
            data(3, b"kept"),
        ]
        .concat(),
    );
    peer.say(&[end(3), data(3, b"after its end"), end(3)].concat());
    assert!(peer.session.reason().is_none());
    assert_eq!(other.inlet().take().expect("bytes").0, b"kept");
    assert_eq!(other.inlet().take().expect("the end").0, b"");
    assert_eq!(peer.session.held(), 4, "held until the consumer gives credit");
}

#[test]
fn a_goaway_of_the_peer_gives_its_reason() {
    let mut peer = client(Limits::default());
    peer.say(&head(1, CONNECT));
    let said = [&[0; 8][..], b"the hub restarts"].concat();
    peer.say(&raw(frame::GOAWAY, 0, 0, &said));
    assert_eq!(peer.closed.as_deref(), Some("the hub restarts"));
    assert_eq!(peer.taken[0].inlet().broken_by().as_deref(), Some("the hub restarts"));
    assert!(peer.open(CONNECT).is_none());
}

#[test]
fn padding_is_no_content_and_is_credited() {
    let mut peer = client(Limits::default());
    peer.say(&head(1, CONNECT));
    let stream = peer.taken[0].clone();
    for _ in 0..2000 {
        peer.say(&raw(
            frame::DATA,
            frame::PADDED,
            1,
            &[&[200][..], b"x", &[0; 200]].concat(),
        ));
        let (bytes, credit) = stream.inlet().take().expect("a byte");
        assert_eq!(bytes, b"x");
        peer.turn(|turn| stream.credit(turn, credit));
    }
    assert!(
        peer.session.reason().is_none(),
        "400 KB of padding do not use the window up"
    );
    assert_eq!(peer.session.held(), 0);
}

#[test]
fn frames_may_come_byte_by_byte() {
    let mut peer = client(Limits::default());
    let said = [
        settings(&[(frame::MAX_FRAME_SIZE, 20000)]),
        head(1, CONNECT),
        raw(frame::DATA, frame::PADDED, 1, b"\x02ab\0\0"),
        data(1, b"c"),
        end(1),
    ];
    for byte in said.concat() {
        peer.say(&[byte]);
    }
    let stream = peer.taken[0].clone();
    assert_eq!(
        stream.inlet().take().expect("bytes").0,
        b"abc",
        "small ones are put together"
    );
    assert!(stream.inlet().is_ended());
}
