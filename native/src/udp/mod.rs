//! UDP sessions: the datagrams of a socket on one side, frames on a stream on the other.

pub mod frames;
pub mod relay;
pub mod routes;
#[cfg(test)]
mod tests;
