//! Datagrams in a stream by a hostile peer.

use crate::udp::frames::{Decoder, MAX_PAYLOAD, Misframed, encode};

/// A frame header is two bytes, a length of eight, and a mask of four.
const MAX_HEAD: usize = 14;

/// Decodes a stream that comes at once, and again in pieces of as many bytes as the first says.
///
/// # Panics
///
/// When the pieces make a difference, more is held than a datagram, or a datagram does not survive being encoded again.
pub fn datagram(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else {
        return;
    };
    let whole = decoded(std::iter::once(data));
    let pieces = decoded(data.chunks(usize::from(piece).max(1)));
    assert_eq!(whole, pieces, "how the bytes arrive makes no difference");
    for payload in whole.0 {
        let frame = encode(&payload).expect("a datagram that was given can be sent");
        assert_eq!(decoded(std::iter::once(&frame[..])), (vec![payload], None));
    }
}

fn decoded<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<Misframed>) {
    let (mut decoder, mut given) = (Decoder::default(), Vec::new());
    for piece in pieces {
        let fed = decoder.feed(piece, &mut |payload| {
            assert!(!payload.is_empty() && payload.len() <= MAX_PAYLOAD);
            given.push(payload.to_vec());
        });
        assert!(decoder.held() <= MAX_PAYLOAD + MAX_HEAD);
        if let Err(error) = fed {
            return (given, Some(error));
        }
    }
    (given, None)
}
