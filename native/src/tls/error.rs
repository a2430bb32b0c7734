//! Why TLS does not go on, in words for people. No text holds anything of a key.

use std::fmt;

use openssl::error::ErrorStack;
use openssl::ssl::Error;
use openssl::x509::X509VerifyResult;

/// Why a session cannot be, or was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsError {
    /// The peer's certificate is refused.
    Certificate(String),
    /// The peer does not speak TLS, or not ours; or refuses us, by an alert.
    Protocol(String),
    /// What was configured cannot be used.
    Configuration(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(text) | Self::Protocol(text) | Self::Configuration(text) => to.write_str(text),
        }
    }
}

impl std::error::Error for TlsError {}

impl TlsError {
    pub(super) fn configuration(what: &str, why: &ErrorStack) -> Self {
        Self::Configuration(format!("{what} is not usable: {}", reason(why)))
    }

    /// The certificate did not verify; `server` is our own role.
    pub(super) fn certificate(why: X509VerifyResult, server: bool) -> Self {
        let message = why.error_string();
        Self::Certificate(match meaning(why.as_raw(), server) {
            Some(meaning) => format!("{meaning} ({message})"),
            None => message.to_owned(),
        })
    }

    pub(super) fn protocol(why: &Error) -> Self {
        Self::Protocol(match (why.ssl_error(), why.io_error()) {
            (Some(stack), _) => reason(stack),
            (None, Some(error)) => error.to_string(),
            (None, None) => "the TLS session has failed".to_owned(),
        })
    }
}

/// What OpenSSL's verify codes mean here (`X509_V_ERR_...`, openssl-verification-options).
fn meaning(code: i32, server: bool) -> Option<&'static str> {
    match (code, server) {
        (7 | 18..=21, _) => Some("it is not signed by this mesh's CA"),
        (26, false) => Some("it is not one for a server, so whoever shows it is no hub"),
        (26, true) => Some("it is not one for a client"),
        _ => None,
    }
}

/// The first, which is the innermost, reason that OpenSSL gives.
fn reason(stack: &ErrorStack) -> String {
    let told = stack.errors().iter().find_map(|error| error.reason());
    told.unwrap_or("TLS has failed for no reason that it tells").to_owned()
}
