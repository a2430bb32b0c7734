//! What a session remembers besides its streams' own halves, under one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::Exchange;
use super::{FRAME, QUEUED, SESSION_WINDOW};
use crate::clock::Bucket;
use crate::flow::Reason;

/// What one session may cost its holder; see `ztm.net.base.SessionLimits`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub streams: usize,
    pub held: usize,
    pub header_bytes: usize,
    pub resets: f64,
    pub controls: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 2048,
            held: 256 << 20,
            header_bytes: 64 << 10,
            resets: 500.0,
            controls: 50.0,
        }
    }
}

/// Frames a second, with ten seconds' worth at once, that lead to nothing: empty DATA, PRIORITY, unknown kinds and
/// the like. Peers in order send hardly any.
const IDLE_FRAMES: f64 = 1000.0;

pub struct State {
    pub streams: HashMap<u32, Arc<Exchange>>,
    /// Streams that the peer opened and that are not over.
    pub inbound: usize,
    pub next: u32,
    /// The highest stream that the peer has opened.
    pub last: u32,
    /// What the peer lets this side send, over all streams.
    pub send_window: i64,
    /// What a stream begins with.
    pub peer_window: i64,
    pub peer_frame: usize,
    pub peer_streams: usize,
    /// What this side lets the peer send, over all streams.
    pub receive_window: i64,
    /// Received bytes that were not taken yet, over all streams.
    pub held: usize,
    /// Frames for the stream below, of which `gone` bytes are gone.
    pub out: Vec<u8>,
    pub gone: usize,
    /// The stream below has no room, and wakes the session when it has.
    pub is_blocked: bool,
    /// The peer is not read until it reads what waits for it.
    pub is_deaf: bool,
    /// Streams that wait for their turn to send.
    pub waiting: VecDeque<u32>,
    /// The peer has forbidden a dynamic table, and is to be told that there is none.
    pub owes_table_size: bool,
    pub over: Option<Reason>,
    pub heard: Instant,
    pub pinged: Option<Instant>,
    /// When the peer is to be asked, or cut once it is over.
    pub ping_at: Instant,
    pub round_trip: Option<Duration>,
    pub resets: Bucket,
    pub settings: Bucket,
    pub idle_frames: Bucket,
}

impl State {
    pub fn new(is_server: bool, limits: &Limits, now: Instant) -> Self {
        Self {
            streams: HashMap::new(),
            inbound: 0,
            next: if is_server { 2 } else { 1 },
            last: 0,
            send_window: 65535,
            peer_window: 65535,
            peer_frame: FRAME as usize,
            peer_streams: usize::MAX,
            receive_window: SESSION_WINDOW,
            held: 0,
            out: Vec::new(),
            gone: 0,
            is_blocked: false,
            is_deaf: false,
            waiting: VecDeque::new(),
            owes_table_size: false,
            over: None,
            heard: now,
            pinged: None,
            ping_at: now + super::session::PING_EVERY,
            round_trip: None,
            resets: Bucket::new(limits.resets, limits.resets * 10.0, now),
            settings: Bucket::new(limits.controls, limits.controls * 10.0, now),
            idle_frames: Bucket::new(IDLE_FRAMES, IDLE_FRAMES * 10.0, now),
        }
    }

    /// Framed bytes that the stream below has not taken.
    pub fn queued(&self) -> usize {
        self.out.len() - self.gone
    }

    /// Over for `reason`: nothing more is framed. The streams that are to be told.
    pub fn finish(&mut self, reason: &Reason) -> HashMap<u32, Arc<Exchange>> {
        self.over = Some(reason.clone());
        self.out = Vec::new();
        self.gone = 0;
        self.waiting = VecDeque::new();
        self.ping_at = Instant::now() + super::session::STAY;
        std::mem::take(&mut self.streams)
    }

    /// Bytes of DATA that may be framed now.
    pub fn room(&self) -> usize {
        let window = usize::try_from(self.send_window).unwrap_or(0);
        window.min(QUEUED.saturating_sub(self.queued()))
    }

    /// Nothing is under way just now: hold no memory for what may come.
    pub fn rest(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }

    /// All of `out` is gone; memory beyond what a quiet session needs is given back.
    pub fn emptied(&mut self) {
        self.gone = 0;
        if self.out.capacity() > 4096 && self.waiting.is_empty() && self.streams.is_empty() {
            self.out = Vec::new();
        } else {
            self.out.clear();
        }
    }
}
