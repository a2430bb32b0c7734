//! The two ends of a TLS session in memory: ciphertext that came, and ciphertext that is to leave.

use std::io::{self, ErrorKind, Read, Write};

/// Received ciphertext that TLS has not taken yet. One may serve many sessions, in turn.
///
/// It is moved into the session for the time of a call, so that bytes are copied once, by TLS itself.
#[derive(Debug, Default)]
pub struct Input {
    room: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// Room for `size` bytes, none of which came yet.
    #[must_use]
    pub fn with_room(size: usize) -> Self {
        Self {
            room: vec![0; size],
            start: 0,
            end: 0,
        }
    }

    /// Where to receive to; empty when all the room is taken.
    pub fn space(&mut self) -> &mut [u8] {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        &mut self.room[self.end..]
    }

    /// The first `size` bytes of [`Input::space`] were filled.
    pub fn came(&mut self, size: usize) {
        self.end = (self.end + size).min(self.room.len());
    }

    /// What was not taken yet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The first `size` bytes were taken.
    pub(super) fn took(&mut self, size: usize) {
        self.start = (self.start + size).min(self.end);
    }

    /// Forget what was not taken.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

impl From<&[u8]> for Input {
    fn from(bytes: &[u8]) -> Self {
        Self {
            room: bytes.to_vec(),
            start: 0,
            end: bytes.len(),
        }
    }
}

/// Ciphertext that is to leave. It holds memory only while there is some.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    gone: usize,
}

impl Output {
    /// What is to be sent next.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gone == self.bytes.len()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The first `size` bytes were sent.
    pub fn consumed(&mut self, size: usize) {
        self.gone = (self.gone + size).min(self.bytes.len());
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn reserve(&mut self, size: usize) {
        self.bytes.reserve(size);
    }

    /// `size` bytes more at the end, to be written.
    pub(super) fn extend(&mut self, size: usize) -> &mut [u8] {
        let start = self.bytes.len();
        self.bytes.resize(start + size, 0);
        &mut self.bytes[start..]
    }
}

/// What TLS takes for its socket.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub input: Input,
    pub output: Output,
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = into.len().min(self.input.bytes().len());
        if size == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        into[..size].copy_from_slice(&self.input.bytes()[..size]);
        self.input.took(size);
        Ok(size)
    }
}

impl Write for Memory {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.output.bytes.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
