//! Frames as v1 makes them, streams that are out of step, and whatever else may come.

use super::frames::{Decoder, MAX_FRAME, MAX_PAYLOAD, Misframed, encode};

/// What a fresh decoder makes of `pieces`.
fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, Misframed> {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.feed(piece, &mut |datagram| found.push(datagram.to_vec()))?;
    }
    Ok(found)
}

fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut made = vec![first, 127 | if mask.is_some() { 0x80 } else { 0 }];
    made.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    made.extend_from_slice(mask.as_ref().map_or(&[], |mask| mask.as_slice()));
    let key = mask.unwrap_or_default();
    made.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    made
}

/// Numbers that look like chance and are the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn a_datagram_is_one_unmasked_final_binary_frame() {
    let heads: [(usize, &[u8]); 5] = [
        (1, b"\x82\x01"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (16384, b"\x82\x7e\x40\x00"),
        (MAX_PAYLOAD, b"\x82\x7e\xff\xe3"),
    ];
    for (size, head) in heads {
        let payload = vec![b'x'; size];
        assert_eq!(encode(&payload), Some([head, &payload].concat()));
    }
    assert_eq!(encode(b""), None);
    assert_eq!(encode(&[0; MAX_PAYLOAD + 1]), None);
}

#[test]
fn empty_messages_are_dropped_and_fragments_with_an_empty_last_one_are_joined() {
    let stream = b"\x81\x00\x01\x00\x80\x00\x82\x01x\x01\x02ab\x80\x00";
    assert_eq!(decoded([&stream[..]]), Ok(vec![b"x".to_vec(), b"ab".to_vec()]));
}

#[test]
fn any_opcode_is_data_and_masks_are_undone() {
    let stream = [&b"\x89\x02hi"[..], &frame(0x81, b"hello", Some([1, 2, 3, 4]))].concat();
    assert_eq!(decoded([&stream[..]]), Ok(vec![b"hi".to_vec(), b"hello".to_vec()]));
}

#[test]
fn an_oversized_message_is_skipped_whole_and_the_next_one_arrives() {
    let mut stream = frame(0x82, &[7; MAX_PAYLOAD + 1], None);
    stream.extend(frame(0x02, &[7; 60000], None));
    stream.extend(frame(0x80, &[7; 60000], None));
    stream.extend_from_slice(b"\x82\x02ok");
    assert_eq!(decoded([&stream[..]]), Ok(vec![b"ok".to_vec()]));
}

#[test]
fn a_stream_out_of_step_is_told_apart_as_python_does() {
    let reserved = "not a datagram stream: reserved bits are set in a frame header";
    let too_large = "not a datagram stream: a frame of 1048577 bytes; 1048576 are allowed";
    let huge = [&[0x82, 127][..], &(MAX_FRAME as u64 + 1).to_be_bytes()].concat();
    for (stream, text) in [
        (&b"\xc2\x01x"[..], reserved),
        (b"\x92\x00", reserved),
        (
            b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
            "not a datagram stream: a frame of 18446744073709551615 bytes; 1048576 are allowed",
        ),
        (&huge, too_large),
    ] {
        assert_eq!(
            decoded([stream]).map_err(|error| error.to_string()),
            Err(text.to_owned())
        );
    }
    assert_eq!(decoded([&b"\x82"[..], b"\x01", b"x"]), Ok(vec![b"x".to_vec()]));
}

#[test]
fn it_is_all_the_same_where_a_stream_is_cut_into_pieces() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for _ in 0..300 {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for number in 0..numbers.below(12) as u8 {
            let payload = vec![number; numbers.below(700)];
            let at = numbers.below(payload.len() + 1);
            let mask = (numbers.below(2) == 0).then_some([number, 1, 2, 0xFF]);
            stream.extend(frame(0x02, &payload[..at], mask));
            stream.extend(frame(0x80, &payload[at..], None));
            expected.extend((!payload.is_empty()).then_some(payload));
        }
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(1 + numbers.below(rest.len().min(90)));
            pieces.push(piece);
            rest = left;
        }
        assert_eq!(decoded(pieces), Ok(expected));
    }
}

#[test]
fn whatever_comes_nothing_breaks_and_little_is_held() {
    let mut numbers = Numbers(42);
    for _ in 0..2000 {
        let mut decoder = Decoder::default();
        loop {
            let mut piece: Vec<u8> = (0..1 + numbers.below(300)).map(|_| numbers.below(256) as u8).collect();
            piece[0] &= 0x8F; // else most end at once
            if decoder
                .feed(&piece, &mut |datagram| {
                    assert!((1..=MAX_PAYLOAD).contains(&datagram.len()))
                })
                .is_err()
            {
                break;
            }
            assert!(decoder.held() <= MAX_PAYLOAD + 14);
            if numbers.below(20) == 0 {
                break;
            }
        }
    }
    let (mut endless, fragment) = (Decoder::default(), frame(0x02, &[0; 65280], None));
    for _ in 0..200 {
        assert_eq!(endless.feed(&fragment, &mut |_| panic!("it never ends")), Ok(()));
        assert!(endless.held() <= MAX_PAYLOAD);
    }
}
