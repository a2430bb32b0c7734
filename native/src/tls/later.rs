//! Handshake messages after the handshake: key updates, and the tickets of servers, which nobody here uses.
//!
//! Source: RFC 8446 4.6.

use super::alert::Fault;

const TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// Bytes before a message: its kind and, in three, its size.
const HEADER: usize = 4;
/// Key updates in a row, without data between, after which a peer only means to keep us busy.
const UPDATES: u8 = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    NotRequested,
    Requested,
}

/// Reads them, in whichever pieces they come.
pub struct Later {
    server: bool,
    /// The beginning of a message: its header, and the one byte of a key update.
    head: [u8; HEADER + 1],
    have: usize,
    /// Bytes of a ticket that are still to come.
    skipped: usize,
    updates: u8,
}

impl Later {
    /// Our own key update, which asks for none in return.
    pub const UPDATE: [u8; HEADER + 1] = [KEY_UPDATE, 0, 0, 1, 0];

    /// `server` is our own role.
    pub fn new(server: bool) -> Self {
        Self {
            server,
            head: [0; HEADER + 1],
            have: 0,
            skipped: 0,
            updates: 0,
        }
    }

    /// Data came; no message may be cut in two by it.
    pub fn saw_data(&mut self, size: usize) -> Result<(), Fault> {
        if self.have > 0 || self.skipped > 0 {
            return Err(Fault::unexpected());
        }
        if size > 0 {
            self.updates = 0;
        }
        Ok(())
    }

    /// Read what a record carries; a key update is its end.
    pub fn read(&mut self, mut content: &[u8]) -> Result<Option<Update>, Fault> {
        if content.is_empty() {
            return Err(Fault::unexpected());
        }
        while let Some((byte, rest)) = content.split_first() {
            if self.skipped > 0 {
                let size = self.skipped.min(content.len());
                self.skipped -= size;
                content = &content[size..];
                continue;
            }
            self.head[self.have] = *byte;
            self.have += 1;
            content = rest;
            if self.have >= HEADER && self.begun()? {
                return if content.is_empty() {
                    self.updated().map(Some)
                } else {
                    Err(Fault::unexpected())
                };
            }
        }
        Ok(None)
    }

    /// A header has come; true when the key update behind it has, too.
    fn begun(&mut self) -> Result<bool, Fault> {
        let [kind, a, b, c, _] = self.head;
        let size = u32::from_be_bytes([0, a, b, c]);
        match (kind, size) {
            (KEY_UPDATE, 1) => Ok(self.have > HEADER),
            (TICKET, _) if !self.server => {
                self.have = 0;
                self.skipped = size as usize;
                Ok(false)
            }
            _ => Err(Fault::unexpected()),
        }
    }

    fn updated(&mut self) -> Result<Update, Fault> {
        self.have = 0;
        self.updates += 1;
        match self.head[HEADER] {
            _ if self.updates > UPDATES => Err(Fault::unexpected()),
            0 => Ok(Update::NotRequested),
            1 => Ok(Update::Requested),
            _ => Err(Fault::unexpected()),
        }
    }
}
