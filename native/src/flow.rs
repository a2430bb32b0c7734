//! What every stream is to the others: a port that takes bytes, as far as there is room, and has an inlet for those
//! that come.
//!
//! Locks: a port may be called while locks of ports above it (its session's, an inner session's) are held, never the
//! other way round. Whatever goes up, bytes that arrived or room that came, goes without any lock, by a [`Turn`].

use std::net::SocketAddr;
use std::sync::Arc;

use crate::events::{ANSWERED, OVER, READABLE, ROOM, Watch};
use crate::http2::session::Session;
use crate::inlet::Inlet;
use crate::turn::Turn;

/// Why a stream or a session was cut, for people.
pub type Reason = Arc<str>;

/// A block of header fields in order, names in lower case.
pub type Fields = Vec<crate::hpack::Field>;

/// Who takes what an inlet receives.
pub trait Outlet: Send + Sync {
    /// Take as much of `data` as there is room for. After less than all, the source is woken when there is more.
    fn put(&self, turn: &mut Turn, data: &[u8]) -> usize;
    /// Nothing comes after what was put.
    fn end(&self, turn: &mut Turn);
    /// Cut both directions at once.
    fn abort(&self, turn: &mut Turn, reason: &Reason);
}

/// Who is to be woken when a port has room again.
#[derive(Clone)]
pub enum Source {
    Port(Arc<dyn Port>),
    Session(Arc<Session>),
    Relay(Arc<crate::udp::relay::Relay>),
}

/// One two-way byte flow with half-close.
pub trait Port: Outlet {
    fn watch(&self) -> &Watch;
    fn inlet(&self) -> &Inlet;
    /// The consumer took `size` bytes of the inlet: the peer may send as many more.
    fn credit(&self, turn: &mut Turn, size: usize);
    /// Take all of `data`, whatever the room; false when writers should wait for [`ROOM`].
    fn send(&self, turn: &mut Turn, data: &[u8]) -> bool;
    /// Have `source` woken when there is room.
    fn feed_by(&self, source: Source);
    /// Whether the feeder is to come back a moment later, as it will be woken to: bytes leave in one go then that would
    /// leave one by one.
    fn postpones(&self) -> bool {
        false
    }
    fn has_feeder(&self) -> bool;
    fn has_room(&self) -> bool;
    /// Both directions are over.
    fn is_over(&self) -> bool;
    /// The own side was ended, or all is over.
    fn is_ended(&self) -> bool;
    /// Ended in order, with bytes that the hop below has not taken.
    fn is_leaving(&self) -> bool {
        false
    }
    fn is_own(&self) -> bool;
    /// The verified peer's certificate (DER), to whom asks first; nobody needs it twice, and many are kept open.
    fn take_certificate(&self) -> Option<Vec<u8>> {
        None
    }
    fn remote(&self) -> Option<SocketAddr>;
    fn local(&self) -> Option<SocketAddr>;
    fn exchange(&self) -> Option<&crate::http2::exchange::Exchange> {
        None
    }
}

/// Which of `bits` are facts now.
pub fn facts(port: &dyn Port, bits: u8) -> u8 {
    let mut found = port.inlet().facts();
    if port.is_over() {
        found |= OVER | ROOM | READABLE;
    }
    if port.has_room() {
        found |= ROOM;
    }
    if let Some(exchange) = port.exchange()
        && exchange.is_answered()
    {
        found |= ANSWERED;
    }
    found & bits
}

/// Hand all that `source` receives to `sink`, in bytes, end and cut; `counter` counts the bytes.
pub fn pipe(turn: &mut Turn, source: &Arc<dyn Port>, sink: &Arc<dyn Port>, counter: Option<Arc<Counter>>) {
    sink.feed_by(Source::Port(source.clone()));
    source.inlet().connect(sink.clone(), counter);
    crate::inlet::advance(source, turn);
}

/// Bytes carried so far.
pub type Counter = std::sync::atomic::AtomicU64;
