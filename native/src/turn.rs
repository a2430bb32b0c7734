//! One turn of work: what became ready by it, and what is to be flushed at its end.
//!
//! Bytes that arrive together leave together: a hop below is flushed once, when all that came was handed on.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::flow::Source;
use crate::inlet;

/// Something that gathers what is put into it and sends it in one go.
pub trait Flush: Send + Sync {
    fn flush(&self, turn: &mut Turn);
    /// Note that a flush is due; false if one was already.
    fn mark(&self) -> bool;
}

#[derive(Default)]
pub struct Turn {
    ready: VecDeque<Source>,
    dirty: VecDeque<Arc<dyn Flush>>,
    /// More turns of other connections may follow at once, and their flushes may leave together with this one's.
    is_one_of_many: bool,
}

impl Turn {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The turn of one of the connections that a worker goes through.
    #[must_use]
    pub fn of_driver() -> Self {
        Self {
            is_one_of_many: true,
            ..Self::default()
        }
    }

    pub fn is_one_of_many(&self) -> bool {
        self.is_one_of_many
    }

    /// There is room where `source` puts its bytes.
    pub fn wake(&mut self, source: Source) {
        self.ready.push_back(source);
    }

    /// Flush `what` at the end of the turn.
    pub fn flush_later<F: Flush + 'static>(&mut self, what: &Arc<F>) {
        if what.mark() {
            self.dirty.push_back(what.clone());
        }
    }

    /// Do what has become ready, and leave the flushes to somebody else.
    pub fn settle(&mut self) {
        while let Some(source) = self.ready.pop_front() {
            match source {
                Source::Port(port) => inlet::advance(&port, self),
                Source::Session(session) => session.advance(self),
                Source::Relay(relay) => relay.advance(self),
            }
        }
    }

    /// Do all that is ready and flush; what that makes ready as well.
    pub fn finish(&mut self) {
        self.settle();
        while let Some(each) = self.dirty.pop_front() {
            each.flush(self);
            self.settle();
        }
    }

    /// The flushes that are due, for another turn.
    pub fn take_dirty(&mut self) -> VecDeque<Arc<dyn Flush>> {
        std::mem::take(&mut self.dirty)
    }

    /// Take over what another turn left.
    pub fn adopt(&mut self, dirty: VecDeque<Arc<dyn Flush>>) {
        self.dirty.extend(dirty);
    }
}
