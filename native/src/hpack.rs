//! Header blocks: fields to bytes and back.
//!
//! Decoding is bounded while it runs, whatever a peer sends, and costs an idle session no memory beyond the `Decoder`
//! itself. Encoding keeps no state at all. What the names and values mean, and how a block is cut into frames, is not
//! known here.
//!
//! Source: RFC 7541; mesh-protocol 4.1.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod static_table;
mod table;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::encode;

/// A name and its value, as text: bytes that are not UTF-8 are replaced by U+FFFD, as the pure-Python plane does.
pub type Field = (Box<str>, Box<str>);

/// What a field weighs beside its name and value, bytes. Source: RFC 7541, section 4.1; RFC 9113, section 6.5.2.
pub const FIELD_OVERHEAD: usize = 32;

/// Why a block cannot be decoded. Each of these ends the session: the peer's table and ours would differ from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpackError {
    /// The block ends within a field.
    Truncated,
    /// An integer is longer than any that can be meant.
    IntegerTooLarge,
    /// An index points to no entry of either table.
    UnknownIndex,
    /// A string is not made of whole Huffman codes, or its padding is wrong.
    BadHuffman,
    /// The table is told to be larger than we announced, or is resized behind a field.
    BadTableSize,
    /// The fields are larger than the limit. The peer may be honest: the only one that is not a COMPRESSION_ERROR.
    TooLarge,
}

impl std::fmt::Display for HpackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "a header block ends within a field",
            Self::IntegerTooLarge => "a header block has an integer that is too large",
            Self::UnknownIndex => "a header block refers to an unknown entry",
            Self::BadHuffman => "a header block has a bad Huffman string",
            Self::BadTableSize => "a header block sets a table size it may not set",
            Self::TooLarge => "the header fields are too large",
        })
    }
}

impl std::error::Error for HpackError {}
