//! Header blocks by a hostile peer.

use crate::hpack::{Decoder, FIELD_OVERHEAD, Field, encode};

/// Larger than the table, so that blocks may fill it, and small enough to be passed by a few fields.
const MAX_BYTES: usize = 8192;
const TABLE: usize = 4096;

/// Decodes blocks of one session: each is as long as the byte before it says.
///
/// # Panics
///
/// When a limit does not hold, an error does not last, or fields do not survive being encoded again.
pub fn hpack(mut data: &[u8]) {
    let mut decoder = Decoder::new();
    while let Some((&length, rest)) = data.split_first() {
        let (block, rest) = rest.split_at(rest.len().min(usize::from(length)));
        data = rest;
        match decoder.decode(block, MAX_BYTES) {
            Ok(fields) => check(&fields),
            Err(error) => {
                assert_eq!(decoder.decode(&[0x82], MAX_BYTES), Err(error), "an error lasts");
                assert_eq!(decoder.table_size(), 0, "what is over holds nothing");
                return;
            }
        }
        assert!(decoder.table_size() <= TABLE);
    }
}

fn check(fields: &[Field]) {
    let weight: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + FIELD_OVERHEAD)
        .sum();
    assert!(weight <= 3 * MAX_BYTES, "replaced bytes are three at most");
    let mut block = Vec::new();
    encode(fields.iter().map(|(name, value)| (&**name, &**value)), &mut block);
    let mut again = Decoder::new();
    assert_eq!(
        again.decode(&block, weight).as_deref(),
        Ok(fields),
        "what was decoded can be encoded"
    );
    assert_eq!(again.table_size(), 0, "our encoder leaves the table alone");
}
