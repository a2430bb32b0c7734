//! A connection as the others see it: a port.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Conn;
use crate::events::Watch;
use crate::flow::{Outlet, Port, Reason, Source};
use crate::inlet::Inlet;
use crate::lock;
use crate::turn::Turn;
use crate::wire::{HIGH, LOW};

impl Outlet for Conn {
    fn put(&self, turn: &mut Turn, data: &[u8]) -> usize {
        let taken = {
            let mut wire = lock(&self.wire);
            if wire.is_over || wire.is_end_asked {
                return data.len();
            }
            let taken = data.len().min(HIGH.saturating_sub(wire.pending()));
            wire.is_full |= taken < data.len();
            if taken == 0 {
                return 0;
            }
            wire.push(&data[..taken]);
            taken
        };
        self.flush_later(turn);
        taken
    }

    fn end(&self, turn: &mut Turn) {
        {
            let mut wire = lock(&self.wire);
            if wire.is_over || wire.is_end_asked {
                return;
            }
            wire.is_end_asked = true;
            wire.say_goodbye();
        }
        self.flush_later(turn);
    }

    fn abort(&self, turn: &mut Turn, reason: &Reason) {
        if self.leave(!self.is_tls, Some(reason)) {
            self.inlet.clear();
            self.broke(turn, reason);
        }
    }
}

impl Port for Conn {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn inlet(&self) -> &Inlet {
        &self.inlet
    }

    fn credit(&self, _turn: &mut Turn, _size: usize) {
        if self.is_paused.load(Ordering::SeqCst) && self.inlet.queued() <= LOW {
            self.is_paused.store(false, Ordering::SeqCst);
            self.wake();
        }
    }

    fn send(&self, turn: &mut Turn, data: &[u8]) -> bool {
        let has_room = {
            let mut wire = lock(&self.wire);
            if wire.is_over || wire.is_end_asked {
                return true;
            }
            wire.push(data);
            wire.pending() < HIGH
        };
        self.flush_later(turn);
        has_room
    }

    fn feed_by(&self, source: Source) {
        let mut wire = lock(&self.wire);
        if !wire.is_over {
            wire.feeder = Some(source);
        }
    }

    fn postpones(&self) -> bool {
        let postpones = {
            let mut wire = lock(&self.wire);
            !wire.is_over && wire.pace.postpones(Instant::now())
        };
        if !postpones {
            return false;
        }
        if !self.is_due.swap(true, Ordering::AcqRel) {
            self.wake();
        }
        true
    }

    fn has_feeder(&self) -> bool {
        lock(&self.wire).feeder.is_some()
    }

    fn has_room(&self) -> bool {
        lock(&self.wire).pending() < HIGH
    }

    fn is_over(&self) -> bool {
        lock(&self.wire).is_over
    }

    fn is_ended(&self) -> bool {
        let wire = lock(&self.wire);
        wire.is_end_asked || wire.is_over
    }

    fn is_leaving(&self) -> bool {
        let mut wire = lock(&self.wire);
        wire.is_end_asked && !wire.is_over && wire.pending() > 0
    }

    fn is_own(&self) -> bool {
        self.is_own.load(Ordering::Acquire)
    }

    fn take_certificate(&self) -> Option<Vec<u8>> {
        lock(&self.certificate).take()
    }

    fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    fn local(&self) -> Option<SocketAddr> {
        self.local
    }
}
