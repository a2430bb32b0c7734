//! Certificates for tests, as v1 makes them and otherwise.

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use ztm_native::tls::{Context, Credentials, TlsError};

/// What a certificate says besides its name.
pub struct Form {
    /// 1 or 3.
    pub version: i32,
    /// Days from now until it begins and ends to hold.
    pub days: (i64, i64),
    /// Extended key usage: client, server.
    pub usage: Option<(bool, bool)>,
}

/// As v1 issues them: version 1, without any extension (spec mesh-protocol 2.1).
pub const V1: Form = Form {
    version: 1,
    days: (-1, 365),
    usage: None,
};

/// A CA and its key.
pub struct Ca {
    key: PKey<Private>,
    pub pem: String,
}

/// A certificate with its key.
pub struct Card {
    pub certificate: String,
    pub key: String,
}

impl Ca {
    pub fn new(key: PKey<Private>, form: &Form) -> Self {
        let pem = issue("ca", &key, &key, form, true);
        Self { key, pem }
    }

    pub fn v1() -> Self {
        Self::new(rsa(), &V1)
    }

    pub fn card(&self, key: &PKey<Private>, form: &Form) -> Card {
        let certificate = issue("hub/1", key, &self.key, form, false);
        Card {
            certificate,
            key: pem(key),
        }
    }

    pub fn context(&self, card: &Card, server: bool) -> Context {
        context(&self.pem, card, server, "").expect("good credentials")
    }
}

pub fn context(ca: &str, card: &Card, server: bool, groups: &str) -> Result<Context, TlsError> {
    Context::new(
        &Credentials {
            ca,
            certificate: &card.certificate,
            key: &card.key,
            groups,
        },
        server,
    )
}

pub fn rsa() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

fn pem(key: &PKey<Private>) -> String {
    String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

fn issue(name: &str, key: &PKey<Private>, by: &PKey<Private>, form: &Form, is_ca: bool) -> String {
    let mut made = X509::builder().unwrap();
    made.set_version(form.version - 1).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, MsbOption::MAYBE_ZERO, false).unwrap();
    made.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    made.set_subject_name(&common_name(name)).unwrap();
    made.set_issuer_name(&common_name("ca")).unwrap();
    made.set_not_before(&days(form.days.0)).unwrap();
    made.set_not_after(&days(form.days.1)).unwrap();
    made.set_pubkey(key).unwrap();
    if form.version == 3 {
        extend(&mut made, form, is_ca);
    }
    let has_digest = matches!(by.id(), openssl::pkey::Id::RSA | openssl::pkey::Id::EC);
    made.sign(
        by,
        if has_digest {
            MessageDigest::sha256()
        } else {
            MessageDigest::null()
        },
    )
    .unwrap();
    String::from_utf8(made.build().to_pem().unwrap()).unwrap()
}

fn extend(made: &mut X509Builder, form: &Form, is_ca: bool) {
    if is_ca {
        made.append_extension(BasicConstraints::new().critical().ca().build().unwrap())
            .unwrap();
    }
    if let Some((client, server)) = form.usage {
        let mut usage = ExtendedKeyUsage::new();
        if client {
            usage.client_auth();
        }
        if server {
            usage.server_auth();
        }
        made.append_extension(usage.build().unwrap()).unwrap();
    }
}

fn common_name(name: &str) -> openssl::x509::X509Name {
    let mut made = X509NameBuilder::new().unwrap();
    made.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    made.build()
}

fn days(from_now: i64) -> Asn1Time {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    Asn1Time::from_unix(i64::try_from(now).unwrap() + from_now * 86400).unwrap()
}
