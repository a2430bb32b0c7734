//! A session between a hostile peer and a consumer that does anything at any moment.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pit::Pit;
use crate::events::{Events, Happening};
use crate::flow::{Fields, Port, pipe};
use crate::http2::frame::PREFACE;
use crate::http2::session::{Options, Session};
use crate::http2::state::Limits;
use crate::http2::{SESSION_WINDOW, UNREAD};
use crate::inlet;
use crate::turn::Turn;

/// So low that a few frames pass them.
const LIMITS: Limits = Limits {
    streams: 8,
    held: 4096,
    header_bytes: 4096,
    resets: 4.0,
    controls: 4.0,
};
/// Bytes up to this value of an order are the length of what the peer sends next.
const LONGEST: u8 = 0xbf;

/// The first byte: in which of its forms the session is met.
const SERVER: u8 = 1;
const OWN: u8 = 2;
const ANSWERS: u8 = 4;
const SLOW: u8 = 8;
const BARE: u8 = 16;

/// Runs orders, of a byte each: up to 0xbf the peer sends as many of the bytes that follow, above it this side acts.
///
/// # Panics
///
/// When a bound is passed, when the session sends what v1 ends sessions over, or when a dead session holds something.
pub fn session(data: &[u8]) {
    let Some((&form, mut data)) = data.split_first() else {
        return;
    };
    let mut scene = Scene::new(form);
    while let Some((&order, rest)) = data.split_first() {
        data = rest;
        if order <= LONGEST {
            let (sent, rest) = data.split_at(data.len().min(usize::from(order)));
            data = rest;
            scene.arrive(sent);
        } else {
            let (&which, rest) = data.split_first().unwrap_or((&0, &[]));
            data = rest;
            scene.act(order & 15, which);
        }
        scene.check();
    }
    scene.end();
}

struct Scene {
    session: Arc<Session>,
    pit: Arc<Pit>,
    port: Arc<dyn Port>,
    events: Arc<Events>,
    /// Streams that this side holds, whoever opened them.
    streams: Vec<Arc<dyn Port>>,
    /// Of those, the tokens of the ones that were given a sink: nobody is given another.
    piped: HashSet<u64>,
    now: Instant,
}

impl Scene {
    fn new(form: u8) -> Self {
        let events = Events::new().expect("there are descriptors");
        let (is_server, own) = (form & SERVER != 0, form & OWN != 0);
        let pit = Pit::new(&events, form & SLOW != 0, own);
        let port: Arc<dyn Port> = pit.clone();
        let options = Options {
            is_server,
            answers: form & ANSWERS != 0,
            own,
            limits: LIMITS,
        };
        let mut turn = Turn::new();
        let session = Session::start(&mut turn, &events, port.clone(), options);
        turn.finish();
        let mut scene = Self {
            session,
            pit,
            port,
            events,
            streams: Vec::new(),
            piped: HashSet::new(),
            now: Instant::now(),
        };
        if is_server && form & BARE == 0 {
            scene.arrive(PREFACE);
        }
        scene
    }

    fn arrive(&mut self, data: &[u8]) {
        let mut turn = Turn::new();
        inlet::arrived(&self.port, &mut turn, data);
        self.settle(turn);
    }

    /// Do the work to its end, and take up the streams that the peer has opened.
    fn settle(&mut self, mut turn: Turn) {
        turn.finish();
        for event in self.events.take() {
            if let Happening::Request(stream) = event.what {
                self.streams.push(stream);
            }
        }
    }

    fn act(&mut self, order: u8, which: u8) {
        let mut turn = Turn::new();
        match order {
            0 => self.streams.extend(
                self.session
                    .open(&mut turn, fields(":path", which))
                    .map(|made| made as Arc<dyn Port>),
            ),
            1 => {
                if let Some(feeder) = self.pit.read() {
                    turn.wake(feeder);
                }
            }
            2 => {
                self.now += Duration::from_secs(u64::from(which));
                self.session.tick(&mut turn, self.now);
            }
            3 => self.session.close(&mut turn, "enough"),
            4 => inlet::finished(&self.port, &mut turn),
            _ if self.streams.is_empty() => {}
            _ => self.act_on(&mut turn, order, which),
        }
        self.settle(turn);
    }

    /// What `which` chooses is the stream, and how much of it.
    fn act_on(&mut self, turn: &mut Turn, order: u8, which: u8) {
        let at = usize::from(which) % self.streams.len();
        let stream = self.streams[at].clone();
        match order {
            5 => {
                if let Some(exchange) = stream.exchange() {
                    exchange.respond(turn, &fields(":status", which));
                }
            }
            6 => drop(stream.send(turn, &vec![which; usize::from(which) * 256])),
            7 => stream.end(turn),
            8 => stream.abort(turn, &"unwanted".into()),
            9 => {
                if let Some((bytes, credit)) = stream.inlet().take() {
                    stream.credit(turn, credit);
                    stream
                        .inlet()
                        .unread(&bytes[..bytes.len().min(usize::from(which / 16))]);
                }
            }
            10 | 11 => {
                let sink = &self.streams[usize::from(which / 16) % self.streams.len()];
                if !sink.has_feeder() && self.piped.insert(stream.watch().token) {
                    pipe(turn, &stream, sink, None);
                }
            }
            12 => drop(self.streams.swap_remove(at)),
            _ => drop(stream.put(turn, &[which; 300])),
        }
    }

    fn check(&self) {
        let window = usize::try_from(SESSION_WINDOW).expect("the window is positive");
        assert!(self.session.held() <= LIMITS.held + window);
        assert!(self.port.inlet().queued() <= UNREAD);
        if self.session.reason().is_some() {
            assert_eq!(
                (self.session.streams(), self.session.held()),
                (0, 0),
                "what is over holds nothing"
            );
        }
    }

    fn end(mut self) {
        let mut turn = Turn::new();
        self.pit.lose(&mut turn);
        self.settle(turn);
        assert!(self.session.reason().is_some());
        self.check();
        assert!(
            self.streams.iter().all(|stream| stream.is_over()),
            "a lost session cuts all of its streams"
        );
        let left = Arc::downgrade(&self.session);
        drop(self);
        assert_eq!(left.strong_count(), 0, "a lost session does not hold itself");
    }
}

fn fields(name: &str, which: u8) -> Fields {
    let value = if which < 128 {
        "200".into()
    } else {
        "v".repeat(usize::from(which))
    };
    vec![(name.into(), value.into()), ("content-length".into(), "1".into())]
}
