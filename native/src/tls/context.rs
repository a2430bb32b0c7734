//! Contexts from credentials: what is offered, and what is asked of a peer. Made once, and used for many sessions.

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    AlpnError, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslStream,
    SslVerifyMode, SslVersion, select_next_proto,
};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use std::sync::Mutex;

use super::keys::{self, SECRETS, Secrets};
use super::library::Library;
use super::memory::Memory;
use super::{Tls, TlsError};

/// Key exchanges that are offered by default, the best first: the hybrid one, then those that older peers have.
/// A client sends a share for those with an asterisk, so that neither needs another round trip.
const GROUPS: &str = "*X25519MLKEM768:*X25519:secp256r1:secp384r1";
/// AES-128 first: it is the fastest where the processor has AES, and no weakness of the mesh (the hybrid exchange and
/// the certificates are of the same class).
const CIPHERS_1_3: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
/// TLS 1.2 only with forward secrecy and authenticated encryption.
const CIPHERS_1_2: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";
/// Bits of security that keys, signatures and ciphers must have: 112, as RSA 2048 has (`SSL_CTX_set_security_level`).
const SECURITY_LEVEL: u32 = 2;
/// What a client offers, in ALPN's encoding: each with its length (RFC 7301 3.1).
const OFFERED: &[u8] = b"\x05ztm/1";
/// What a server takes, the best first.
const TAKEN: &[u8] = b"\x05ztm/1\x02h2\x08http/1.1";

/// One side's credentials; all texts are PEM.
pub struct Credentials<'a> {
    /// The one CA, of which the peer's certificate must be.
    pub ca: &'a str,
    /// The own certificate, which may be followed by others up to the CA.
    pub certificate: &'a str,
    /// Its private key.
    pub key: &'a str,
    /// Key exchanges by colons, as OpenSSL writes them or as `ML-KEM-768`; empty for the default.
    pub groups: &'a str,
}

/// What all sessions of one configuration and role share; a clone is the same context.
#[derive(Clone)]
pub struct Context {
    shared: SslContext,
    server: bool,
}

impl Context {
    /// A context for either role.
    ///
    /// # Errors
    ///
    /// `Configuration`: a text is malformed, certificate and key do not match, or a group is unknown.
    pub fn new(credentials: &Credentials<'_>, server: bool) -> Result<Self, TlsError> {
        let method = if server {
            SslMethod::tls_server()
        } else {
            SslMethod::tls_client()
        };
        let failed = |error| TlsError::configuration("the TLS library", &error);
        let mut made = SslContext::builder(method).map_err(failed)?;
        restrict(&mut made).map_err(failed)?;
        negotiate(&mut made, server).map_err(failed)?;
        choose_groups(&mut made, credentials.groups)?;
        trust(&mut made, credentials.ca).map_err(|error| TlsError::configuration("the mesh's CA", &error))?;
        show(&mut made, credentials)?;
        Ok(Self {
            shared: made.build(),
            server,
        })
    }

    /// A session that has not begun.
    ///
    /// # Errors
    ///
    /// `Configuration`: there is no memory for it.
    pub fn start(&self) -> Result<Tls, TlsError> {
        let started = Ssl::new(&self.shared).and_then(|mut ssl| {
            if self.server {
                ssl.set_accept_state();
            } else {
                ssl.set_connect_state();
            }
            if let Some(index) = *SECRETS {
                ssl.set_ex_data(index, Mutex::new(Secrets::default()));
            }
            SslStream::new(ssl, Memory::default())
        });
        let stream = started.map_err(|error| TlsError::configuration("the TLS library", &error))?;
        Ok(Tls::new(Library::new(stream, self.server)))
    }
}

/// What holds for both roles, whatever the credentials.
fn restrict(made: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    made.set_security_level(SECURITY_LEVEL);
    made.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    made.set_ciphersuites(CIPHERS_1_3)?;
    made.set_cipher_list(CIPHERS_1_2)?;
    // v1 hubs abort a handshake that tries to resume, and our own sessions live long.
    made.set_session_cache_mode(SslSessionCacheMode::OFF);
    made.set_num_tickets(0)?;
    made.set_options(
        SslOptions::NO_TICKET
            | SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    made.set_mode(SslMode::RELEASE_BUFFERS | SslMode::ACCEPT_MOVING_WRITE_BUFFER);
    made.set_keylog_callback(keys::note); // an established session is run by `records`
    made.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    Ok(())
}

fn negotiate(made: &mut SslContextBuilder, server: bool) -> Result<(), ErrorStack> {
    if !server {
        return made.set_alpn_protos(OFFERED);
    }
    // Who offers none of ours is no less welcome: v1 offers nothing at all.
    made.set_alpn_select_callback(|_, offered| select_next_proto(TAKEN, offered).ok_or(AlpnError::NOACK));
    Ok(())
}

fn choose_groups(made: &mut SslContextBuilder, groups: &str) -> Result<(), TlsError> {
    let named = groups.replace("ML-KEM-", "MLKEM");
    let chosen = if named.is_empty() { GROUPS } else { &named };
    let unknown = |_| TlsError::Configuration(format!("unknown key exchange in {chosen:?}"));
    if chosen.contains('\0') {
        return Err(TlsError::Configuration("a key exchange holds a zero byte".to_owned()));
    }
    made.set_groups_list(chosen).map_err(unknown)
}

/// Trust `ca` and nothing else. v1's is an X.509 v1 certificate: checking is not strict (spec mesh-protocol 2.1).
fn trust(made: &mut SslContextBuilder, ca: &str) -> Result<(), ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for certificate in certificates(ca)? {
        store.add_cert(certificate)?;
    }
    made.set_cert_store(store.build());
    Ok(())
}

fn show(made: &mut SslContextBuilder, credentials: &Credentials<'_>) -> Result<(), TlsError> {
    let unusable = |error| TlsError::configuration("the certificate", &error);
    let mut chain = certificates(credentials.certificate).map_err(unusable)?.into_iter();
    if let Some(leaf) = chain.next() {
        made.set_certificate(&leaf).map_err(unusable)?;
    }
    for certificate in chain {
        made.add_extra_chain_cert(certificate).map_err(unusable)?;
    }
    let key = private_key(credentials.key).map_err(|error| TlsError::configuration("the private key", &error))?;
    let mismatch = |error| TlsError::configuration("the certificate with this private key", &error);
    made.set_private_key(&key).map_err(mismatch)?;
    made.check_private_key().map_err(mismatch)
}

/// The certificates of a text, one at least.
fn certificates(pem: &str) -> Result<Vec<X509>, ErrorStack> {
    let found = X509::stack_from_pem(pem.as_bytes())?;
    if found.is_empty() {
        return X509::from_pem(pem.as_bytes()).map(|one| vec![one]); // which says why there is none
    }
    Ok(found)
}

/// A key without a passphrase: one with it is refused, and nobody is asked at a terminal.
fn private_key(pem: &str) -> Result<PKey<Private>, ErrorStack> {
    PKey::private_key_from_pem_callback(pem.trim().as_bytes(), |_| Ok(0))
}
