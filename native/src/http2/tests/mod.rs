//! Sessions with peers in order and out of it, without a network: the test is the peer.

mod floods;
mod life;
mod nested;
mod peer;
mod rules;
mod windows;
