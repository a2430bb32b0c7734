//! HTTP/2 over any [`crate::flow::Port`], in either role: frames in, frames out, windows, floods.
//!
//! A lean layer of its own, as the mesh's CONNECT with `:scheme` and `:path` is none of RFC 9113; only the header
//! blocks are left to [`crate::hpack`]. Source: RFC 9113, spec mesh-protocol 4.

mod blocks;
pub mod control;
pub mod exchange;
pub mod frame;
mod half;
pub mod receive;
pub mod send;
pub mod session;
pub mod state;
#[cfg(test)]
mod tests;

/// Initial window of a stream and of a session (spec mesh-protocol 4.1).
pub const WINDOW: u32 = 1 << 20;
/// Receive window of a whole session: above the product of 400 Mbit/s and 160 ms.
pub const SESSION_WINDOW: i64 = 8 << 20;
/// Largest frame with v1 peers (spec mesh-protocol 4.1), and the smallest that anybody may announce.
pub const FRAME: u32 = 16384;
/// Largest frame between our own peers.
pub const OWN_FRAME: u32 = 65536;
/// Largest window of a stream between our own peers.
pub const OWN_WINDOW_MAX: i64 = 1792 << 10;
/// Parts of a window in which credit is given back.
pub const CREDITS: i64 = 8;
/// Framed bytes that may wait for the stream below before streams have to wait.
pub const QUEUED: usize = 256 << 10;
/// Bytes of one stream before others that wait get their turn.
pub const QUANTUM: usize = 64 << 10;
/// Bytes that the peer has not read, beyond which it is not read either: refusals and pongs must not pile up.
pub const UNREAD: usize = 1 << 20;
/// Bytes of a header block that one frame carries; v1 splits there (spec mesh-protocol 4.1).
pub const HEADER_PIECE: usize = FRAME as usize;
