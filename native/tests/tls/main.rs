//! What TLS promises, between two of its own sessions and against the TLS library alone.

mod cards;
mod certificates;
mod established;
mod pair;
mod plain;
mod quantum;
mod refusals;
