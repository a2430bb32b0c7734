//! Strings in the Huffman code of HPACK, decoded only: we send plain literals.
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols. So the lengths are
//! all there is to know, and a code is found by comparing the next bits with the end of each length's range.
//!
//! Source: RFC 7541, section 5.2 and Appendix B.

use super::HpackError;

/// Bits of the code of each byte, and last of EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const SHORTEST: usize = 5;
const LONGEST: usize = 30;
const EOS: u16 = 256;
/// Padding is less than a byte. Source: RFC 7541, section 5.2.
const MAX_PADDING: u32 = 7;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Range {
    /// The first 32 bits behind the last code, zeros appended. 2^32 behind the very last one.
    end: u64,
    /// The first code.
    first: u32,
    /// Where the first code's symbol stands in `SYMBOLS`.
    offset: u16,
}

/// By the length of the codes.
static RANGES: [Range; LONGEST + 1] = ranges();
/// All symbols in the order of their codes.
static SYMBOLS: [u16; 257] = symbols();

const fn ranges() -> [Range; LONGEST + 1] {
    let mut ranges = [Range {
        end: 0,
        first: 0,
        offset: 0,
    }; LONGEST + 1];
    let (mut code, mut offset, mut length) = (0u32, 0, 1);
    while length <= LONGEST {
        code <<= 1;
        let (first, start) = (code, offset);
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code += 1;
                offset += 1;
            }
            symbol += 1;
        }
        ranges[length] = Range {
            end: (code as u64) << (32 - length),
            first,
            offset: start,
        };
        length += 1;
    }
    ranges
}

const fn symbols() -> [u16; 257] {
    let mut symbols = [0; 257];
    let (mut found, mut length) = (0, 1);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                symbols[found] = symbol as u16;
                found += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
}

/// Appends the text that `coded` stands for to `out`, which may grow to `max` bytes and not beyond.
///
/// # Errors
///
/// `BadHuffman` for EOS, or for padding that is a byte or longer or not ones; `TooLarge`.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), HpackError> {
    let mut input = coded.iter();
    let (mut bits, mut held) = (0u64, 0u32); // the next `held` bits, from the highest down
    loop {
        while held <= 56 {
            let Some(&byte) = input.next() else { break };
            bits |= u64::from(byte) << (56 - held);
            held += 8;
        }
        if held <= MAX_PADDING && bits == padding(held) {
            return Ok(());
        }
        let (symbol, length) = symbol((bits >> 32) as u32);
        if length > held || symbol == EOS {
            return Err(HpackError::BadHuffman);
        }
        if out.len() >= max {
            return Err(HpackError::TooLarge);
        }
        out.push(symbol as u8);
        bits <<= length;
        held -= length;
    }
}

/// `count` ones at the high end: how the code of EOS begins.
fn padding(count: u32) -> u64 {
    !(u64::MAX >> count)
}

/// The symbol whose code the 32 bits begin with, and the code's length.
fn symbol(window: u32) -> (u16, u32) {
    let mut length = SHORTEST;
    while u64::from(window) >= RANGES[length].end {
        length += 1; // ends at LONGEST, whose end no window reaches
    }
    let range = &RANGES[length];
    let nth = (window >> (32 - length)) - range.first;
    (SYMBOLS[usize::from(range.offset) + nth as usize], length as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_complete_so_that_any_bits_begin_with_a_code() {
        assert_eq!(RANGES[LONGEST].end, 1 << 32);
        for window in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 3, u32::MAX] {
            symbol(window);
        }
    }

    #[test]
    fn every_symbol_has_the_code_of_the_rfc() {
        // the first and last code of the RFC's table, and one of each kind between
        for (byte, code, length) in [
            (b'0', 0x0, 5),
            (b'a', 0x3, 5),
            (b' ', 0x14, 6),
            (b':', 0x5c, 7),
            (b'&', 0xf8, 8),
            (b'|', 0x7fc, 11),
            (0, 0x1ff8, 13),
            (b'\\', 0x7fff0, 19),
            (127, 0xfff_fffc, 28),
            (255, 0x3ff_ffee, 26),
            (22, 0x3fff_fffe, 30),
        ] {
            assert_eq!(symbol(code << (32 - length)), (u16::from(byte), length));
        }
        assert_eq!(symbol(u32::MAX), (EOS, 30));
    }

    #[test]
    fn padding_is_ones_and_less_than_a_byte() {
        let text = |coded: &[u8]| {
            let mut out = Vec::new();
            decode(coded, &mut out, 64).map(|()| out)
        };
        assert_eq!(text(&[]), Ok(vec![]));
        assert_eq!(text(&[0b0001_1111]), Ok(b"a".to_vec()));
        for bad in [
            &[0b0001_1110][..],
            &[0b0001_1011],
            &[0b0001_1111, 0xff],
            &[0xff],
            &[0xff; 4],
            &[0xff; 64],
        ] {
            assert_eq!(text(bad), Err(HpackError::BadHuffman), "{bad:x?}");
        }
    }

    #[test]
    fn it_stops_at_the_limit() {
        let mut out = Vec::new();
        assert_eq!(decode(&[0; 1000], &mut out, 10), Err(HpackError::TooLarge));
        assert_eq!(out.len(), 10);
    }
}
