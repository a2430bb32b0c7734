//! A session under test, and in the place of its peer a test that says frames and hears them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::events::{Events, Happening, Watch};
use crate::flow::{Fields, Outlet, Port, Reason, Source};
use crate::hpack::{self, Decoder};
use crate::http2::frame::{self, HEAD, Head};
use crate::http2::session::{Options, Session};
use crate::http2::state::Limits;
use crate::inlet::{self, Inlet};
use crate::lock;
use crate::turn::Turn;

/// A frame as it was sent: its head and its payload.
pub type Frame = (Head, Vec<u8>);

#[derive(Default)]
struct Half {
    sent: Vec<u8>,
    feeder: Option<Source>,
    is_ended: bool,
    is_over: bool,
    /// Bytes that it takes, before `read` makes room again; None for all.
    room: Option<usize>,
}

/// The stream below: all that is put into it lies there until the test reads it.
pub struct Below {
    watch: Watch,
    inlet: Inlet,
    half: Mutex<Half>,
}

impl Below {
    fn take(&self, data: &[u8], limit: bool) -> usize {
        let mut half = lock(&self.half);
        if half.is_over || half.is_ended {
            return data.len();
        }
        let size = half
            .room
            .filter(|_| limit)
            .map_or(data.len(), |room| room.min(data.len()));
        half.room = half.room.map(|room| room.saturating_sub(size));
        half.sent.extend_from_slice(&data[..size]);
        size
    }
}

impl Outlet for Below {
    fn put(&self, _: &mut Turn, data: &[u8]) -> usize {
        self.take(data, true)
    }

    fn end(&self, _: &mut Turn) {
        lock(&self.half).is_ended = true;
    }

    fn abort(&self, _: &mut Turn, _: &Reason) {
        let mut half = lock(&self.half);
        half.is_over = true;
        half.feeder = None;
    }
}

impl Port for Below {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn inlet(&self) -> &Inlet {
        &self.inlet
    }

    fn credit(&self, _: &mut Turn, _: usize) {}

    fn send(&self, _: &mut Turn, data: &[u8]) -> bool {
        self.take(data, false);
        true
    }

    fn feed_by(&self, source: Source) {
        lock(&self.half).feeder = Some(source);
    }

    fn has_feeder(&self) -> bool {
        lock(&self.half).feeder.is_some()
    }

    fn has_room(&self) -> bool {
        lock(&self.half).room != Some(0)
    }

    fn is_over(&self) -> bool {
        lock(&self.half).is_over
    }

    fn is_ended(&self) -> bool {
        lock(&self.half).is_ended
    }

    fn is_own(&self) -> bool {
        false
    }

    fn remote(&self) -> Option<SocketAddr> {
        None
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }
}

/// The test's end of a connection.
pub struct Peer {
    pub session: Arc<Session>,
    pub below: Arc<Below>,
    pub events: Arc<Events>,
    /// Streams that the session has told of.
    pub taken: Vec<Arc<dyn Port>>,
    /// The reason of its end, when it was told.
    pub closed: Option<String>,
    partial: Vec<u8>,
    decoder: Decoder,
}

/// A session that accepts streams, with a client as its peer, whose preface and settings were said.
pub fn client(limits: Limits) -> Peer {
    let mut peer = Peer::new(true, false, limits);
    peer.say(&[frame::PREFACE, &settings(&[])].concat());
    peer.hears();
    peer
}

/// A session that opens streams, with a server as its peer, whose settings were said.
pub fn server(own: bool) -> Peer {
    let mut peer = Peer::new(false, own, Limits::default());
    peer.say(&settings(&[]));
    peer.hears();
    peer
}

impl Peer {
    pub fn new(is_server: bool, own: bool, limits: Limits) -> Self {
        let events = Events::new().expect("there are descriptors");
        let below = below(&events);
        let options = Options {
            is_server,
            answers: is_server,
            own,
            limits,
        };
        let mut turn = Turn::new();
        let session = Session::start(&mut turn, &events, below.clone(), options);
        let mut peer = Self {
            session,
            below,
            events,
            taken: Vec::new(),
            closed: None,
            partial: Vec::new(),
            decoder: Decoder::new(),
        };
        peer.settle(turn);
        peer
    }

    pub fn say(&mut self, bytes: &[u8]) {
        let port: Arc<dyn Port> = self.below.clone();
        self.turn(|turn| inlet::arrived(&port, turn, bytes));
    }

    /// Do something, and all that comes of it.
    pub fn turn<T>(&mut self, work: impl FnOnce(&mut Turn) -> T) -> T {
        let mut turn = Turn::new();
        let result = work(&mut turn);
        self.settle(turn);
        result
    }

    fn settle(&mut self, mut turn: Turn) {
        turn.finish();
        for event in self.events.take() {
            match event.what {
                Happening::Request(stream) => self.taken.push(stream),
                Happening::Closed(reason) if event.token == self.session.token => {
                    self.closed = Some(reason.to_string())
                }
                _ => {}
            }
        }
    }

    pub fn open(&mut self, request: &[(&str, &str)]) -> Option<Arc<dyn Port>> {
        let (session, request) = (self.session.clone(), fields(request));
        self.turn(|turn| session.open(turn, request))
            .map(|made| made as Arc<dyn Port>)
    }

    pub fn respond(&mut self, stream: &Arc<dyn Port>, status: &str) {
        let exchange = stream.exchange().expect("it is one of HTTP/2");
        self.turn(|turn| exchange.respond(turn, &fields(&[(":status", status)])));
    }

    pub fn send(&mut self, stream: &Arc<dyn Port>, data: &[u8]) -> bool {
        self.turn(|turn| stream.send(turn, data))
    }

    pub fn tick(&mut self, now: Instant) {
        let session = self.session.clone();
        self.turn(|turn| session.tick(turn, now));
    }

    /// All whole frames that came since the last call.
    pub fn hears(&mut self) -> Vec<Frame> {
        self.partial.append(&mut lock(&self.below.half).sent);
        if self.partial.starts_with(frame::PREFACE) {
            self.partial.drain(..frame::PREFACE.len());
        }
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(first) = self.partial[at..].first_chunk::<HEAD>() {
            let head = Head::parse(first);
            let end = at + HEAD + head.length;
            if self.partial.len() < end {
                break;
            }
            found.push((head, self.partial[at + HEAD..end].to_vec()));
            at = end;
        }
        self.partial.drain(..at);
        found
    }

    /// Take so many bytes at most, from now on; None for all.
    pub fn reads(&mut self, room: Option<usize>) {
        let feeder = {
            let mut half = lock(&self.below.half);
            half.room = room;
            half.feeder.clone()
        };
        if let Some(feeder) = feeder {
            self.turn(|turn| turn.wake(feeder));
        }
    }

    pub fn decode(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let found = self.decoder.decode(block, 1 << 20).expect("it is a header block");
        found
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    /// The code and the text of the GOAWAY among what is heard.
    pub fn goaway(&mut self) -> Option<(u32, String)> {
        let heard = self.hears();
        let (_, said) = heard.iter().find(|(head, _)| head.kind == frame::GOAWAY)?;
        Some((
            frame::word(&said[4..]),
            String::from_utf8_lossy(&said[8..]).into_owned(),
        ))
    }
}

pub fn below(events: &Arc<Events>) -> Arc<Below> {
    Arc::new(Below {
        watch: Watch::new(events),
        inlet: Inlet::default(),
        half: Mutex::default(),
    })
}

// -------------------------------------------------------------------- frames

pub const GET: &[(&str, &str)] = &[(":method", "GET"), (":scheme", "http"), (":path", "/")];
pub const CONNECT: &[(&str, &str)] = &[(":method", "CONNECT"), (":scheme", "http"), (":path", "/api/x")];

pub fn fields(given: &[(&str, &str)]) -> Fields {
    given
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

pub fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::head(&mut out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
    out
}

pub fn block(given: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    hpack::encode(given.iter().copied(), &mut out);
    out
}

pub fn head(stream: u32, given: &[(&str, &str)]) -> Vec<u8> {
    raw(frame::HEADERS, frame::END_HEADERS, stream, &block(given))
}

pub fn last_head(stream: u32, given: &[(&str, &str)]) -> Vec<u8> {
    raw(
        frame::HEADERS,
        frame::END_HEADERS | frame::END_STREAM,
        stream,
        &block(given),
    )
}

pub fn data(stream: u32, payload: &[u8]) -> Vec<u8> {
    raw(frame::DATA, 0, stream, payload)
}

pub fn end(stream: u32) -> Vec<u8> {
    raw(frame::DATA, frame::END_STREAM, stream, b"")
}

pub fn reset(stream: u32) -> Vec<u8> {
    raw(frame::RST_STREAM, 0, stream, &frame::CANCEL.to_be_bytes())
}

pub fn window(stream: u32, increment: u32) -> Vec<u8> {
    raw(frame::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::settings(&mut out, values);
    out
}

/// The frames of one kind, of all streams.
pub fn of_kind(heard: &[Frame], kind: u8) -> Vec<&Frame> {
    heard.iter().filter(|(head, _)| head.kind == kind).collect()
}

/// Bytes of DATA for `stream`.
pub fn body(heard: &[Frame], stream: u32) -> usize {
    of_kind(heard, frame::DATA)
        .iter()
        .filter(|(head, _)| head.stream == stream)
        .map(|(head, _)| head.length)
        .sum()
}
