//! The receiving half of a session: bytes into frames. The content of a DATA frame is handed on as it comes; all others
//! are looked at when they are whole.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::blocks::Block;
use super::exchange::Exchange;
use super::frame::{self, HEAD, Head};
use super::session::Session;
use super::{FRAME, OWN_FRAME};
use crate::flow::Port;
use crate::hpack::Decoder;
use crate::inlet;
use crate::turn::Turn;

/// What ends a session.
#[derive(Debug)]
pub struct Fault {
    pub code: u32,
    pub text: String,
}

impl Fault {
    pub(super) fn new(code: u32, text: &str) -> Self {
        Self {
            code,
            text: format!("the peer broke HTTP/2: {text}"),
        }
    }
}

/// A frame and its content, of DATA nothing but the head.
type Frame<'a> = (Head, std::borrow::Cow<'a, [u8]>);

/// A DATA frame under way.
struct Run {
    /// Not held, or a session that is lost within a frame would hold itself for ever.
    exchange: Weak<Exchange>,
    /// Bytes of content that have not come yet, then of padding.
    left: usize,
    padding: usize,
    /// The length of the padding comes first.
    is_padded: bool,
    is_last: bool,
}

/// How far the peer's bytes were read.
pub struct Incoming {
    /// Bytes of the preface that have not come yet.
    preface: &'static [u8],
    /// The beginning of a frame that is not whole.
    partial: Vec<u8>,
    run: Option<Run>,
    pub(super) block: Option<Block>,
    pub(super) decoder: Decoder,
}

impl Incoming {
    pub(super) fn new(is_server: bool) -> Self {
        let preface = if is_server { frame::PREFACE } else { &[] };
        Self {
            preface,
            partial: Vec::new(),
            run: None,
            block: None,
            decoder: Decoder::new(),
        }
    }
}

impl Session {
    pub(super) fn feed(&self, turn: &mut Turn, incoming: &mut Incoming, data: &[u8]) -> Result<(), Fault> {
        let mut data = self.skip_preface(incoming, data)?;
        while !data.is_empty()
            || incoming
                .run
                .as_ref()
                .is_some_and(|run| run.left + run.padding == 0 && !run.is_padded)
        {
            if let Some(run) = incoming.run.take() {
                incoming.run = self.go_on(turn, run, &mut data)?;
                continue;
            }
            let Some((head, payload)) = self.next_frame(incoming, &mut data)? else {
                return Ok(());
            };
            if head.kind == frame::DATA {
                incoming.run = Some(self.begin_run(head)?);
            } else {
                self.whole(turn, incoming, head, &payload)?;
                if self.state().over.is_some() {
                    return Ok(()); // a good-bye was among it: what follows is nobody's
                }
            }
        }
        Ok(())
    }

    fn skip_preface<'a>(&self, incoming: &mut Incoming, data: &'a [u8]) -> Result<&'a [u8], Fault> {
        let size = incoming.preface.len().min(data.len());
        if data[..size] != incoming.preface[..size] {
            return Err(Fault::new(frame::PROTOCOL_ERROR, "it does not begin as HTTP/2 does"));
        }
        incoming.preface = &incoming.preface[size..];
        Ok(&data[size..])
    }

    /// The next frame, of DATA its head only; None when more is needed for it.
    fn next_frame<'a>(&self, incoming: &mut Incoming, data: &mut &'a [u8]) -> Result<Option<Frame<'a>>, Fault> {
        if incoming.partial.is_empty()
            && let Some(first) = data.first_chunk::<HEAD>()
        {
            let head = self.check(incoming, Head::parse(first))?;
            let size = if head.kind == frame::DATA {
                HEAD
            } else {
                HEAD + head.length
            };
            if data.len() >= size {
                let payload = &data[HEAD..size];
                *data = &data[size..];
                return Ok(Some((head, payload.into())));
            }
        }
        fill(&mut incoming.partial, data, HEAD);
        let Some(first) = incoming.partial.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let head = self.check(incoming, Head::parse(first))?;
        if head.kind != frame::DATA {
            fill(&mut incoming.partial, data, HEAD + head.length);
            if incoming.partial.len() < HEAD + head.length {
                return Ok(None);
            }
        }
        let mut whole = std::mem::take(&mut incoming.partial);
        whole.drain(..HEAD);
        Ok(Some((head, whole.into())))
    }

    /// What can be said of a frame by its head. A large one is refused before it is gathered.
    fn check(&self, incoming: &Incoming, head: Head) -> Result<Head, Fault> {
        let most = if self.options.own { OWN_FRAME } else { FRAME };
        if head.length > most as usize {
            return Err(Fault::new(frame::FRAME_SIZE_ERROR, "a frame is too large"));
        }
        match &incoming.block {
            Some(block) if head.kind != frame::CONTINUATION || head.stream != block.head.stream => {
                Err(Fault::new(frame::PROTOCOL_ERROR, "a header block was not ended"))
            }
            Some(block) if block.bytes.len() + head.length > self.options.limits.header_bytes => {
                Err(Fault::new(frame::ENHANCE_YOUR_CALM, "a header block is too large"))
            }
            None if head.kind == frame::CONTINUATION => {
                Err(Fault::new(frame::PROTOCOL_ERROR, "a header block was not begun"))
            }
            _ => Ok(head),
        }
    }

    // ---------------------------------------------------------------- DATA

    fn begin_run(&self, head: Head) -> Result<Run, Fault> {
        let size = i64::try_from(head.length).unwrap_or(i64::MAX);
        let mut state = self.state();
        state.receive_window -= size;
        if state.receive_window < 0 {
            return Err(Fault::new(
                frame::FLOW_CONTROL_ERROR,
                "more was sent than the session's window allows",
            ));
        }
        if head.length == 0 && !head.has(frame::END_STREAM) && !state.idle_frames.take(Instant::now()) {
            return Err(Fault::new(frame::ENHANCE_YOUR_CALM, "too many empty frames"));
        }
        let exchange = state.streams.get(&head.stream).cloned();
        if exchange.is_none() && self.is_idle(&state, head.stream) {
            return Err(Fault::new(
                frame::PROTOCOL_ERROR,
                "DATA for a stream that was never opened",
            ));
        }
        let mut run = Run {
            exchange: Weak::new(),
            left: head.length,
            padding: 0,
            is_padded: head.has(frame::PADDED),
            is_last: head.has(frame::END_STREAM),
        };
        if run.is_padded && run.left == 0 {
            return Err(Fault::new(frame::FRAME_SIZE_ERROR, "a padded frame without a length"));
        }
        if let Some(exchange) = exchange {
            let mut half = exchange.half();
            if half.is_finished {
                return Ok(run); // late: it is dropped alone
            }
            half.receive_window -= size;
            half.received += head.length;
            state.held += head.length;
            if half.receive_window < 0 {
                return Err(Fault::new(
                    frame::FLOW_CONTROL_ERROR,
                    "more was sent than the stream's window allows",
                ));
            }
            drop(half);
            run.exchange = Arc::downgrade(&exchange);
        }
        Ok(run)
    }

    /// Hand on what has come of a DATA frame; the rest of it, if any is to come.
    fn go_on(&self, turn: &mut Turn, mut run: Run, data: &mut &[u8]) -> Result<Option<Run>, Fault> {
        if run.is_padded {
            let Some((first, rest)) = data.split_first() else {
                return Ok(Some(run));
            };
            *data = rest;
            run.is_padded = false;
            run.left -= 1;
            run.padding = usize::from(*first);
            if run.padding > run.left {
                return Err(Fault::new(frame::PROTOCOL_ERROR, "more padding than frame"));
            }
            run.left -= run.padding;
            credit(turn, &run, run.padding + 1);
        }
        let size = run.left.min(data.len());
        if size > 0
            && let Some(exchange) = run.exchange.upgrade()
        {
            let port: Arc<dyn Port> = exchange;
            inlet::arrived(&port, turn, &data[..size]);
        }
        *data = &data[size..];
        run.left -= size;
        let skipped = if run.left == 0 { run.padding.min(data.len()) } else { 0 };
        *data = &data[skipped..];
        run.padding -= skipped;
        if run.left + run.padding > 0 {
            return Ok(Some(run));
        }
        if let (true, Some(exchange)) = (run.is_last, run.exchange.upgrade()) {
            self.peer_ended(turn, &exchange);
        }
        Ok(None)
    }

    pub(super) fn peer_ended(&self, turn: &mut Turn, exchange: &Arc<Exchange>) {
        let port: Arc<dyn Port> = exchange.clone();
        {
            let mut half = exchange.half();
            if half.is_finished {
                return;
            }
            half.is_finished = true;
        }
        inlet::finished(&port, turn);
        {
            let mut state = self.state();
            let mut half = exchange.half();
            exchange.settle(&mut state, &mut half);
        }
        port.watch().tell(crate::events::ANSWERED);
    }
}

fn fill(partial: &mut Vec<u8>, data: &mut &[u8], size: usize) {
    let missing = size.saturating_sub(partial.len()).min(data.len());
    partial.extend_from_slice(&data[..missing]);
    *data = &data[missing..];
}

fn credit(turn: &mut Turn, run: &Run, size: usize) {
    if let Some(exchange) = run.exchange.upgrade() {
        exchange.credit(turn, size);
    }
}
