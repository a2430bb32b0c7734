//! The sending half of a connection: bytes, or TLS records of them, until the kernel takes them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;

use crate::flow::Source;
use crate::pace::Pace;
use crate::tls::{Decrypted, Input, Tls, TlsError};

/// Bytes that wait for the kernel, beyond which no more is taken.
pub const HIGH: usize = 256 << 10;
/// Bytes that wait, from which more is taken again.
pub const LOW: usize = 64 << 10;
/// Bytes from which a write is worth a system call of its own, instead of a copy.
const LARGE: usize = 8 << 10;

/// How far a flush came.
pub enum Flushed {
    All,
    /// The kernel is full.
    Some,
    Lost(String),
}

#[derive(Default)]
pub struct Wire {
    pub sock: Option<Arc<TcpStream>>,
    pub tls: Option<Box<Tls>>,
    plain: Vec<u8>,
    gone: usize,
    /// The feeder has more than there was room for.
    pub is_full: bool,
    pub is_end_asked: bool,
    /// The peer was told of the end.
    pub is_shut: bool,
    /// The peer has ended its side.
    pub is_finished: bool,
    pub is_over: bool,
    pub feeder: Option<Source>,
    pub pace: Pace,
    /// A write was told that the connection is lost, which the system tells once; a read sees an end then.
    pub lost: Option<String>,
    /// Why nothing more can be sent; told by the next flush.
    failure: Option<TlsError>,
}

impl Wire {
    pub fn new(sock: Arc<TcpStream>, tls: Option<Tls>) -> Self {
        Self {
            sock: Some(sock),
            tls: tls.map(Box::new),
            ..Self::default()
        }
    }

    /// Bytes that the kernel has not taken.
    pub fn pending(&mut self) -> usize {
        match &mut self.tls {
            Some(tls) => tls.output().bytes().len(),
            None => self.plain.len() - self.gone,
        }
    }

    /// Take all of `data`.
    pub fn push(&mut self, data: &[u8]) {
        if let Some(tls) = &mut self.tls {
            self.failure = tls.encrypt(data).err().or(self.failure.take());
            return;
        }
        let mut data = data;
        if data.len() >= LARGE
            && self.plain.len() == self.gone
            && let Some(sock) = self.sock.clone()
        {
            data = &data[write(&sock, data, &mut self.lost).unwrap_or(0)..];
        }
        self.plain.extend_from_slice(data);
    }

    /// Write as much as the kernel takes now.
    pub fn flush(&mut self) -> Flushed {
        let Some(sock) = self.sock.clone() else {
            return Flushed::All;
        };
        loop {
            if let Some(reason) = &self.lost {
                return Flushed::Lost(reason.clone());
            }
            let bytes = match &mut self.tls {
                Some(tls) => tls.output().bytes(),
                None => &self.plain[self.gone..],
            };
            if bytes.is_empty() {
                return match &self.failure {
                    Some(error) => Flushed::Lost(format!("TLS failed: {error}")),
                    None => Flushed::All,
                };
            }
            match write(&sock, bytes, &mut self.lost) {
                Some(sent) => {
                    self.pace.wrote(Instant::now());
                    self.consumed(sent);
                }
                None if self.lost.is_none() => return Flushed::Some,
                None => {}
            }
        }
    }

    fn consumed(&mut self, size: usize) {
        if let Some(tls) = &mut self.tls {
            return tls.output().consumed(size);
        }
        self.gone += size;
        if self.gone == self.plain.len() {
            self.plain = Vec::new();
            self.gone = 0;
        }
    }

    /// Go on with the handshake; true when it is done.
    ///
    /// # Errors
    /// It failed; what is to be told to the peer about it waits to be flushed.
    pub fn shake(&mut self, input: &mut Input) -> Result<bool, TlsError> {
        self.tls.as_mut().map_or(Ok(true), |tls| tls.shake(input))
    }

    /// The next plain bytes of `input`.
    ///
    /// # Errors
    /// The TLS session has failed.
    pub fn decrypt(&mut self, input: &mut Input, plain: &mut [u8]) -> Result<Decrypted, TlsError> {
        self.tls
            .as_mut()
            .map_or(Ok(Decrypted::Nothing), |tls| tls.decrypt(input, plain))
    }

    /// Nothing will be sent or received any more: hold no memory for it.
    pub fn forget(&mut self) {
        self.tls = None;
        self.plain = Vec::new();
        self.gone = 0;
    }

    /// Say goodbye, after all that waits.
    pub fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
        }
    }
}

/// One write; None if the kernel takes nothing now, or the connection is found to be `lost`.
fn write(sock: &TcpStream, data: &[u8], lost: &mut Option<String>) -> Option<usize> {
    loop {
        match sock.try_write(data) {
            Ok(sent) => return Some(sent),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                *lost = Some(why(&error));
                return None;
            }
        }
    }
}

/// Why a connection was lost, for people.
pub fn why(error: &std::io::Error) -> String {
    let text = error.to_string();
    let said = text.split(" (os error").next().unwrap_or(&text);
    format!("the connection was lost: {said}")
}
