//! Integers that begin in the low bits of a byte.
//!
//! Source: RFC 7541, section 5.1.

use super::HpackError;

/// Bytes that may follow the first: enough for 2^28, far beyond any length or index we would take.
const MAX_CONTINUATION: u32 = 4;

/// Reads the integer in the low `bits` (1 to 7) of the first byte and what follows, and moves `input` behind it.
///
/// # Errors
///
/// `Truncated`, or `IntegerTooLarge` for one of more than four further bytes, be they zeros.
pub(super) fn read(input: &mut &[u8], bits: u32) -> Result<usize, HpackError> {
    let mask = (1usize << bits) - 1;
    let mut value = usize::from(byte(input)?) & mask;
    if value < mask {
        return Ok(value);
    }
    for place in 0..MAX_CONTINUATION {
        let next = byte(input)?;
        value += usize::from(next & 0x7f) << (7 * place);
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(HpackError::IntegerTooLarge)
}

/// Appends `value` with its first byte in the low `bits` of a byte whose other bits are `high`.
pub(super) fn write(value: usize, bits: u32, high: u8, out: &mut Vec<u8>) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        out.push(high | value as u8);
        return;
    }
    out.push(high | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn byte(input: &mut &[u8]) -> Result<u8, HpackError> {
    let (&first, rest) = input.split_first().ok_or(HpackError::Truncated)?;
    *input = rest;
    Ok(first)
}
