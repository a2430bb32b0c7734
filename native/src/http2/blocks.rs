//! Header blocks of a session: put together, decoded, and the streams that the peer opens by them.
//!
//! Late ones, and those that lead to nothing, are dropped alone, but counted.

use std::sync::Arc;

use super::exchange::Exchange;
use super::frame::{self, Head};
use super::receive::{Fault, Incoming};
use super::session::Session;
use crate::events::Happening;
use crate::flow::Fields;
use crate::hpack::HpackError;
use crate::turn::Turn;

/// A header block under way.
pub(super) struct Block {
    pub head: Head,
    pub bytes: Vec<u8>,
    frames: usize,
}

impl Session {
    pub(super) fn begin_block(
        &self,
        turn: &mut Turn,
        incoming: &mut Incoming,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Fault> {
        let mut content = payload;
        if head.has(frame::PADDED) {
            let (first, rest) = content
                .split_first()
                .ok_or_else(|| Fault::new(frame::FRAME_SIZE_ERROR, "a frame is too small"))?;
            let size = rest.len().checked_sub(usize::from(*first));
            content = size
                .map(|size| &rest[..size])
                .ok_or_else(|| Fault::new(frame::PROTOCOL_ERROR, "more padding than frame"))?;
        }
        if head.has(frame::PRIORITISED) {
            content = content
                .get(5..)
                .ok_or_else(|| Fault::new(frame::FRAME_SIZE_ERROR, "a frame is too small"))?;
        }
        if content.len() > self.options.limits.header_bytes {
            return Err(Fault::new(frame::ENHANCE_YOUR_CALM, "a header block is too large"));
        }
        if head.has(frame::END_HEADERS) {
            return self.end_block(turn, incoming, head, content);
        }
        incoming.block = Some(Block {
            head,
            bytes: content.to_vec(),
            frames: 1,
        });
        Ok(())
    }

    pub(super) fn continue_block(
        &self,
        turn: &mut Turn,
        incoming: &mut Incoming,
        head: Head,
        payload: &[u8],
    ) -> Result<(), Fault> {
        let Some(mut block) = incoming.block.take() else {
            return Ok(());
        };
        block.bytes.extend_from_slice(payload);
        block.frames += 1;
        if head.has(frame::END_HEADERS) {
            return self.end_block(turn, incoming, block.head, &block.bytes);
        }
        if block.frames > self.options.limits.header_bytes / 256 {
            return Err(Fault::new(
                frame::ENHANCE_YOUR_CALM,
                "a header block in too many frames",
            ));
        }
        incoming.block = Some(block);
        Ok(())
    }

    fn end_block(&self, turn: &mut Turn, incoming: &mut Incoming, head: Head, bytes: &[u8]) -> Result<(), Fault> {
        let fields = incoming
            .decoder
            .decode(bytes, self.options.limits.header_bytes)
            .map_err(|error| Fault::new(code_of(error), &error.to_string()))?;
        let known = self.state().streams.get(&head.stream).cloned();
        let exchange = match known {
            Some(exchange) => {
                let is_answer = !self.options.is_server && exchange.answered(fields);
                if !is_answer && !head.has(frame::END_STREAM) {
                    self.idle_frame(&mut self.state())?;
                }
                exchange
            }
            None => match self.open_for_peer(turn, head, fields)? {
                Some(exchange) => exchange,
                None => return Ok(()),
            },
        };
        if head.has(frame::END_STREAM) {
            self.peer_ended(turn, &exchange);
        }
        Ok(())
    }

    /// A stream that the peer opens; None if it is refused, or late.
    fn open_for_peer(&self, turn: &mut Turn, head: Head, fields: Fields) -> Result<Option<Arc<Exchange>>, Fault> {
        let Some(me) = self.me.upgrade() else { return Ok(None) };
        let mut state = self.state();
        if state.over.is_some() {
            return Ok(None);
        }
        if !self.is_idle(&state, head.stream) {
            return self.idle_frame(&mut state).map(|()| None);
        }
        if !self.options.is_server || head.stream.is_multiple_of(2) {
            return Err(Fault::new(
                frame::PROTOCOL_ERROR,
                "a stream with a number that is not the peer's",
            ));
        }
        state.last = head.stream;
        if !self.options.answers || state.inbound >= self.options.limits.streams {
            frame::reset(&mut state.out, head.stream, frame::REFUSED_STREAM);
            drop(state);
            turn.flush_later(&me);
            return Ok(None);
        }
        let made = Exchange::new(&me, head.stream, state.peer_window, false, fields);
        state.inbound += 1;
        state.streams.insert(head.stream, made.clone());
        drop(state);
        self.events.push(self.token, Happening::Request(made.clone()));
        Ok(Some(made))
    }
}

/// A block may be too large and well made (RFC 9113 section 10.5.1).
fn code_of(error: HpackError) -> u32 {
    match error {
        HpackError::TooLarge => frame::ENHANCE_YOUR_CALM,
        _ => frame::COMPRESSION_ERROR,
    }
}
