//! The sending half of one HTTP/2 stream: what waits, and when its turn comes.
//!
//! Nothing is framed but what the stream's window, the session's and the stream below take now.

use super::exchange::Exchange;
use super::state::State;
use super::{QUANTUM, frame};
use crate::events::ROOM;
use crate::flow::Source;
use crate::turn::Turn;

/// What a stream sends, and what it may.
#[derive(Default)]
pub(super) struct Half {
    pub send_window: i64,
    /// What the peer may still send.
    pub receive_window: i64,
    /// What it may have under way to us.
    pub window: i64,
    /// Taken by the consumer, and no credit given yet.
    pub uncredited: i64,
    /// Arrived, and not taken by the consumer.
    pub received: usize,
    /// Bytes that wait for a window or for their turn; `sent` of them are gone.
    pub outbox: Vec<u8>,
    pub sent: usize,
    /// The peer expects bytes: it asked, or was answered.
    pub is_headed: bool,
    pub is_end_asked: bool,
    pub is_end_sent: bool,
    /// The peer has ended its side.
    pub is_finished: bool,
    pub is_over: bool,
    /// In the session's line.
    pub is_waiting: bool,
    /// The feeder has more than there was room for.
    pub wants: bool,
    /// Bytes that it may send while others wait.
    pub quantum: usize,
    pub feeder: Option<Source>,
}

impl Half {
    pub(super) fn queued(&self) -> usize {
        self.outbox.len() - self.sent
    }
}

impl Exchange {
    /// Frame as much of `data` as may leave now.
    pub(super) fn frame(&self, state: &mut State, half: &mut Half, data: &[u8]) -> usize {
        if !half.is_headed {
            return 0;
        }
        let mut room = state
            .room()
            .min(usize::try_from(half.send_window).unwrap_or(0))
            .min(data.len());
        if !state.waiting.is_empty() {
            room = room.min(half.quantum);
            half.quantum -= room;
        }
        for piece in data[..room].chunks(state.peer_frame) {
            frame::data(&mut state.out, self.number, piece, false);
        }
        let sent = i64::try_from(room).unwrap_or(i64::MAX);
        half.send_window -= sent;
        state.send_window -= sent;
        room
    }

    /// Wait in the session's line, if there is something to send and a window for it.
    pub(super) fn line_up(&self, state: &mut State, half: &mut Half) {
        let has_work = half.wants || half.queued() > 0;
        if has_work && half.is_headed && half.send_window > 0 && !half.is_waiting && !half.is_over {
            half.is_waiting = true;
            half.quantum = 0;
            state.waiting.push_back(self.number);
        }
    }

    /// The stream's turn has come.
    pub(super) fn serve(&self, turn: &mut Turn) {
        let mut state = self.session.state();
        let mut half = self.half();
        half.is_waiting = false;
        half.quantum = QUANTUM;
        if half.is_over {
            drop((half, state));
            return self.session.flush_later(turn); // those behind it in the line are not to wait for it
        }
        if half.queued() > 0 {
            let outbox = std::mem::take(&mut half.outbox);
            let begin = half.sent;
            let sent = begin + self.frame(&mut state, &mut half, &outbox[begin..]);
            if sent < outbox.len() {
                half.outbox = outbox;
                half.sent = sent;
                self.line_up(&mut state, &mut half);
                drop((half, state));
                return self.session.flush_later(turn);
            }
            half.sent = 0;
            self.watch.tell(ROOM);
        }
        let woken = if std::mem::take(&mut half.wants) {
            half.feeder.clone()
        } else {
            None
        };
        if half.is_end_asked && !half.is_end_sent {
            self.send_end(&mut state, &mut half);
        }
        drop((half, state));
        self.session.flush_later(turn);
        if let Some(source) = woken {
            turn.wake(source);
        }
    }

    /// The end as v1 sends it, an empty DATA frame of its own (spec mesh-protocol 4.1).
    pub(super) fn send_end(&self, state: &mut State, half: &mut Half) {
        half.is_end_sent = true;
        frame::data(&mut state.out, self.number, &[], true);
        self.settle(state, half);
    }
}
