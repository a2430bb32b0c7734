//! Fields to a header block, as v1 writes them: indexes of the static table and plain literals, no Huffman.
//!
//! The peer's dynamic table is left alone, so nothing has to be remembered between blocks: an idle session costs
//! nothing, and no secret can be guessed by the size of what shares its table with it (RFC 7541, section 7.1).

use super::integer;
use super::static_table::STATIC;

const INDEXED: u8 = 0x80;
const LITERAL: u8 = 0x00;

/// Appends the block of `fields` to `out`. Names are expected in lower case, pseudo-fields first.
///
/// Source: RFC 7541, sections 6.1 and 6.2.2; mesh-protocol 4.1.
pub fn encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
    for (name, value) in fields {
        match lookup(name, value) {
            (index, true) => integer::write(index, 7, INDEXED, out),
            (index, false) => {
                integer::write(index, 4, LITERAL, out);
                if index == 0 {
                    string(name, out);
                }
                string(value, out);
            }
        }
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    integer::write(text.len(), 7, 0, out);
    out.extend_from_slice(text.as_bytes());
}

/// The index in the static table for the whole field, or else the first of its name, or else 0.
fn lookup(name: &str, value: &str) -> (usize, bool) {
    let mut named = 0;
    for (at, (known, usual)) in STATIC.iter().enumerate() {
        if *known == name {
            if *usual == value {
                return (at + 1, true);
            }
            if named == 0 {
                named = at + 1;
            }
        } else if named != 0 {
            break;
        }
    }
    (named, false)
}
