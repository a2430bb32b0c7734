//! A header block to fields, within a limit that holds while it is decoded.

use std::borrow::Cow;

use super::table::Table;
use super::{FIELD_OVERHEAD, Field, HpackError, huffman, integer};

/// Decodes the header blocks of one session, in the order they came.
///
/// It takes no memory before the peer uses the dynamic table (which v1 and our own peers never do), then at most some
/// 4 KiB of fields and 128 entries, of which a table resized to 0 gives all back.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What the session has died of.
    broken: Option<HpackError>,
}

/// A block on its way: what is still to be read, and what was read.
struct Block<'a> {
    rest: &'a [u8],
    fields: Vec<Field>,
    /// Bytes that further fields may weigh.
    room: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            table: Table::new(),
            broken: None,
        }
    }

    /// The fields of one whole block, which together weigh at most `max_bytes`: names, values and 32 bytes each.
    ///
    /// That is of the bytes on the wire. Text is at most three times as long, where all of it had to be replaced.
    ///
    /// # Errors
    ///
    /// `TooLarge` as soon as the limit is passed, before what is beyond it takes memory; any other `HpackError` for a
    /// malformed block. After an error each further call fails with the same one: the session has to end.
    pub fn decode(&mut self, block: &[u8], max_bytes: usize) -> Result<Vec<Field>, HpackError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let mut block = Block {
            rest: block,
            fields: Vec::new(),
            room: max_bytes,
        };
        match self.read(&mut block) {
            Ok(()) => Ok(block.fields),
            Err(error) => {
                self.table = Table::new();
                self.broken = Some(error);
                Err(error)
            }
        }
    }

    /// Source: RFC 7541, section 6.
    fn read(&mut self, block: &mut Block) -> Result<(), HpackError> {
        while let Some(&first) = block.rest.first() {
            match first {
                0x80.. => {
                    let index = integer::read(&mut block.rest, 7)?;
                    let (name, value) = self.table.at(index)?;
                    block.push(name, value)?;
                }
                0x40.. => self.literal(block, 6, true)?,
                0x20.. if block.fields.is_empty() => self.table.resize(integer::read(&mut block.rest, 5)?)?,
                0x20.. => return Err(HpackError::BadTableSize),
                _ => self.literal(block, 4, false)?, // without indexing, or never to be indexed
            }
        }
        Ok(())
    }

    /// A field whose value, and if the index is 0 whose name, is spelled out.
    fn literal(&mut self, block: &mut Block, bits: u32, kept: bool) -> Result<(), HpackError> {
        let name = match integer::read(&mut block.rest, bits)? {
            0 => block.string(0)?,
            index => Cow::Borrowed(self.table.at(index)?.0),
        };
        let value = block.string(name.len())?;
        block.push(&name, &value)?;
        if kept {
            let name = name.into_owned(); // it may stand in the table, and the table may drop it
            self.table.add(&name, &value);
        }
        Ok(())
    }

    /// Bytes in the dynamic table, as the RFC counts.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn table_size(&self) -> usize {
        self.table.size()
    }
}

impl<'a> Block<'a> {
    /// Reads a string that stands in one field with `others` bytes of name.
    ///
    /// Source: RFC 7541, section 5.2.
    fn string(&mut self, others: usize) -> Result<Cow<'a, [u8]>, HpackError> {
        let is_huffman = self.rest.first().is_some_and(|first| first & 0x80 != 0);
        let length = integer::read(&mut self.rest, 7)?;
        let (coded, rest) = self.rest.split_at_checked(length).ok_or(HpackError::Truncated)?;
        self.rest = rest;
        if !is_huffman {
            return Ok(Cow::Borrowed(coded));
        }
        let mut text = Vec::new();
        huffman::decode(coded, &mut text, self.room.saturating_sub(others + FIELD_OVERHEAD))?;
        Ok(Cow::Owned(text))
    }

    fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), HpackError> {
        let size = name.len() + value.len() + FIELD_OVERHEAD;
        self.room = self.room.checked_sub(size).ok_or(HpackError::TooLarge)?;
        self.fields.push((text(name), text(value)));
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}
