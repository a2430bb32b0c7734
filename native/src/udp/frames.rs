//! Datagrams inside a stream: one RFC 6455 message each, without a WebSocket handshake; the same as `ztm.wire.datagram`.
//!
//! It sends no control frames, and treats every opcode as data.
//! Source: spec apps-network 1.3 (udp); RFC 6455 section 5.2.

/// Bytes of the largest UDP payload over IPv4 (65535 less 20 of IP and 8 of UDP header).
pub const MAX_PAYLOAD: usize = 65507;
/// Bytes that one frame may announce. More than any datagram has can only be a stream out of step.
pub const MAX_FRAME: usize = 1 << 20;

const FIN_BINARY: u8 = 0x82;
const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
/// Two bytes, a length of eight, and a mask of four.
const MAX_HEAD: usize = 14;

/// One datagram as a single unmasked binary frame; None for one that is empty, which peers drop, or larger than UDP has.
#[must_use]
pub fn encode(payload: &[u8]) -> Option<Vec<u8>> {
    let size = u16::try_from(payload.len()).ok().filter(|size| *size > 0)?;
    if payload.len() > MAX_PAYLOAD {
        return None;
    }
    let mut frame = Vec::with_capacity(payload.len() + 4);
    frame.push(FIN_BINARY);
    match u8::try_from(size) {
        Ok(short) if short < 126 => frame.push(short),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&size.to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    Some(frame)
}

/// Why a stream is no stream of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misframed {
    Reserved,
    TooLarge(u64),
}

impl std::fmt::Display for Misframed {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reserved => write!(text, "not a datagram stream: reserved bits are set in a frame header"),
            Self::TooLarge(size) => write!(
                text,
                "not a datagram stream: a frame of {size} bytes; {MAX_FRAME} are allowed"
            ),
        }
    }
}

struct Head {
    is_final: bool,
    size: usize,
    mask: Option<[u8; 4]>,
    /// Bytes of the header itself.
    length: usize,
}

/// Takes the bytes of a stream as they come, and gives the datagrams that are complete.
///
/// It holds at most [`MAX_PAYLOAD`] bytes and one frame header: what is longer is skipped while it comes.
#[derive(Default)]
pub struct Decoder {
    /// The begin of a frame header that is not complete.
    head: Vec<u8>,
    message: Vec<u8>,
    is_oversize: bool,
    is_final: bool,
    /// Payload bytes of the current frame that are still to come.
    left: usize,
    mask: Option<[u8; 4]>,
}

impl Decoder {
    /// Give the datagrams completed by `data` to `emit`; empty ones and those over [`MAX_PAYLOAD`] are left out.
    ///
    /// # Errors
    /// This is no such stream; it is to be fed no more.
    pub fn feed(&mut self, mut data: &[u8], emit: &mut dyn FnMut(&[u8])) -> Result<(), Misframed> {
        loop {
            if self.left == 0 && !self.begin(&mut data)? {
                return Ok(());
            }
            let (chunk, rest) = data.split_at(self.left.min(data.len()));
            data = rest;
            self.left -= chunk.len();
            let is_done = self.left == 0 && self.is_final;
            if is_done && self.is_whole(chunk) {
                emit(chunk);
            } else {
                self.keep(chunk);
                if is_done && !self.message.is_empty() {
                    emit(&self.message);
                }
            }
            if is_done {
                self.forget();
            }
            if self.left > 0 {
                return Ok(());
            }
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.head.len() + self.message.len()
    }

    /// Whether `chunk` is all of a datagram, as it is.
    fn is_whole(&self, chunk: &[u8]) -> bool {
        let is_fresh = self.message.is_empty() && !self.is_oversize && self.mask.is_none();
        is_fresh && (1..=MAX_PAYLOAD).contains(&chunk.len())
    }

    /// Read the next frame's header off `data`; false while it is not all there.
    fn begin(&mut self, data: &mut &[u8]) -> Result<bool, Misframed> {
        let before = self.head.len();
        let found = if before == 0 {
            parse(data)?
        } else {
            self.head.extend_from_slice(&data[..data.len().min(MAX_HEAD - before)]);
            parse(&self.head)?
        };
        let Some(head) = found else {
            if before == 0 {
                self.head.extend_from_slice(data);
            }
            *data = &[];
            return Ok(false);
        };
        // A header that was not complete before reaches beyond what was kept of it.
        *data = &data[head.length - before..];
        self.head = Vec::new();
        (self.is_final, self.left, self.mask) = (head.is_final, head.size, head.mask);
        Ok(true)
    }

    fn keep(&mut self, chunk: &[u8]) {
        if self.is_oversize || self.message.len() + chunk.len() > MAX_PAYLOAD {
            self.is_oversize = true;
            self.message = Vec::new();
            return;
        }
        let begin = self.message.len();
        self.message.extend_from_slice(chunk);
        if let Some(mask) = &mut self.mask {
            for (byte, key) in self.message[begin..].iter_mut().zip(mask.iter().cycle()) {
                *byte ^= key;
            }
            mask.rotate_left(chunk.len() % 4);
        }
    }

    fn forget(&mut self) {
        self.message = Vec::new();
        self.is_oversize = false;
        self.is_final = false;
    }
}

/// The header at the begin of `data`; None if it is not all there.
fn parse(data: &[u8]) -> Result<Option<Head>, Misframed> {
    let [first, second, rest @ ..] = data else {
        return Ok(None);
    };
    if first & RSV != 0 {
        return Err(Misframed::Reserved);
    }
    let wide = match second & LENGTH {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((length, rest)) = rest.split_at_checked(wide) else {
        return Ok(None);
    };
    let announced = match wide {
        0 => u64::from(second & LENGTH),
        _ => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    let size = usize::try_from(announced).ok().filter(|size| *size <= MAX_FRAME);
    let size = size.ok_or(Misframed::TooLarge(announced))?;
    let is_masked = second & MASKED != 0;
    let mask = rest.first_chunk::<4>().copied().filter(|_| is_masked);
    if is_masked && mask.is_none() {
        return Ok(None);
    }
    Ok(Some(Head {
        is_final: first & FIN != 0,
        size,
        mask,
        length: 2 + wide + if is_masked { 4 } else { 0 },
    }))
}
