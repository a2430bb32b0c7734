//! One HTTP/2 stream as a port: what is known of it, how it ends, what its consumer gives back.
//!
//! Locks: the session's state first, then the stream's own half.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::half::Half;
use super::session::Session;
use super::state::State;
use super::{CREDITS, OWN_WINDOW_MAX, QUANTUM, WINDOW, frame};
use crate::events::{ANSWERED, OVER, READABLE, ROOM, Watch};
use crate::flow::{Fields, Outlet, Port, Reason, Source};
use crate::inlet::{self, Inlet};
use crate::lock;
use crate::turn::Turn;

/// A round trip from which a window may be the bound: longer than a local network's.
const LONG: std::time::Duration = std::time::Duration::from_millis(5);

pub struct Exchange {
    pub number: u32,
    pub(super) session: Arc<Session>,
    me: Weak<Exchange>,
    pub(super) watch: Watch,
    inlet: Inlet,
    half: Mutex<Half>,
    request: Fields,
    response: OnceLock<Fields>,
    /// This side has opened it.
    is_ours: bool,
}

impl Exchange {
    pub(super) fn new(session: &Arc<Session>, number: u32, window: i64, is_ours: bool, request: Fields) -> Arc<Self> {
        let half = Half {
            send_window: window,
            receive_window: i64::from(WINDOW),
            window: i64::from(WINDOW),
            is_headed: is_ours,
            ..Half::default()
        };
        Arc::new_cyclic(|me| Self {
            number,
            session: session.clone(),
            me: me.clone(),
            watch: Watch::new(&session.events),
            inlet: Inlet::default(),
            half: Mutex::new(half),
            request,
            response: OnceLock::new(),
            is_ours,
        })
    }

    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub fn request(&self) -> &Fields {
        &self.request
    }

    pub fn response(&self) -> Option<&Fields> {
        self.response.get()
    }

    /// Whether the head of the answer has come, or never will.
    pub fn is_answered(&self) -> bool {
        self.response.get().is_some() || self.inlet.is_ended() || self.is_over()
    }

    pub(super) fn half(&self) -> std::sync::MutexGuard<'_, Half> {
        lock(&self.half)
    }

    /// Send the answer's head. Later ones are not sent.
    pub fn respond(&self, turn: &mut Turn, fields: &Fields) {
        {
            let mut state = self.session.state();
            let mut half = self.half();
            if half.is_over || half.is_headed {
                return;
            }
            half.is_headed = true;
            super::send::head(&mut state, self.number, fields);
            self.line_up(&mut state, &mut half);
        }
        self.session.flush_later(turn);
    }

    /// The head of the answer came. Interim ones (1xx) and trailers are dropped, which is false.
    pub(super) fn answered(&self, fields: Fields) -> bool {
        let is_interim = fields
            .iter()
            .any(|(name, value)| &**name == ":status" && value.starts_with('1'));
        let is_answer = !is_interim && self.response.set(fields).is_ok();
        if is_answer {
            self.watch.tell(ANSWERED);
        }
        is_answer
    }

    /// Over in order once both sides have ended.
    pub(super) fn settle(&self, state: &mut State, half: &mut Half) {
        if half.is_finished && half.is_end_sent && !half.is_over {
            self.forget(state, half);
        }
    }

    /// Over: the session forgets the stream and what it holds of it.
    fn forget(&self, state: &mut State, half: &mut Half) {
        half.is_over = true;
        half.outbox = Vec::new();
        half.sent = 0;
        half.feeder = None;
        if state.streams.remove(&self.number).is_some() && !self.is_ours {
            state.inbound -= 1;
        }
        state.held = state.held.saturating_sub(std::mem::take(&mut half.received));
        self.inlet.let_go();
        self.watch.tell(OVER | ROOM | READABLE | ANSWERED);
    }

    // ---------------------------------------------------------------- ending by force

    /// The peer, or the end of the session, has cut the stream.
    pub(super) fn cut(&self, turn: &mut Turn, reason: &Reason) {
        {
            let mut state = self.session.state();
            let mut half = self.half();
            if half.is_over {
                return;
            }
            self.inlet.mark_broken(reason);
            self.forget(&mut state, &mut half);
        }
        self.broke(turn, reason);
    }

    fn broke(&self, turn: &mut Turn, reason: &Reason) {
        self.session.top_up(turn); // what it held is free
        if let Some(me) = self.me.upgrade() {
            let port: Arc<dyn Port> = me;
            inlet::broken(&port, turn, reason);
        }
    }

    fn is_long(&self, state: &State) -> bool {
        self.session.options.own && state.round_trip.is_some_and(|time| time > LONG)
    }
}

impl Outlet for Exchange {
    fn put(&self, turn: &mut Turn, data: &[u8]) -> usize {
        let taken = {
            let mut state = self.session.state();
            let mut half = self.half();
            if half.is_over || half.is_end_asked {
                return data.len();
            }
            let taken = if half.queued() > 0 {
                0
            } else {
                self.frame(&mut state, &mut half, data)
            };
            if taken < data.len() {
                half.wants = true;
                self.line_up(&mut state, &mut half);
            }
            taken
        };
        if taken > 0 {
            self.session.flush_later(turn);
        }
        taken
    }

    fn end(&self, turn: &mut Turn) {
        {
            let mut state = self.session.state();
            let mut half = self.half();
            if half.is_over || half.is_end_asked {
                return;
            }
            if half.is_headed {
                half.is_end_asked = true;
                if half.queued() == 0 {
                    self.send_end(&mut state, &mut half);
                }
            }
            if half.is_headed {
                drop((half, state));
                return self.session.flush_later(turn);
            }
        }
        self.abort(turn, &"it was never answered".into()); // peers end the session over a body without a head
    }

    fn abort(&self, turn: &mut Turn, reason: &Reason) {
        {
            let mut state = self.session.state();
            let mut half = self.half();
            if half.is_over {
                return;
            }
            frame::reset(&mut state.out, self.number, frame::CANCEL);
            self.inlet.mark_broken(reason);
            self.forget(&mut state, &mut half);
        }
        self.inlet.clear();
        self.session.flush_later(turn);
        self.broke(turn, reason);
    }
}

impl Port for Exchange {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn inlet(&self) -> &Inlet {
        &self.inlet
    }

    fn credit(&self, turn: &mut Turn, size: usize) {
        let limit = self.session.options.limits.held;
        let (was_full, is_given) = {
            let mut state = self.session.state();
            let mut half = self.half();
            let size = size.min(half.received);
            let was_full = state.held > limit;
            half.received -= size;
            state.held -= size;
            half.uncredited += i64::try_from(size).unwrap_or(0);
            if half.is_over || half.is_finished || half.uncredited * CREDITS < half.window {
                (was_full, false)
            } else {
                let mut given = std::mem::take(&mut half.uncredited);
                if half.window < OWN_WINDOW_MAX && half.received == 0 && self.is_long(&state) {
                    let grown = (half.window * 2).min(OWN_WINDOW_MAX);
                    given += grown - half.window;
                    half.window = grown;
                }
                half.receive_window += given;
                frame::window_update(&mut state.out, self.number, given);
                (was_full, true)
            }
        };
        if is_given {
            self.session.flush_later(turn);
        }
        if was_full {
            self.session.top_up(turn);
        }
    }

    fn send(&self, turn: &mut Turn, data: &[u8]) -> bool {
        let has_room = {
            let mut state = self.session.state();
            let mut half = self.half();
            if half.is_over || half.is_end_asked {
                return true;
            }
            let taken = if half.queued() > 0 {
                0
            } else {
                self.frame(&mut state, &mut half, data)
            };
            if half.sent > QUANTUM {
                let sent = std::mem::take(&mut half.sent);
                half.outbox.drain(..sent);
            }
            half.outbox.extend_from_slice(&data[taken..]);
            self.line_up(&mut state, &mut half);
            half.queued() == 0
        };
        self.session.flush_later(turn);
        has_room
    }

    fn feed_by(&self, source: Source) {
        let mut half = self.half();
        if !half.is_over {
            half.feeder = Some(source);
        }
    }

    fn has_feeder(&self) -> bool {
        self.half().feeder.is_some()
    }

    fn has_room(&self) -> bool {
        self.half().queued() == 0
    }

    fn is_over(&self) -> bool {
        self.half().is_over
    }

    fn is_ended(&self) -> bool {
        let half = self.half();
        half.is_end_asked || half.is_over
    }

    fn is_own(&self) -> bool {
        self.session.options.own
    }

    fn remote(&self) -> Option<SocketAddr> {
        self.session.below.remote()
    }

    fn local(&self) -> Option<SocketAddr> {
        self.session.below.local()
    }

    fn exchange(&self) -> Option<&Exchange> {
        Some(self)
    }
}
