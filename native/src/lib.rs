//! The native data plane of ztm: sockets, TLS, HTTP/2 and splices on threads that never wait for Python.
//!
//! Who may talk to whom is decided above, once per new stream; here bytes are carried. Every stream, a TCP
//! connection as well as one of HTTP/2, is a [`flow::Port`]; a splice makes each the sink of the other, and credit
//! goes back to a sender when the next hop has taken its bytes.
#![deny(unsafe_code)]

pub mod buffer;
pub mod clock;
pub mod conn;
pub mod core;
pub mod datagrams;
pub mod descriptor;
pub mod dial;
pub mod drive;
pub mod events;
pub mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod hpack;
pub mod http2;
pub mod inlet;
pub mod listen;
pub mod pace;
pub mod tls;
pub mod turn;
pub mod udp;
pub mod wire;

#[cfg(feature = "python")]
mod python;

/// Lock; a thread that panicked while it held the lock has left the state as it was before its last change.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
