//! Post-quantum certificates and key exchanges (spec mesh-protocol 17).

use openssl::pkey::{KeyType, PKey, Private};
use ztm_native::tls::TlsError;

use crate::cards::{Ca, V1, context, rsa};
use crate::pair::{Pair, opened, sent};

/// A key of SLH-DSA-SHA2-128f, which protects nothing: only these tests know it.
const SLH_DSA_128F: &[u8] = b"-----BEGIN PRIVATE KEY-----
MFICAQAwCwYJYIZIAWUDBAMVBECtwoXCBbO+Rh/p1WNvjBoK9uYWrrrpNkmomk/n
YMgE0+jPcIU4Haw7NtEhRhiJrvPSYb7rKYFnYAOoEk+OECaY
-----END PRIVATE KEY-----
";

fn ml_dsa(kind: KeyType) -> PKey<Private> {
    let mut seed = [0; 32];
    openssl::rand::rand_bytes(&mut seed).unwrap();
    PKey::private_key_from_seed(None, kind, None, &seed).unwrap()
}

fn slh_dsa() -> PKey<Private> {
    PKey::private_key_from_pem(SLH_DSA_128F).unwrap()
}

fn converse(ca: &Ca, key: &PKey<Private>, groups: &str) -> Result<(), TlsError> {
    let card = ca.card(key, &V1);
    let made = |server| context(&ca.pem, &card, server, groups).unwrap();
    let mut pair = Pair::start(&made(false), &made(true));
    pair.shake()?;
    pair.client.encrypt(b"hello").unwrap();
    assert_eq!(opened(&mut pair.server, &mut sent(&mut pair.client), 99).0, b"hello");
    Ok(())
}

#[test]
fn ml_dsa_signs_the_ca_and_both_sides() {
    for kind in [KeyType::ML_DSA_44, KeyType::ML_DSA_65, KeyType::ML_DSA_87] {
        converse(&Ca::new(ml_dsa(kind), &V1), &ml_dsa(kind), "ML-KEM-1024").unwrap();
    }
}

#[test]
fn slh_dsa_signs_the_ca() {
    let ca = Ca::new(slh_dsa(), &V1);
    converse(&ca, &ml_dsa(KeyType::ML_DSA_65), "ML-KEM-1024").unwrap();
    converse(&ca, &rsa(), "").unwrap();
}

/// TLS has no number for signatures of this kind, so that no handshake can be signed with it.
#[test]
fn slh_dsa_cannot_sign_a_handshake_which_is_told_when_the_context_is_made() {
    let ca = Ca::new(slh_dsa(), &V1);
    let made = context(&ca.pem, &ca.card(&slh_dsa(), &V1), true, "");
    assert!(matches!(made.err(), Some(TlsError::Configuration(_))));
}
