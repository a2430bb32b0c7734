//! The receiving half of a stream: what came and was not taken yet, and who takes it.
//!
//! Only one thread at a time moves bytes out of an inlet (`busy`), so that they stay in order; one that comes
//! meanwhile says so (`again`) and goes.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::events::READABLE;
use crate::flow::{Counter, Outlet, Port, Reason};
use crate::lock;
use crate::turn::Turn;

/// Bytes of a chunk, where more waits than fits one.
const CHUNK: usize = 64 << 10;

/// Bytes up to which small ones are put together, so that bytes that come one by one cost little more than large ones.
const SMALL: usize = 4 << 10;

/// Who takes what comes, and where it is counted.
#[derive(Clone)]
struct Sink {
    outlet: Arc<dyn Outlet>,
    counter: Option<Arc<Counter>>,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that are gone.
    gone: usize,
    queued: usize,
    /// Bytes in front whose credit was given when they were read before.
    prepaid: usize,
    ended: bool,
    broken: Option<Reason>,
    sink: Option<Sink>,
    busy: bool,
    again: bool,
    /// The sink knows of the end or the cut.
    passed: bool,
}

#[derive(Default)]
pub struct Inlet {
    state: Mutex<State>,
}

impl Inlet {
    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        lock(&self.state).queued
    }

    pub fn is_ended(&self) -> bool {
        lock(&self.state).ended
    }

    pub fn broken_by(&self) -> Option<Reason> {
        lock(&self.state).broken.clone()
    }

    /// The stream was cut: to be said before anybody can see that it is over. The first reason stays.
    pub fn mark_broken(&self, reason: &Reason) {
        lock(&self.state).broken.get_or_insert_with(|| reason.clone());
    }

    pub fn has_sink(&self) -> bool {
        lock(&self.state).sink.is_some()
    }

    /// [`READABLE`], if it is so.
    pub fn facts(&self) -> u8 {
        let state = lock(&self.state);
        let is_readable = state.queued > 0 || state.ended || state.broken.is_some();
        u8::from(is_readable) * READABLE
    }

    /// Hand everything to `outlet` from now on; [`advance`] begins.
    pub fn connect(&self, outlet: Arc<dyn Outlet>, counter: Option<Arc<Counter>>) {
        lock(&self.state).sink = Some(Sink { outlet, counter });
    }

    /// Nothing will come or go any more: hold those no longer who hold us, once they know.
    pub fn let_go(&self) {
        let mut state = lock(&self.state);
        if state.chunks.is_empty() && state.passed {
            drop(state.sink.take());
        }
    }

    /// The next bytes and how many of them are to be credited; empty bytes at the end, None if there are none now.
    pub fn take(&self) -> Option<(Vec<u8>, usize)> {
        let mut state = lock(&self.state);
        let Some(mut chunk) = state.chunks.pop_front() else {
            return state.ended.then(|| (Vec::new(), 0));
        };
        if state.gone > 0 {
            chunk.drain(..state.gone);
            state.gone = 0;
        }
        let credit = state.took(chunk.len());
        Some((chunk, credit))
    }

    /// Put `data` in front of what waits.
    pub fn unread(&self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        if state.gone > 0 {
            let gone = std::mem::take(&mut state.gone);
            if let Some(front) = state.chunks.front_mut() {
                front.drain(..gone);
            }
        }
        state.chunks.push_front(data.to_vec());
        state.queued += data.len();
        state.prepaid += data.len();
    }

    /// Drop what waits. Bytes that a sink is just being handed are still counted until it has them.
    pub fn clear(&self) {
        let mut state = lock(&self.state);
        let size = state.waiting();
        state.chunks = VecDeque::new();
        state.gone = 0;
        state.took(size);
    }
}

impl State {
    /// Bytes in the queue, without those that are lent.
    fn waiting(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum::<usize>() - self.gone
    }

    /// So many bytes left the queue; how many of them are to be credited.
    fn took(&mut self, size: usize) -> usize {
        self.queued -= size;
        let paid = size.min(self.prepaid);
        self.prepaid -= paid;
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
        size - paid
    }

    /// Keep `data` behind what waits, in as little memory as it takes: a queue that grows is one of full chunks.
    fn keep(&mut self, data: &[u8]) {
        self.queued += data.len();
        let mut rest = data;
        if let Some(last) = self.chunks.back_mut() {
            let room = (last.capacity() - last.len()).max(SMALL.saturating_sub(last.len()));
            let (now, later) = rest.split_at(rest.len().min(room));
            last.extend_from_slice(now);
            rest = later;
        }
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(CHUNK));
            let room = if self.queued > CHUNK { CHUNK } else { now.len() };
            let mut chunk = Vec::with_capacity(room);
            chunk.extend_from_slice(now);
            self.chunks.push_back(chunk);
            rest = later;
        }
    }

    /// The next chunk to hand on, out of the queue but still counted in it.
    fn lend(&mut self) -> Option<(Vec<u8>, usize)> {
        let chunk = self.chunks.pop_front()?;
        Some((chunk, std::mem::take(&mut self.gone)))
    }
}

/// Bytes came for `port` from its peer.
pub fn arrived(port: &Arc<dyn Port>, turn: &mut Turn, data: &[u8]) {
    let inlet = port.inlet();
    let mut state = lock(&inlet.state);
    if state.broken.is_some() || state.ended {
        drop(state);
        return port.credit(turn, data.len());
    }
    let sink = match &state.sink {
        Some(sink) if !state.busy && state.chunks.is_empty() => sink.clone(),
        _ => {
            state.keep(data);
            state.again = state.busy;
            drop(state);
            return port.watch().tell(READABLE);
        }
    };
    state.busy = true;
    drop(state);
    let taken = hand(&sink, turn, data);
    if taken > 0 {
        port.credit(turn, taken);
    }
    let mut state = lock(&inlet.state);
    if taken < data.len() {
        state.keep_in_front(&data[taken..]);
    }
    if state.again || (state.broken.is_some() || state.ended) {
        state.busy = false;
        drop(state);
        return advance(port, turn);
    }
    state.busy = false;
}

impl State {
    /// Keep what a sink did not take of bytes that are older than all in the queue.
    fn keep_in_front(&mut self, data: &[u8]) {
        self.queued += data.len();
        self.chunks.push_front(data.to_vec());
    }
}

fn hand(sink: &Sink, turn: &mut Turn, data: &[u8]) -> usize {
    let taken = sink.outlet.put(turn, data);
    if let Some(counter) = &sink.counter {
        counter.fetch_add(taken as u64, Ordering::Relaxed);
    }
    taken
}

/// The peer of `port` has ended its side.
pub fn finished(port: &Arc<dyn Port>, turn: &mut Turn) {
    {
        let mut state = lock(&port.inlet().state);
        if state.ended || state.broken.is_some() {
            return;
        }
        state.ended = true;
    }
    port.watch().tell(READABLE);
    advance(port, turn);
}

/// `port` was cut, by whomever.
pub fn broken(port: &Arc<dyn Port>, turn: &mut Turn, reason: &Reason) {
    port.inlet().mark_broken(reason);
    port.watch().tell(READABLE);
    advance(port, turn);
}

/// Move what waits into the sink, as far as it takes it.
pub fn advance(port: &Arc<dyn Port>, turn: &mut Turn) {
    let inlet = port.inlet();
    let sink = {
        let mut state = lock(&inlet.state);
        if state.busy {
            state.again = true;
            return;
        }
        let Some(sink) = state.sink.clone() else { return };
        state.busy = true;
        sink
    };
    while move_one(port, inlet, &sink, turn) {}
}

/// Hand one chunk on, or the end; false when there is nothing more to do now, and `busy` is given up.
fn move_one(port: &Arc<dyn Port>, inlet: &Inlet, sink: &Sink, turn: &mut Turn) -> bool {
    let mut state = lock(&inlet.state);
    state.again = false;
    if let Some(reason) = state.broken.clone() {
        state.passed = true;
        state.chunks = VecDeque::new();
        state.queued = 0;
        state.busy = false;
        state.sink = None;
        drop(state);
        sink.outlet.abort(turn, &reason);
        return false;
    }
    if let Some((chunk, gone)) = state.lend() {
        drop(state);
        let taken = hand(sink, turn, &chunk[gone..]);
        return moved(port, inlet, turn, chunk, gone, taken);
    }
    let is_end = state.ended && !state.passed;
    state.passed = state.ended;
    state.busy = false;
    drop(state);
    if is_end {
        sink.outlet.end(turn);
        if port.is_over() {
            inlet.let_go();
        }
    }
    false
}

fn moved(port: &Arc<dyn Port>, inlet: &Inlet, turn: &mut Turn, chunk: Vec<u8>, gone: usize, taken: usize) -> bool {
    let is_full = gone + taken < chunk.len();
    let credit = {
        let mut state = lock(&inlet.state);
        if is_full {
            state.chunks.push_front(chunk);
            state.gone = gone + taken;
        }
        state.took(taken)
    };
    if taken > 0 {
        port.credit(turn, credit); // also of nothing, as there is room again
    }
    if !is_full {
        return true;
    }
    let mut state = lock(&inlet.state);
    if state.again || state.broken.is_some() {
        return true;
    }
    state.busy = false;
    false
}

#[cfg(test)]
mod tests;
