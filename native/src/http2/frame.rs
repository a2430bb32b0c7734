//! Frames as bytes: heads read and written, and the few whole frames that a session sends. Source: RFC 9113 section 4, 6.

pub const HEAD: usize = 9;
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// END_STREAM, and ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITISED: u8 = 32;

/// Error codes (RFC 9113 section 7).
pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Settings (RFC 9113 section 6.5.2).
pub const HEADER_TABLE_SIZE: u16 = 1;
pub const ENABLE_PUSH: u16 = 2;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;
pub const MAX_HEADER_LIST_SIZE: u16 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    #[must_use]
    pub fn parse(bytes: &[u8; HEAD]) -> Self {
        Self {
            length: usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]),
            kind: bytes[3],
            flags: bytes[4],
            stream: word(&bytes[5..9]) & 0x7fff_ffff,
        }
    }

    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The big-endian number of the first four bytes; 0 where there are fewer.
#[must_use]
pub fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}

pub fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    let size = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&[size[1], size[2], size[3], kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

pub fn data(out: &mut Vec<u8>, stream: u32, payload: &[u8], end: bool) {
    head(out, payload.len(), DATA, u8::from(end) * END_STREAM, stream);
    out.extend_from_slice(payload);
}

pub fn reset(out: &mut Vec<u8>, stream: u32, code: u32) {
    head(out, 4, RST_STREAM, 0, stream);
    out.extend_from_slice(&code.to_be_bytes());
}

pub fn window_update(out: &mut Vec<u8>, stream: u32, increment: i64) {
    if let Ok(increment @ 1..=0x7fff_ffff) = u32::try_from(increment) {
        head(out, 4, WINDOW_UPDATE, 0, stream);
        out.extend_from_slice(&increment.to_be_bytes());
    }
}

pub fn settings(out: &mut Vec<u8>, values: &[(u16, u32)]) {
    head(out, values.len() * 6, SETTINGS, 0, 0);
    for (code, value) in values {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub fn settings_ack(out: &mut Vec<u8>) {
    head(out, 0, SETTINGS, ACK, 0);
}

pub fn ping(out: &mut Vec<u8>, opaque: &[u8], ack: bool) {
    head(out, opaque.len(), PING, u8::from(ack) * ACK, 0);
    out.extend_from_slice(opaque);
}

/// `said` is cut to 512 bytes.
pub fn goaway(out: &mut Vec<u8>, last: u32, code: u32, said: &[u8]) {
    let said = &said[..said.len().min(512)];
    head(out, 8 + said.len(), GOAWAY, 0, 0);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(said);
}

/// A header block in HEADERS and as many CONTINUATION frames as it needs.
pub fn headers(out: &mut Vec<u8>, stream: u32, block: &[u8], piece: usize) {
    let mut rest = block;
    let mut kind = HEADERS;
    loop {
        let (now, later) = rest.split_at(rest.len().min(piece));
        head(out, now.len(), kind, u8::from(later.is_empty()) * END_HEADERS, stream);
        out.extend_from_slice(now);
        if later.is_empty() {
            return;
        }
        (rest, kind) = (later, CONTINUATION);
    }
}
