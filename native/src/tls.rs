//! TLS without sockets: ciphertext goes in and comes out by memory, so one thread serves any number of sessions.
//!
//! Both sides show a certificate of the mesh's one CA; names are not looked at here, and who may connect is decided
//! above, by the certificate. Nothing is trusted besides that CA, nothing is resumed, and nothing is compressed.
//!
//! Source: spec mesh-protocol 2.1, 3, 8.4; docs/decisions/0015.

mod alert;
mod context;
mod error;
mod keys;
mod later;
mod library;
mod memory;
mod partial;
mod records;
mod session;

pub use context::{Context, Credentials};
pub use error::TlsError;
pub use memory::{Input, Output};
pub use session::{Decrypted, Tls};

/// The ALPN token by which two peers of this implementation know each other (spec mesh-protocol 8.4).
pub const OWN_ALPN: &[u8] = b"ztm/1";
