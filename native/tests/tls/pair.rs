//! Two sessions that talk to each other in memory.

use std::sync::LazyLock;

use ztm_native::tls::{Context, Decrypted, Input, Tls, TlsError};

use crate::cards::{Ca, V1, rsa};

pub struct Pair {
    pub client: Tls,
    pub server: Tls,
}

impl Pair {
    pub fn start(client: &Context, server: &Context) -> Self {
        Self {
            client: client.start().unwrap(),
            server: server.start().unwrap(),
        }
    }

    /// With v1's certificates, and done with the handshake.
    pub fn established() -> Self {
        static CONTEXTS: LazyLock<(Context, Context)> = LazyLock::new(|| {
            let ca = Ca::v1();
            let card = ca.card(&rsa(), &V1);
            (ca.context(&card, false), ca.context(&card, true))
        });
        let mut pair = Self::start(&CONTEXTS.0, &CONTEXTS.1);
        pair.shake().expect("both are of one mesh");
        pair
    }

    /// Until both are done, or the first error of either.
    pub fn shake(&mut self) -> Result<(), TlsError> {
        let mut back = Input::default();
        loop {
            let client = self.client.shake(&mut back)?;
            let server = self.server.shake(&mut sent(&mut self.client))?;
            back = sent(&mut self.server);
            if client && server {
                return Ok(());
            }
        }
    }
}

/// All that `from` has to send.
pub fn sent(from: &mut Tls) -> Input {
    let input = Input::from(from.output().bytes());
    from.output().consumed(input.bytes().len());
    input
}

/// All plain bytes of `input`, and how it went on.
pub fn opened(by: &mut Tls, input: &mut Input, room: usize) -> (Vec<u8>, Result<Decrypted, TlsError>) {
    let (mut all, mut plain) = (Vec::new(), vec![0; room]);
    loop {
        match by.decrypt(input, &mut plain) {
            Ok(Decrypted::Bytes(size)) => all.extend_from_slice(&plain[..size]),
            other => return (all, other),
        }
    }
}

/// Bytes of which no part is like another.
pub fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    bytes
}
