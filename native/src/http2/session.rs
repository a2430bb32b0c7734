//! One HTTP/2 connection over any port: its life, its pings, and what is known of it.
//!
//! Every received byte is accounted twice: against its stream's window, given back when the consumer has taken it, and
//! against the session's, given back on arrival as long as the session holds less than its bound. So one stalled
//! stream holds at most its own window, and never stops its neighbours.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::exchange::Exchange;
use super::receive::Incoming;
use super::state::{Limits, State};
use super::{FRAME, OWN_FRAME, SESSION_WINDOW, WINDOW, frame};
use crate::events::{Events, Happening};
use crate::flow::{Fields, Outlet, Port, Reason, Source};
use crate::lock;
use crate::turn::Turn;

/// Between two PINGs where nothing else is heard (v1: ten seconds).
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// Without a byte from the peer, after which the session is over; both ends notice within 30 seconds.
pub const SILENT_AFTER: Duration = Duration::from_secs(20);
/// For how long a peer may read why the session is over before it is cut; one that never reads would be held for ever.
pub const STAY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub is_server: bool,
    /// Whether the peer may open streams.
    pub answers: bool,
    /// The peer is of this implementation: frames may be large and windows may grow.
    pub own: bool,
    pub limits: Limits,
}

pub struct Session {
    pub token: u64,
    pub options: Options,
    pub(super) me: Weak<Session>,
    pub(super) events: Arc<Events>,
    pub(super) below: Arc<dyn Port>,
    pub(super) state: Mutex<State>,
    /// Locked by whoever feeds the session, for as long as that takes; nothing else ever waits for it.
    pub(super) incoming: Mutex<Incoming>,
    pub(super) is_marked: AtomicBool,
}

impl Session {
    /// Begin to speak over `below`, which belongs to the session from now on.
    pub fn start(turn: &mut Turn, events: &Arc<Events>, below: Arc<dyn Port>, options: Options) -> Arc<Self> {
        let now = Instant::now();
        let made = Arc::new_cyclic(|me| Self {
            token: events.token(),
            options,
            me: me.clone(),
            events: events.clone(),
            below,
            state: Mutex::new(State::new(options.is_server, &options.limits, now)),
            incoming: Mutex::new(Incoming::new(options.is_server)),
            is_marked: AtomicBool::new(false),
        });
        made.greet(now);
        made.below.feed_by(Source::Session(made.clone()));
        made.below.inlet().connect(made.clone(), None);
        turn.flush_later(&made);
        turn.wake(Source::Port(made.below.clone()));
        made
    }

    fn greet(&self, now: Instant) {
        let mut state = self.state();
        if !self.options.is_server {
            state.out.extend_from_slice(frame::PREFACE);
        }
        let header_bytes = u32::try_from(self.options.limits.header_bytes).unwrap_or(u32::MAX);
        let settings = [
            (frame::HEADER_TABLE_SIZE, 4096),
            (frame::ENABLE_PUSH, 0),
            (frame::MAX_CONCURRENT_STREAMS, 0x7fff_ffff),
            (frame::INITIAL_WINDOW_SIZE, WINDOW),
            (frame::MAX_FRAME_SIZE, if self.options.own { OWN_FRAME } else { FRAME }),
            (frame::MAX_HEADER_LIST_SIZE, header_bytes),
        ];
        frame::settings(&mut state.out, &settings);
        frame::window_update(&mut state.out, 0, SESSION_WINDOW - 65535);
        if self.options.own {
            // The round trip decides how far windows grow, so it is to be known before there is bulk.
            Self::ping(&mut state, now);
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    // ---------------------------------------------------------------- facts

    /// Why it is over; None while it is not.
    pub fn reason(&self) -> Option<Reason> {
        self.state().over.clone()
    }

    /// Over, and so is the stream below.
    pub fn is_gone(&self) -> bool {
        self.reason().is_some() && self.below.is_over()
    }

    pub fn streams(&self) -> usize {
        self.state().streams.len()
    }

    pub fn held(&self) -> usize {
        self.state().held
    }

    pub fn round_trip(&self) -> Option<Duration> {
        self.state().round_trip
    }

    /// For how long a PING has gone unanswered with nothing else heard; zero while all is well.
    pub fn silence(&self) -> Duration {
        let state = self.state();
        state.pinged.map_or(Duration::ZERO, |at| at.max(state.heard).elapsed())
    }

    pub fn below(&self) -> &Arc<dyn Port> {
        &self.below
    }

    // ---------------------------------------------------------------- opening and ending

    /// Start a stream; None when the session is over or can have no more.
    pub fn open(&self, turn: &mut Turn, fields: Fields) -> Option<Arc<Exchange>> {
        let me = self.me.upgrade()?;
        let mut state = self.state();
        if state.over.is_some() || state.streams.len() >= state.peer_streams || state.next > 0x7fff_ffff {
            return None;
        }
        let number = state.next;
        state.next += 2;
        let made = Exchange::new(&me, number, state.peer_window, true, fields);
        super::send::head(&mut state, number, made.request());
        state.streams.insert(number, made.clone());
        drop(state);
        turn.flush_later(&me);
        Some(made)
    }

    /// End the session with a GOAWAY that carries the reason.
    pub fn close(&self, turn: &mut Turn, reason: &str) {
        let said = if reason.is_empty() {
            "closed by this side"
        } else {
            reason
        };
        self.leave(turn, frame::NO_ERROR, reason.as_bytes(), said);
    }

    /// End the session over what the peer did.
    pub(super) fn fail(&self, turn: &mut Turn, code: u32, reason: &str) {
        self.leave(turn, code, reason.as_bytes(), reason);
    }

    fn leave(&self, turn: &mut Turn, code: u32, said: &[u8], reason: &str) {
        let reason: Reason = reason.into();
        let streams = {
            let mut state = self.state();
            if state.over.is_some() {
                return;
            }
            let last = state.last;
            frame::goaway(&mut state.out, last, code, said);
            self.below.send(turn, &state.out[state.gone..]);
            state.finish(&reason)
        };
        self.cut_all(turn, streams, &reason);
        self.below.end(turn);
    }

    /// Cut all streams, and tell of the end.
    pub(super) fn over(&self, turn: &mut Turn, reason: &Reason) {
        let streams = {
            let mut state = self.state();
            if state.over.is_some() {
                return;
            }
            state.finish(reason)
        };
        self.cut_all(turn, streams, reason);
    }

    fn cut_all(&self, turn: &mut Turn, streams: HashMap<u32, Arc<Exchange>>, reason: &Reason) {
        for exchange in streams.into_values() {
            exchange.cut(turn, reason);
        }
        self.events.push(self.token, Happening::Closed(reason.clone()));
    }

    // ---------------------------------------------------------------- time

    pub(super) fn ping(state: &mut State, now: Instant) {
        state.pinged = Some(now);
        frame::ping(&mut state.out, &[0; 8], false);
    }

    /// Look at the clock: ping, give a silent peer up, or cut one that stays after the end. To be called about once a second.
    pub fn tick(&self, turn: &mut Turn, now: Instant) {
        let Some(me) = self.me.upgrade() else { return };
        let mut state = self.state();
        if state.over.is_some() {
            let is_late = now >= state.ping_at;
            drop(state);
            if is_late && !self.below.is_over() {
                self.below.abort(turn, &"the peer stayed after the end".into());
            }
            return;
        }
        state.rest();
        if now.saturating_duration_since(state.heard) > SILENT_AFTER {
            drop(state);
            let reason: Reason = format!("the peer was silent for {} s", SILENT_AFTER.as_secs()).into();
            self.over(turn, &reason);
            return self.below.abort(turn, &"silent".into());
        }
        if now < state.ping_at || state.pinged.is_some() {
            return;
        }
        if now.saturating_duration_since(state.heard) < PING_EVERY && state.round_trip.is_some() {
            state.ping_at = state.heard + PING_EVERY; // who is heard needs not be asked
            return;
        }
        state.ping_at = now + PING_EVERY;
        Self::ping(&mut state, now);
        drop(state);
        turn.flush_later(&me);
    }
}

impl Outlet for Session {
    fn put(&self, turn: &mut Turn, data: &[u8]) -> usize {
        {
            let mut state = self.state();
            if state.over.is_some() {
                return data.len();
            }
            if state.queued() > super::UNREAD {
                state.is_deaf = true;
                return 0;
            }
            state.heard = Instant::now();
        }
        let fed = self.feed(turn, &mut lock(&self.incoming), data);
        if let Err(fault) = fed {
            self.fail(turn, fault.code, &fault.text);
        } else {
            self.top_up(turn);
        }
        data.len()
    }

    fn end(&self, turn: &mut Turn) {
        self.over(turn, &"the peer closed the connection".into());
        self.below.end(turn);
    }

    fn abort(&self, turn: &mut Turn, reason: &Reason) {
        self.over(turn, reason);
        self.below.abort(turn, reason);
    }
}
