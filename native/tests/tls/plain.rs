//! The TLS library alone as the peer: what is sealed here is opened there, and the other way round.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use ztm_native::tls::{Decrypted, Input, Tls};

use crate::cards::{Ca, Card, V1, rsa};
use crate::pair::{noise, opened, sent};

#[derive(Default)]
struct Pipe {
    came: VecDeque<u8>,
    left: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.came.is_empty() {
            Err(ErrorKind::WouldBlock.into())
        } else {
            self.came.read(into)
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.left.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As v1: no ALPN, tickets as the library will, and only `suite` or `version`.
fn peer(card: &Card, server: bool, suite: Option<&str>, version: SslVersion) -> SslStream<Pipe> {
    let mut made = SslContext::builder(SslMethod::tls()).unwrap();
    made.set_min_proto_version(Some(version)).unwrap();
    made.set_max_proto_version(Some(version)).unwrap();
    if let Some(suite) = suite {
        made.set_ciphersuites(suite).unwrap();
    }
    made.set_certificate(&X509::from_pem(card.certificate.as_bytes()).unwrap())
        .unwrap();
    made.set_private_key(&PKey::private_key_from_pem(card.key.as_bytes()).unwrap())
        .unwrap();
    made.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    made.set_session_id_context(b"v1").unwrap();
    let mut ssl = Ssl::new(&made.build()).unwrap();
    if server {
        ssl.set_accept_state();
    } else {
        ssl.set_connect_state();
    }
    SslStream::new(ssl, Pipe::default()).unwrap()
}

fn pass(from: &mut SslStream<Pipe>) -> Input {
    Input::from(std::mem::take(&mut from.get_mut().left).as_slice())
}

fn shake(own: &mut Tls, other: &mut SslStream<Pipe>) {
    let mut is_done = false;
    while !(is_done && other.ssl().is_init_finished()) {
        is_done = own.shake(&mut pass(other)).unwrap();
        other.get_mut().came.extend(sent(own).bytes());
        drop(other.do_handshake());
    }
}

fn converse(server: bool, suite: Option<&str>, version: SslVersion) {
    let ca = Ca::v1();
    let card = ca.card(&rsa(), &V1);
    let mut own = ca.context(&card, server).start().unwrap();
    let mut other = peer(&card, !server, suite, version);
    shake(&mut own, &mut other);
    assert!(!own.is_own());
    for size in [1, 1200, 16384, 16385, 100_000] {
        let data = noise(size);
        own.encrypt(&data).unwrap();
        other.get_mut().came.extend(sent(&mut own).bytes());
        let mut got = vec![0; size];
        other.read_exact(&mut got).unwrap();
        assert!(got == data, "{size} bytes to the peer");
        other.write_all(&data).unwrap();
        let (got, then) = opened(&mut own, &mut pass(&mut other), 30_000);
        assert!(got == data, "{size} bytes from the peer");
        assert_eq!(then, Ok(Decrypted::Nothing));
    }
    own.close();
    other.get_mut().came.extend(sent(&mut own).bytes());
    assert_eq!(other.read(&mut [0; 9]).unwrap(), 0);
    other.shutdown().unwrap();
    assert_eq!(opened(&mut own, &mut pass(&mut other), 9).1, Ok(Decrypted::Ended));
}

#[test]
fn every_cipher_of_tls_1_3_carries_bytes_both_ways_in_both_roles() {
    for suite in [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ] {
        for server in [false, true] {
            converse(server, Some(suite), SslVersion::TLS1_3);
        }
    }
}

#[test]
fn tls_1_2_carries_bytes_both_ways_in_both_roles() {
    for server in [false, true] {
        converse(server, None, SslVersion::TLS1_2);
    }
}
