//! The sending half of a session: frames into the stream below, each of its streams in turn.
//!
//! A stream sends what its window, the session's and the stream below take now; then it waits in line.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::exchange::Exchange;
use super::session::Session;
use super::state::State;
use super::{HEADER_PIECE, QUANTUM, SESSION_WINDOW, frame};
use crate::flow::Source;
use crate::hpack::{self, Field};
use crate::turn::{Flush, Turn};

/// Frame a head, never with `content-length`, over which v1 ends sessions (spec mesh-protocol 4.2).
pub(super) fn head(state: &mut State, stream: u32, fields: &[Field]) {
    let mut block = Vec::with_capacity(256);
    if std::mem::take(&mut state.owes_table_size) {
        block.push(0x20); // dynamic table size update to 0 (RFC 7541 section 6.3)
    }
    let kept = fields.iter().filter(|(name, _)| &**name != "content-length");
    hpack::encode(kept.map(|(name, value)| (&**name, &**value)), &mut block);
    frame::headers(&mut state.out, stream, &block, HEADER_PIECE);
}

impl Session {
    /// The stream below has room again.
    pub fn advance(&self, turn: &mut Turn) {
        self.state().is_blocked = false;
        self.flush(turn);
    }

    /// Let streams that wait send, as many as there is room for.
    pub(super) fn pump(&self, turn: &mut Turn) {
        for exchange in self.next_ones() {
            exchange.serve(turn);
        }
    }

    fn next_ones(&self) -> Vec<Arc<Exchange>> {
        let mut state = self.state();
        let mut room = state.room();
        let mut found = Vec::new();
        while room > 0 {
            let Some(number) = state.waiting.pop_front() else { break };
            if let Some(exchange) = state.streams.get(&number) {
                found.push(exchange.clone());
                room = room.saturating_sub(QUANTUM);
            }
        }
        found
    }

    /// Hand what is framed to the stream below; false if it has no room for all.
    fn pour(&self, turn: &mut Turn) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        if state.over.is_some() {
            state.out = Vec::new(); // nothing follows a GOAWAY
            state.gone = 0;
            return false;
        }
        if state.is_blocked {
            return false;
        }
        while state.queued() > 0 {
            let taken = self.below.put(turn, &state.out[state.gone..]);
            state.gone += taken;
            if state.queued() > 0 && taken == 0 {
                state.is_blocked = true;
                return false;
            }
        }
        state.emptied();
        true
    }

    /// Give the session's window back, unless too much is held; it cannot leak, as it is set, not counted.
    pub(super) fn top_up(&self, turn: &mut Turn) {
        let mut state = self.state();
        let missing = SESSION_WINDOW - state.receive_window;
        if state.held > self.options.limits.held || missing * 2 < SESSION_WINDOW || state.over.is_some() {
            return;
        }
        state.receive_window = SESSION_WINDOW;
        frame::window_update(&mut state.out, 0, missing);
        drop(state);
        self.flush_later(turn);
    }

    pub(super) fn flush_later(&self, turn: &mut Turn) {
        if let Some(me) = self.me.upgrade() {
            turn.flush_later(&me);
        }
    }
}

impl Flush for Session {
    fn flush(&self, turn: &mut Turn) {
        self.is_marked.store(false, Ordering::Release);
        if turn.is_one_of_many() && self.below.postpones() {
            return;
        }
        if !self.pour(turn) {
            return;
        }
        let (has_waiting, was_deaf) = {
            let mut state = self.state();
            (!state.waiting.is_empty(), std::mem::take(&mut state.is_deaf))
        };
        if has_waiting {
            self.pump(turn);
        }
        if was_deaf {
            turn.wake(Source::Port(self.below.clone()));
        }
    }

    fn mark(&self) -> bool {
        !self.is_marked.swap(true, Ordering::AcqRel)
    }
}
