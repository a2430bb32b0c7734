//! What must hold for any bytes a peer may send: one function a parser, run by libFuzzer and, on the seeds, by every
//! `cargo test`.
//!
//! The first panic is the finding. `native/fuzz` holds the targets and the seeds.

mod datagram;
mod hpack;
mod pit;
#[cfg(test)]
mod seeds;
mod session;

pub use datagram::datagram;
pub use hpack::hpack;
pub use session::session;
