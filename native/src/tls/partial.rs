//! A record that has come in part. It holds memory for one record at most, and only while it is one.

use super::alert::Fault;
use super::memory::Input;

/// Bytes of a record's header: its kind, a version, and the size of what follows (RFC 8446 5.2).
pub const HEADER: usize = 5;
/// Bytes after the header, at most.
const LARGEST: usize = (16 << 10) + 256;

#[derive(Default)]
pub struct Partial(Vec<u8>);

impl Partial {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The size of the record that `bytes` begin with, if they tell it.
    pub fn size(bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let size = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if size > LARGEST {
            return Err(Fault::overflow());
        }
        Ok(Some(HEADER + size))
    }

    pub fn is_whole(bytes: &[u8]) -> Result<bool, Fault> {
        Ok(Self::size(bytes)?.is_some_and(|size| bytes.len() >= size))
    }

    /// Take what is missing; the record when it is whole.
    pub fn complete(&mut self, input: &mut Input) -> Result<Option<Vec<u8>>, Fault> {
        self.grow(HEADER, input);
        let Some(size) = Self::size(&self.0)? else {
            return Ok(None);
        };
        self.grow(size, input);
        Ok((self.0.len() == size).then(|| std::mem::take(&mut self.0)))
    }

    fn grow(&mut self, size: usize, input: &mut Input) {
        let missing = size.saturating_sub(self.0.len());
        let found = missing.min(input.bytes().len());
        if found > 0 {
            self.0.reserve_exact(missing);
            self.0.extend_from_slice(&input.bytes()[..found]);
            input.took(found);
        }
    }
}
