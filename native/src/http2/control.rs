//! The frames that carry no bytes of a stream: settings, pings, windows, resets, good-byes.

use std::sync::Arc;
use std::time::Instant;

use super::FRAME;
use super::exchange::Exchange;
use super::frame::{self, Head, word};
use super::receive::{Fault, Incoming};
use super::session::Session;
use super::state::State;
use crate::turn::Turn;

const LARGEST_WINDOW: i64 = 0x7fff_ffff;

impl Session {
    /// A whole frame, other than DATA.
    pub(super) fn whole(
        &self,
        turn: &mut Turn,
        incoming: &mut Incoming,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Fault> {
        match head.kind {
            frame::HEADERS if head.stream != 0 => self.begin_block(turn, incoming, head, payload),
            frame::CONTINUATION => self.continue_block(turn, incoming, head, payload),
            frame::RST_STREAM if head.stream != 0 => self.on_reset(turn, head, payload),
            frame::SETTINGS if head.stream == 0 => self.on_settings(turn, head, payload),
            frame::PING if head.stream == 0 => self.on_ping(turn, head, payload),
            frame::GOAWAY if head.stream == 0 => {
                self.on_goaway(turn, payload);
                Ok(())
            }
            frame::WINDOW_UPDATE => self.on_window(turn, head, payload),
            frame::HEADERS | frame::RST_STREAM | frame::SETTINGS | frame::PING | frame::GOAWAY => Err(Fault::new(
                frame::PROTOCOL_ERROR,
                "a frame on a stream where it has no place",
            )),
            frame::PUSH_PROMISE => Err(Fault::new(frame::PROTOCOL_ERROR, "a push, which was forbidden")),
            _ => self.idle_frame(&mut self.state()),
        }
    }

    /// A frame that leads to nothing.
    pub(super) fn idle_frame(&self, state: &mut State) -> Result<(), Fault> {
        if state.idle_frames.take(Instant::now()) {
            return Ok(());
        }
        Err(Fault {
            code: frame::ENHANCE_YOUR_CALM,
            text: "the peer sent too many frames that say nothing".into(),
        })
    }

    /// Whether nobody has opened the stream yet.
    pub(super) fn is_idle(&self, state: &State, stream: u32) -> bool {
        let is_ours = stream.is_multiple_of(2) == self.options.is_server;
        stream == 0
            || if is_ours {
                stream >= state.next
            } else {
                stream > state.last
            }
    }

    fn on_reset(&self, turn: &mut Turn, head: Head, payload: &[u8]) -> Result<(), Fault> {
        expect(payload.len() == 4)?;
        let exchange = {
            let mut state = self.state();
            if self.is_idle(&state, head.stream) {
                return Err(Fault::new(
                    frame::PROTOCOL_ERROR,
                    "a reset of a stream that was never opened",
                ));
            }
            match state.streams.get(&head.stream) {
                Some(exchange) => exchange.clone(),
                None => return self.idle_frame(&mut state),
            }
        };
        let is_unanswered = self.options.is_server && !exchange.half().is_headed;
        let is_refusal = word(payload) == frame::REFUSED_STREAM;
        let reason = if is_refusal {
            "the peer refused one more stream"
        } else {
            "the peer reset the stream"
        };
        exchange.cut(turn, &reason.into());
        if is_unanswered && !self.state().resets.take(Instant::now()) {
            let text = "the peer reset too many streams".into();
            return Err(Fault {
                code: frame::ENHANCE_YOUR_CALM,
                text,
            });
        }
        Ok(())
    }

    fn take_control(state: &mut State) -> Result<(), Fault> {
        if state.settings.take(Instant::now()) {
            return Ok(());
        }
        Err(Fault {
            code: frame::ENHANCE_YOUR_CALM,
            text: "the peer sent too many SETTINGS or PING frames".into(),
        })
    }

    fn on_ping(&self, turn: &mut Turn, head: Head, payload: &[u8]) -> Result<(), Fault> {
        expect(payload.len() == 8)?;
        let mut state = self.state();
        if head.has(frame::ACK) {
            if let Some(at) = state.pinged.take() {
                state.round_trip = Some(at.elapsed());
                return Ok(());
            }
            return self.idle_frame(&mut state);
        }
        Self::take_control(&mut state)?;
        frame::ping(&mut state.out, payload, true);
        drop(state);
        self.flush_later(turn);
        Ok(())
    }

    fn on_settings(&self, turn: &mut Turn, head: Head, payload: &[u8]) -> Result<(), Fault> {
        expect(payload.len().is_multiple_of(6))?;
        let mut state = self.state();
        if head.has(frame::ACK) {
            return self.idle_frame(&mut state);
        }
        Self::take_control(&mut state)?;
        let began = state.peer_window;
        for entry in payload.chunks_exact(6) {
            apply(&mut state, u16::from_be_bytes([entry[0], entry[1]]), word(&entry[2..]))?;
        }
        resize(&state, state.peer_window - began)?;
        frame::settings_ack(&mut state.out);
        let streams: Vec<Arc<Exchange>> = state.streams.values().cloned().collect();
        for exchange in &streams {
            exchange.line_up(&mut state, &mut exchange.half());
        }
        drop(state);
        self.pump(turn);
        self.flush_later(turn);
        Ok(())
    }

    fn on_window(&self, turn: &mut Turn, head: Head, payload: &[u8]) -> Result<(), Fault> {
        expect(payload.len() == 4)?;
        let increment = i64::from(word(payload) & 0x7fff_ffff);
        let mut state = self.state();
        if increment == 0 {
            return Err(Fault::new(frame::PROTOCOL_ERROR, "a window was opened by nothing"));
        }
        if head.stream == 0 {
            state.send_window += increment;
            if state.send_window > LARGEST_WINDOW {
                return Err(Fault::new(
                    frame::FLOW_CONTROL_ERROR,
                    "the session's window is too large",
                ));
            }
        } else if let Some(exchange) = state.streams.get(&head.stream).cloned() {
            let mut half = exchange.half();
            half.send_window += increment;
            if half.send_window > LARGEST_WINDOW {
                return Err(Fault::new(frame::FLOW_CONTROL_ERROR, "a stream's window is too large"));
            }
            exchange.line_up(&mut state, &mut half);
        } else if self.is_idle(&state, head.stream) {
            return Err(Fault::new(
                frame::PROTOCOL_ERROR,
                "a window of a stream that was never opened",
            ));
        }
        let has_waiting = !state.waiting.is_empty();
        drop(state);
        if has_waiting {
            self.pump(turn);
        }
        Ok(())
    }

    fn on_goaway(&self, turn: &mut Turn, payload: &[u8]) {
        let code = word(payload.get(4..).unwrap_or_default());
        let said = String::from_utf8_lossy(payload.get(8..).unwrap_or_default());
        let reason = match said.is_empty() {
            true => format!("the peer ended the session (code {code})"),
            false => said.chars().take(512).collect(),
        };
        self.over(turn, &reason.into());
        self.below.end(turn);
    }
}

fn expect(is_so: bool) -> Result<(), Fault> {
    if is_so {
        Ok(())
    } else {
        Err(Fault::new(frame::FRAME_SIZE_ERROR, "a frame of the wrong size"))
    }
}

/// Change the windows of all streams: once for a whole frame, whose many entries would be work for each of many streams.
fn resize(state: &State, change: i64) -> Result<(), Fault> {
    if change == 0 {
        return Ok(());
    }
    for exchange in state.streams.values() {
        let mut half = exchange.half();
        half.send_window += change;
        if half.send_window > LARGEST_WINDOW {
            return Err(Fault::new(frame::FLOW_CONTROL_ERROR, "a stream's window is too large"));
        }
    }
    Ok(())
}

fn apply(state: &mut State, code: u16, value: u32) -> Result<(), Fault> {
    match code {
        frame::HEADER_TABLE_SIZE => state.owes_table_size = value < 4096,
        frame::MAX_CONCURRENT_STREAMS => state.peer_streams = value as usize,
        frame::MAX_FRAME_SIZE => {
            if !(FRAME..1 << 24).contains(&value) {
                return Err(Fault::new(frame::PROTOCOL_ERROR, "a largest frame that may not be"));
            }
            state.peer_frame = value as usize;
        }
        frame::INITIAL_WINDOW_SIZE => {
            if i64::from(value) > LARGEST_WINDOW {
                return Err(Fault::new(
                    frame::FLOW_CONTROL_ERROR,
                    "an initial window that may not be",
                ));
            }
            state.peer_window = i64::from(value);
        }
        _ => {}
    }
    Ok(())
}
