//! What happened, for the thread that decides: a queue, and a pipe that is readable while it is not empty.
//!
//! Whoever puts an event in never waits and never runs Python.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::dial::Failure;
use crate::flow::Port;
use crate::lock;

/// A stream's `watch` bits: what one READY event can tell.
pub const READABLE: u8 = 1;
pub const ROOM: u8 = 2;
pub const ANSWERED: u8 = 4;
pub const OVER: u8 = 8;

/// What happened to whoever has the event's token.
pub enum Happening {
    Accepted(Arc<dyn Port>),
    /// A listener cannot accept, and tries again; told once until it can.
    Unaccepted(std::io::Error),
    Dialled(Result<Arc<dyn Port>, Failure>),
    Request(Arc<dyn Port>),
    Closed(Arc<str>),
    Ready(u8),
    Datagram(Vec<u8>, SocketAddr),
}

pub struct Event {
    pub token: u64,
    pub what: Happening,
}

/// The queue. One for each process.
pub struct Events {
    queue: Mutex<Vec<Event>>,
    signalled: AtomicBool,
    reader: PipeReader,
    writer: PipeWriter,
    tokens: AtomicU64,
}

impl Events {
    /// # Errors
    /// No pipe can be made.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Arc::new(Self {
            queue: Mutex::default(),
            signalled: AtomicBool::new(false),
            reader,
            writer,
            tokens: AtomicU64::new(1),
        }))
    }

    /// A name that was never given before.
    pub fn token(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    pub fn push(&self, token: u64, what: Happening) {
        lock(&self.queue).push(Event { token, what });
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // One byte at most is ever in the pipe; if it cannot be written, the process is about to end.
            let _ = (&self.writer).write(&[1]);
        }
    }

    /// All that has happened since the last call.
    pub fn take(&self) -> Vec<Event> {
        if self.signalled.load(Ordering::Acquire) {
            let _ = (&self.reader).read(&mut [0]);
            self.signalled.store(false, Ordering::Release);
        }
        std::mem::take(&mut *lock(&self.queue))
    }

    /// The datagrams that wait for `token` and come from those who are `chosen`, so that nobody is told of them.
    pub fn take_datagrams(&self, token: u64, chosen: impl Fn(SocketAddr) -> bool) -> Vec<Vec<u8>> {
        let is_one = |event: &mut Event| {
            event.token == token && matches!(event.what, Happening::Datagram(_, from) if chosen(from))
        };
        let taken = lock(&self.queue).extract_if(.., is_one).collect::<Vec<_>>();
        let bytes = taken.into_iter().filter_map(|event| match event.what {
            Happening::Datagram(data, _) => Some(data),
            _ => None,
        });
        bytes.collect()
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        lock(&self.queue).len()
    }

    /// Readable while events wait.
    pub fn descriptor(&self) -> i32 {
        self.reader.as_raw_fd()
    }
}

/// Which of its facts somebody waits for, of one stream.
pub struct Watch {
    pub token: u64,
    armed: AtomicU8,
    events: Arc<Events>,
}

impl Watch {
    pub fn new(events: &Arc<Events>) -> Self {
        Self {
            token: events.token(),
            armed: AtomicU8::new(0),
            events: events.clone(),
        }
    }

    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Ask for one event of each of `bits`.
    pub fn arm(&self, bits: u8) {
        self.armed.fetch_or(bits, Ordering::AcqRel);
    }

    pub fn disarm(&self, bits: u8) {
        self.armed.fetch_and(!bits, Ordering::AcqRel);
    }

    /// Some of the facts have come: tell those who asked.
    pub fn tell(&self, bits: u8) {
        if self.armed.load(Ordering::Acquire) & bits == 0 {
            return;
        }
        let told = self.armed.fetch_and(!bits, Ordering::AcqRel) & bits;
        if told != 0 {
            self.events.push(self.token, Happening::Ready(told));
        }
    }
}
