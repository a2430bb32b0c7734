//! A TCP connection, with or without TLS, as a port; one task drives it for as long as it is open.
//!
//! Plain TCP half-closes. With TLS `end` closes both ways once all is sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context as TaskContext, Poll, Waker};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::buffer;
use crate::events::{Events, OVER, READABLE, ROOM, Watch};
use crate::flow::{Outlet, Port, Reason};
use crate::inlet::{self, Inlet};
use crate::lock;
use crate::tls::Tls;
use crate::turn::{Flush, Turn};
use crate::wire::{Flushed, HIGH, LOW, Wire};

/// Bytes in the kernel that have not left yet; more would only make urgent frames late (TCP_NOTSENT_LOWAT).
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 256 << 10;

mod port;
#[cfg(test)]
mod tests;

pub struct Conn {
    me: Weak<Conn>,
    watch: Watch,
    inlet: Inlet,
    pub(crate) wire: Mutex<Wire>,
    waker: Mutex<Option<Waker>>,
    /// The kernel takes no more for now.
    is_blocked: AtomicBool,
    /// Enough waits for the consumer; the socket is not read.
    is_paused: AtomicBool,
    /// The peer has ended its side: there is nothing more to read.
    is_drained: AtomicBool,
    is_gone: AtomicBool,
    is_marked: AtomicBool,
    /// A flush was postponed, and the driver was told.
    is_due: AtomicBool,
    is_tls: bool,
    is_own: AtomicBool,
    /// The peer's, until somebody takes it.
    certificate: Mutex<Option<Vec<u8>>>,
    remote: Option<SocketAddr>,
    local: Option<SocketAddr>,
}

/// Why a driver was woken.
pub enum Wake {
    Readable,
    Writable,
    /// A flush was postponed.
    Due,
    Gone,
}

impl Conn {
    pub fn new(events: &Arc<Events>, sock: &Arc<TcpStream>, tls: Option<Tls>) -> Arc<Self> {
        tune(sock);
        if tls.is_some() {
            buffer::widen(sock);
        }
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            watch: Watch::new(events),
            inlet: Inlet::default(),
            is_tls: tls.is_some(),
            wire: Mutex::new(Wire::new(sock.clone(), tls)),
            waker: Mutex::default(),
            is_blocked: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            is_drained: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            is_marked: AtomicBool::new(false),
            is_due: AtomicBool::new(false),
            is_own: AtomicBool::new(false),
            certificate: Mutex::default(),
            remote: sock.peer_addr().ok(),
            local: sock.local_addr().ok(),
        })
    }

    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Whether the end was said and the peer's is awaited, or nobody reads: then somebody should look now and then.
    pub fn is_waiting(&self) -> bool {
        self.is_paused.load(Ordering::Acquire) || self.is_drained.load(Ordering::Acquire) || lock(&self.wire).is_shut
    }

    pub fn is_shut(&self) -> bool {
        let wire = lock(&self.wire);
        wire.is_shut && self.is_tls
    }

    /// The handshake has shown who the peer is.
    pub fn shaken(&self) {
        let mut wire = lock(&self.wire);
        if let Some(tls) = &mut wire.tls {
            self.is_own.store(tls.is_own(), Ordering::Release);
            *lock(&self.certificate) = tls.take_peer_certificate();
        }
    }

    fn port(&self) -> Option<Arc<dyn Port>> {
        self.me.upgrade().map(|me| me as Arc<dyn Port>)
    }

    // ---------------------------------------------------------------- for the driver

    /// Wait for what this connection can go on with.
    pub fn poll(&self, sock: &TcpStream, task: &mut TaskContext<'_>) -> Poll<Wake> {
        {
            let mut waker = lock(&self.waker);
            if !waker.as_ref().is_some_and(|known| known.will_wake(task.waker())) {
                *waker = Some(task.waker().clone());
            }
        }
        if self.is_gone() {
            return Poll::Ready(Wake::Gone);
        }
        if self.is_due.load(Ordering::Acquire) {
            return Poll::Ready(Wake::Due);
        }
        if self.is_blocked.load(Ordering::Acquire) && sock.poll_write_ready(task).is_ready() {
            return Poll::Ready(Wake::Writable);
        }
        let is_reading = !self.is_paused.load(Ordering::Acquire) && !self.is_drained.load(Ordering::Acquire);
        if is_reading && sock.poll_read_ready(task).is_ready() {
            return Poll::Ready(Wake::Readable);
        }
        Poll::Pending
    }

    /// What to wait for within a handshake: also for room, as a socket that was just adopted takes nothing at first.
    pub fn interest(&self) -> Interest {
        if self.is_blocked.load(Ordering::Acquire) {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        }
    }

    fn wake(&self) {
        let waker = lock(&self.waker).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Do what was postponed.
    pub fn catch_up(&self) {
        self.is_due.store(false, Ordering::Release);
        let feeder = {
            let mut wire = lock(&self.wire);
            wire.pace.caught_up();
            wire.feeder.clone()
        };
        if let Some(feeder) = feeder {
            let mut turn = Turn::new();
            turn.wake(feeder);
            turn.finish();
        }
    }

    /// Read no more when enough waits.
    pub fn pause_if_full(&self) {
        if self.inlet.queued() < HIGH {
            return;
        }
        self.is_paused.store(true, Ordering::SeqCst);
        if self.inlet.queued() <= LOW {
            self.is_paused.store(false, Ordering::SeqCst);
        }
    }

    pub fn arrived(&self, turn: &mut Turn, data: &[u8]) {
        if let Some(port) = self.port() {
            inlet::arrived(&port, turn, data);
        }
    }

    /// The peer has ended its side.
    pub fn finished(&self, turn: &mut Turn) {
        let Some(port) = self.port() else { return };
        self.is_drained.store(true, Ordering::Release);
        let lost = {
            let mut wire = lock(&self.wire);
            wire.is_finished = true;
            wire.lost.clone()
        };
        if let Some(reason) = lost {
            return self.lost(turn, &reason);
        }
        inlet::finished(&port, turn);
        if self.is_tls {
            self.end(turn);
        }
        self.settle();
    }

    /// The connection was lost.
    pub fn lost(&self, turn: &mut Turn, reason: &str) {
        let reason: Reason = reason.into();
        if self.leave(false, Some(&reason)) {
            self.broke(turn, &reason);
        }
    }

    fn broke(&self, turn: &mut Turn, reason: &Reason) {
        if let Some(port) = self.port() {
            inlet::broken(&port, turn, reason);
        }
    }

    /// Over in order once both sides have ended.
    fn settle(&self) {
        let is_over = {
            let wire = lock(&self.wire);
            wire.is_finished && wire.is_shut
        };
        if is_over {
            self.leave(false, None);
        }
    }

    /// Give the socket up, for a reason if it was cut; false if it was given up before.
    fn leave(&self, by_reset: bool, reason: Option<&Reason>) -> bool {
        {
            let mut wire = lock(&self.wire);
            if wire.is_over {
                return false;
            }
            if let Some(reason) = reason {
                self.inlet.mark_broken(reason);
            }
            wire.is_over = true;
            wire.feeder = None;
            if let Some(sock) = wire.sock.take()
                && by_reset
            {
                // The peer sees a reset, not an end of file that looks like success.
                let _ = SockRef::from(&*sock).set_linger(Some(std::time::Duration::ZERO));
            }
            wire.forget();
        }
        self.is_gone.store(true, Ordering::Release);
        self.inlet.let_go();
        self.watch.tell(OVER | ROOM | READABLE);
        self.wake();
        true
    }
}

impl Conn {
    fn flush_later(&self, turn: &mut Turn) {
        if let Some(me) = self.me.upgrade() {
            turn.flush_later(&me);
        }
    }
}

impl Flush for Conn {
    fn flush(&self, turn: &mut Turn) {
        self.is_marked.store(false, Ordering::Release);
        let mut wire = lock(&self.wire);
        let flushed = wire.flush();
        let is_blocked = matches!(flushed, Flushed::Some);
        let was_blocked = self.is_blocked.swap(is_blocked, Ordering::AcqRel);
        if let Flushed::Lost(reason) = flushed {
            drop(wire);
            return self.lost(turn, &reason);
        }
        let mut source = None;
        if wire.pending() <= LOW {
            self.watch.tell(ROOM);
            if std::mem::take(&mut wire.is_full) {
                source = wire.feeder.clone();
            }
        }
        if !is_blocked && wire.is_end_asked && !wire.is_shut {
            wire.is_shut = true;
            if let Some(sock) = &wire.sock {
                let _ = SockRef::from(&**sock).shutdown(std::net::Shutdown::Write);
            }
        }
        let is_shut = wire.is_shut;
        drop(wire);
        if is_blocked && !was_blocked {
            self.wake();
        }
        if let Some(source) = source {
            turn.wake(source);
        }
        if is_shut {
            self.settle();
            self.wake();
        }
    }

    fn mark(&self) -> bool {
        !self.is_marked.swap(true, Ordering::AcqRel)
    }
}

fn tune(sock: &TcpStream) {
    let sock = SockRef::from(sock);
    // What cannot be tuned works all the same.
    let _ = sock.set_tcp_nodelay(true);
    let _ = sock.set_keepalive(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = sock.set_tcp_notsent_lowat(UNSENT);
}
