//! One UDP session, carried until either side ends or both are silent for too long.
//!
//! It holds a bounded number of datagrams and drops what is beyond, as a full network queue would. Who the other side
//! is, and whether it may be, was decided before.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::frames::{self, Decoder};
use crate::datagrams::Socket;
use crate::events::{Events, Happening};
use crate::flow::{Counter, Outlet, Port, Reason, Source};
use crate::inlet;
use crate::lock;
use crate::turn::Turn;

pub struct Limits {
    /// After the last datagram either way, the session is over.
    pub idle: Duration,
    /// How long the stream's peer may then take to end its side.
    pub linger: Duration,
    /// Towards the stream, while it takes nothing.
    pub datagrams: usize,
    pub bytes: usize,
}

/// What is joined, and where the bytes are counted.
pub struct Parts {
    pub socket: Arc<Socket>,
    /// The sender that the session is for.
    pub from: SocketAddr,
    /// Where datagrams go; None on a socket that is connected.
    pub to: Option<SocketAddr>,
    pub port: Arc<dyn Port>,
    /// From the socket.
    pub taken: Arc<Counter>,
    /// To the socket.
    pub given: Arc<Counter>,
}

/// Frames that the stream has not taken.
#[derive(Default)]
struct Queue {
    /// Each with the size of its datagram.
    frames: VecDeque<(usize, Vec<u8>)>,
    /// Bytes of the first one that are gone.
    gone: usize,
    /// Of the datagrams in them.
    bytes: usize,
    /// The stream ends after them.
    is_ending: bool,
}

pub struct Relay {
    pub token: u64,
    events: Arc<Events>,
    parts: Parts,
    limits: Limits,
    begun: Instant,
    /// Microseconds from `begun` to the last datagram, either way.
    used: AtomicU64,
    /// The same from the socket alone.
    heard: AtomicU64,
    queue: Mutex<Queue>,
    decoder: Mutex<Decoder>,
    /// Nothing is taken from the socket any more.
    is_closed: AtomicBool,
    is_idle: AtomicBool,
    is_told: AtomicBool,
    /// Why the stream is to be cut, by whoever decides; what was not said ends in order.
    cut_for: OnceLock<Reason>,
    timer: Mutex<Option<AbortHandle>>,
}

impl Relay {
    /// Carry from now on; its token gets one CLOSED event.
    pub fn start(
        turn: &mut Turn,
        runtime: &tokio::runtime::Handle,
        parts: Parts,
        limits: Limits,
        early: &[Vec<u8>],
    ) -> Arc<Self> {
        let events = parts.port.watch().events().clone();
        let made = Arc::new(Self {
            token: events.token(),
            events,
            parts,
            limits,
            begun: Instant::now(),
            used: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            queue: Mutex::default(),
            decoder: Mutex::default(),
            is_closed: AtomicBool::new(false),
            is_idle: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            cut_for: OnceLock::new(),
            timer: Mutex::default(),
        });
        for datagram in early {
            made.enqueue(datagram);
        }
        *lock(&made.timer) = Some(runtime.spawn(watch(Arc::downgrade(&made))).abort_handle());
        let port = &made.parts.port;
        port.feed_by(Source::Relay(made.clone()));
        made.parts.socket.routes.lead(made.parts.from, &made);
        port.inlet().connect(made.clone(), None);
        made.advance(turn);
        inlet::advance(port, turn);
        made
    }

    // ---------------------------------------------------------------- facts

    /// Nothing is taken from the socket any more.
    pub fn is_over(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Since the socket's side was heard from last.
    pub fn silence(&self) -> Duration {
        self.begun
            .elapsed()
            .saturating_sub(Duration::from_micros(self.heard.load(Ordering::Relaxed)))
    }

    /// Why the stream is to be cut; None where it ended, was cut already, or goes on.
    pub fn cut_for(&self) -> Option<&Reason> {
        self.cut_for.get()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    // ---------------------------------------------------------------- from the socket to the stream

    /// Take a datagram, or drop it, and pass on what the stream has room for.
    pub fn offer(&self, turn: &mut Turn, datagram: &[u8]) {
        if self.keep(datagram) {
            self.advance(turn);
        }
    }

    /// Take a datagram and count it; false if it was dropped.
    pub fn keep(&self, datagram: &[u8]) -> bool {
        let now = self.now();
        self.heard.store(now, Ordering::Relaxed);
        if self.is_over() || !self.enqueue(datagram) {
            return false;
        }
        self.used.store(now, Ordering::Relaxed);
        self.parts.taken.fetch_add(datagram.len() as u64, Ordering::Relaxed);
        true
    }

    fn enqueue(&self, datagram: &[u8]) -> bool {
        let mut queue = lock(&self.queue);
        if queue.frames.len() >= self.limits.datagrams || queue.bytes + datagram.len() > self.limits.bytes {
            return false;
        }
        let Some(frame) = frames::encode(datagram) else {
            return false;
        };
        queue.bytes += datagram.len();
        queue.frames.push_back((datagram.len(), frame));
        true
    }

    /// Pass on what the stream has room for.
    pub fn advance(&self, turn: &mut Turn) {
        let is_done = {
            let mut queue = lock(&self.queue);
            while let Some((size, frame)) = queue.frames.front() {
                let (size, length) = (*size, frame.len());
                let taken = self.parts.port.put(turn, &frame[queue.gone..]);
                queue.gone += taken;
                if queue.gone < length {
                    return; // woken when there is room
                }
                queue.frames.pop_front();
                queue.bytes -= size;
                queue.gone = 0;
            }
            queue.is_ending
        };
        if is_done {
            self.parts.port.end(turn);
        }
    }

    // ---------------------------------------------------------------- the end

    /// Cut by whoever decides, who cuts the stream as well.
    pub fn stop(&self) {
        self.conclude();
    }

    /// Take nothing more from the socket: its next datagram is a new session's.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.parts.socket.routes.forget(self.parts.from, self);
    }

    /// It is over; told once.
    fn conclude(&self) {
        self.close();
        if self.is_told.swap(true, Ordering::AcqRel) {
            return;
        }
        *lock(&self.queue) = Queue::default();
        if let Some(timer) = lock(&self.timer).take() {
            timer.abort();
        }
        let is_idle = self.is_idle.load(Ordering::Acquire);
        let cut_for = self.cut_for.get().cloned();
        let why = if is_idle {
            "idle".into()
        } else {
            cut_for.unwrap_or_default()
        };
        self.events.push(self.token, Happening::Closed(why));
    }

    /// How long until it has been silent for too long; None once it was.
    fn left(&self) -> Option<Duration> {
        let used = Duration::from_micros(self.used.load(Ordering::Relaxed));
        let left = (used + self.limits.idle).checked_sub(self.begun.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    fn fell_silent(&self) {
        self.is_idle.store(true, Ordering::Release);
        self.close();
        lock(&self.queue).is_ending = true;
        let mut turn = Turn::new();
        self.advance(&mut turn);
        turn.finish();
    }

    /// A v1 exit may never end its side: then it is cut.
    fn cut_late(&self) {
        let _ = self.cut_for.set("idle".into());
        self.conclude();
    }
}

/// What the stream brings.
impl Outlet for Relay {
    fn put(&self, _turn: &mut Turn, data: &[u8]) -> usize {
        if self.is_told.load(Ordering::Acquire) {
            return data.len();
        }
        let fed = lock(&self.decoder).feed(data, &mut |datagram| {
            self.used.store(self.now(), Ordering::Relaxed);
            self.parts.given.fetch_add(datagram.len() as u64, Ordering::Relaxed);
            self.parts.socket.send(datagram, self.parts.to);
        });
        if let Err(error) = fed {
            let _ = self.cut_for.set(error.to_string().into());
            self.conclude();
        }
        data.len()
    }

    fn end(&self, turn: &mut Turn) {
        self.conclude();
        self.parts.port.end(turn);
    }

    fn abort(&self, _turn: &mut Turn, _reason: &Reason) {
        self.conclude();
    }
}

async fn watch(relay: Weak<Relay>) {
    while let Some(left) = relay.upgrade().map(|relay| relay.left()) {
        match left {
            Some(left) => tokio::time::sleep(left).await,
            None => break,
        }
    }
    let linger = relay.upgrade().map(|relay| {
        relay.fell_silent();
        relay.limits.linger
    });
    tokio::time::sleep(linger.unwrap_or_default()).await;
    if let Some(relay) = relay.upgrade() {
        relay.cut_late();
    }
}
