//! The keys of one direction of an established TLS 1.3 session: records are sealed and opened with them.
//!
//! Source: RFC 8446 5.2 (records), 5.3 (nonces), 7.1 to 7.3 (secrets and keys).

use std::sync::{LazyLock, Mutex};

use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::kdf::{HkdfMode, hkdf};
use openssl::md::{Md, MdRef};
use openssl::ssl::{Ssl, SslRef};

/// Bytes of the tag at a record's end, with every cipher of TLS 1.3.
pub const TAG: usize = 16;
/// Bytes of a nonce, with every cipher of TLS 1.3 that is offered.
const NONCE: usize = 12;
/// Records that one key may seal; AES-GCM allows 2^24.5 full ones (RFC 8446 5.5).
const WORN: u64 = 1 << 24;

/// A traffic secret. It is overwritten when it is not needed any more, and never shown.
#[derive(Default)]
pub struct Secret(Vec<u8>);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0); // so that the compiler does not think it in vain
    }
}

impl Secret {
    /// Read from pairs of hexadecimal digits.
    fn parse(digits: &str) -> Option<Self> {
        let pairs = digits.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        bytes.map(Self)
    }
}

/// The first traffic secrets of both sides, as the TLS library tells them at the end of a handshake.
#[derive(Default)]
pub struct Secrets {
    pub client: Secret,
    pub server: Secret,
}

/// Where the library's call-back leaves them; None where it has no place for them.
pub static SECRETS: LazyLock<Option<Index<Ssl, Mutex<Secrets>>>> = LazyLock::new(|| Ssl::new_ex_index().ok());

/// Note a line of the library's key log, if it is about one of those.
pub fn note(ssl: &SslRef, line: &str) {
    let mut words = line.split(' ');
    let (Some(label), _, Some(digits)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    let Some(secrets) = SECRETS.and_then(|index| ssl.ex_data(index)) else {
        return;
    };
    let Ok(mut secrets) = secrets.lock() else { return };
    match label {
        "CLIENT_TRAFFIC_SECRET_0" => secrets.client = Secret::parse(digits).unwrap_or_default(),
        "SERVER_TRAFFIC_SECRET_0" => secrets.server = Secret::parse(digits).unwrap_or_default(),
        _ => {}
    }
}

/// A cipher of TLS 1.3 and its hash (RFC 8446 B.4).
#[derive(Clone, Copy)]
pub struct Suite {
    cipher: &'static CipherRef,
    digest: &'static MdRef,
}

impl Suite {
    /// The suite of a number on the wire.
    pub fn find(number: [u8; 2]) -> Option<Self> {
        let (cipher, digest) = match number {
            [0x13, 1] => (Cipher::aes_128_gcm(), Md::sha256()),
            [0x13, 2] => (Cipher::aes_256_gcm(), Md::sha384()),
            [0x13, 3] => (Cipher::chacha20_poly1305(), Md::sha256()),
            _ => return None,
        };
        Some(Self { cipher, digest })
    }

    fn is_of(&self, secret: &Secret) -> bool {
        secret.0.len() == self.digest.size()
    }

    /// HKDF-Expand-Label with an empty context (RFC 8446 7.1).
    fn expand(&self, secret: &Secret, label: &str, into: &mut [u8]) -> Result<(), ErrorStack> {
        let length = u8::try_from(into.len()).unwrap_or(u8::MAX);
        let mut info = vec![0, length, 6 + u8::try_from(label.len()).unwrap_or(u8::MAX - 6)];
        info.extend_from_slice(b"tls13 ");
        info.extend_from_slice(label.as_bytes());
        info.push(0);
        hkdf(
            self.digest,
            &secret.0,
            None,
            Some(&info),
            HkdfMode::ExpandOnly,
            None,
            into,
        )
    }
}

/// Which way the bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Out,
    In,
}

/// The present keys of one direction.
pub struct Keys {
    context: CipherCtx,
    suite: Suite,
    secret: Secret,
    iv: [u8; NONCE],
    sequence: u64,
    way: Way,
}

impl Keys {
    /// Keys from a traffic secret; None if it is not one of this suite.
    pub fn new(suite: Suite, secret: Secret, way: Way) -> Result<Option<Self>, ErrorStack> {
        if !suite.is_of(&secret) {
            return Ok(None);
        }
        let mut keys = Self {
            context: CipherCtx::new()?,
            suite,
            secret,
            iv: [0; NONCE],
            sequence: 0,
            way,
        };
        keys.load()?;
        Ok(Some(keys))
    }

    fn load(&mut self) -> Result<(), ErrorStack> {
        let mut key = Secret(vec![0; self.suite.cipher.key_length()]);
        self.suite.expand(&self.secret, "key", &mut key.0)?;
        self.suite.expand(&self.secret, "iv", &mut self.iv)?;
        self.sequence = 0;
        match self.way {
            Way::Out => self.context.encrypt_init(Some(self.suite.cipher), Some(&key.0), None),
            Way::In => self.context.decrypt_init(Some(self.suite.cipher), Some(&key.0), None),
        }
    }

    /// Go over to the next keys (RFC 8446 7.2).
    pub fn renew(&mut self) -> Result<(), ErrorStack> {
        let mut next = Secret(vec![0; self.secret.0.len()]);
        self.suite.expand(&self.secret, "traffic upd", &mut next.0)?;
        self.secret = next;
        self.load()
    }

    /// Whether they have sealed as much as is good for them.
    pub fn is_worn(&self) -> bool {
        self.sequence >= WORN
    }

    #[cfg(test)]
    pub fn wear(&mut self) {
        self.sequence = WORN;
    }

    /// Make ready for the next record, whose header is `header`.
    fn begin(&mut self, header: &[u8]) -> Result<(), ErrorStack> {
        let mut nonce = self.iv;
        for (byte, of_sequence) in nonce[NONCE - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        self.sequence += 1;
        match self.way {
            Way::Out => self.context.encrypt_init(None, None, Some(&nonce))?,
            Way::In => self.context.decrypt_init(None, None, Some(&nonce))?,
        }
        self.context.cipher_update(header, None).map(drop)
    }

    /// Encrypt `plain` and one byte more into `sealed`, which is larger by that byte and the tag.
    pub fn seal(&mut self, header: &[u8], plain: &[u8], last: u8, sealed: &mut [u8]) -> Result<(), ErrorStack> {
        let (body, tag) = sealed.split_at_mut(plain.len() + 1);
        self.begin(header)?;
        if !plain.is_empty() {
            self.context.cipher_update(plain, Some(body))?;
        }
        self.context.cipher_update(&[last], Some(&mut body[plain.len()..]))?;
        self.context.cipher_final(&mut [])?;
        self.context.tag(tag)
    }

    /// Decrypt `sealed` into the beginning of `plain`, which is no smaller than what is sealed is without its tag.
    ///
    /// What was written there must not be used after an error: the record is forged then.
    pub fn open(&mut self, header: &[u8], sealed: &[u8], plain: &mut [u8]) -> Result<(), ErrorStack> {
        let (body, tag) = sealed.split_at(sealed.len().saturating_sub(TAG));
        self.begin(header)?;
        self.context.cipher_update(body, Some(plain))?;
        self.context.set_tag(tag)?;
        self.context.cipher_final(&mut []).map(drop)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The client's first traffic secret of RFC 8448 3, with `TLS_AES_128_GCM_SHA256`.
    const SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
    /// The first record that it seals there: the bytes 0 to 49.
    const RECORD: &str = "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a\
                          20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";

    pub fn keys(way: Way) -> Keys {
        let suite = Suite::find([0x13, 1]).expect("a known suite");
        Keys::new(suite, Secret::parse(SECRET).expect("digits"), way)
            .expect("memory")
            .expect("its length")
    }

    #[test]
    fn a_record_of_rfc_8448_is_sealed_and_opened_as_written_there() {
        let plain: Vec<u8> = (0..50).collect();
        let record = Secret::parse(RECORD).expect("digits");
        let (header, sealed) = record.0.split_at(5);
        let mut made = vec![0; sealed.len()];
        keys(Way::Out).seal(header, &plain, 23, &mut made).expect("sealed");
        assert_eq!(made, sealed);
        let mut opened = vec![0; 51];
        keys(Way::In).open(header, sealed, &mut opened).expect("opened");
        assert_eq!((&opened[..50], opened[50]), (plain.as_slice(), 23));
    }

    #[test]
    fn a_secret_of_another_hash_or_of_none_makes_no_keys() {
        let suite = Suite::find([0x13, 2]).expect("a known suite");
        assert!(
            Keys::new(suite, Secret::parse(SECRET).expect("digits"), Way::In)
                .expect("memory")
                .is_none()
        );
        assert!(Keys::new(suite, Secret::default(), Way::In).expect("memory").is_none());
        assert!(Secret::parse("0g").is_none() && Suite::find([0x13, 4]).is_none());
    }
}
