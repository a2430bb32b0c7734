//! The dynamic table: fields the peer may refer to by number, the oldest of which make room for new ones.
//!
//! An empty table holds no memory.
//!
//! Source: RFC 7541, sections 2.3.2 and 4.

use std::collections::VecDeque;

use super::static_table::STATIC;
use super::{FIELD_OVERHEAD, HpackError};

/// What we announce as SETTINGS_HEADER_TABLE_SIZE, bytes: the default, and what v1 says. At most 128 entries.
pub(super) const CAPACITY: usize = 4096;

#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    /// Of all entries, as the RFC counts.
    size: usize,
    /// What the peer lets it grow to; at most `CAPACITY`.
    limit: usize,
}

/// Name and value in one piece, to halve the allocations.
#[derive(Debug)]
struct Entry {
    bytes: Box<[u8]>,
    name: usize,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            limit: CAPACITY,
        }
    }

    /// The name and value at an index of the wire, where the static table comes first.
    ///
    /// # Errors
    ///
    /// `UnknownIndex`, also for 0.
    pub(super) fn at(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        let at = index.checked_sub(1).ok_or(HpackError::UnknownIndex)?;
        if let Some((name, value)) = STATIC.get(at) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(at - STATIC.len()).ok_or(HpackError::UnknownIndex)?;
        Ok(entry.bytes.split_at(entry.name))
    }

    /// Adds a field, dropping the oldest as needed. One that is larger than the whole table empties it.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + FIELD_OVERHEAD;
        self.shrink_to(self.limit.saturating_sub(size));
        if size <= self.limit {
            self.entries.push_front(Entry {
                bytes: [name, value].concat().into(),
                name: name.len(),
            });
            self.size += size;
        }
    }

    /// Lets it grow to `limit` bytes from now on, and drops what is beyond.
    ///
    /// # Errors
    ///
    /// `BadTableSize` for more than we announced.
    pub(super) fn resize(&mut self, limit: usize) -> Result<(), HpackError> {
        if limit > CAPACITY {
            return Err(HpackError::BadTableSize);
        }
        self.limit = limit;
        self.shrink_to(limit);
        if self.entries.is_empty() {
            self.entries = VecDeque::new(); // gives the memory back
        }
        Ok(())
    }

    /// Bytes held, as the RFC counts.
    #[cfg(any(test, fuzzing))]
    pub(super) fn size(&self) -> usize {
        let counted = self
            .entries
            .iter()
            .map(|entry| entry.bytes.len() + FIELD_OVERHEAD)
            .sum::<usize>();
        assert_eq!(self.size, counted, "the size of the table is the sum of its entries");
        self.size
    }

    fn shrink_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.size -= oldest.bytes.len() + FIELD_OVERHEAD;
        }
    }
}
