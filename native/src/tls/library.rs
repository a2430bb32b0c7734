//! The TLS library's part: every handshake, and the whole of a TLS 1.2 session.

use openssl::error::ErrorStack;
use openssl::ssl::{Error, ErrorCode, ShutdownState, SslStream, SslVersion};
use openssl::x509::X509VerifyResult;

use super::keys::{Keys, SECRETS, Secrets, Suite, Way};
use super::memory::{Input, Memory, Output};
use super::records::Records;
use super::{OWN_ALPN, TlsError};

pub struct Library {
    stream: SslStream<Memory>,
    server: bool,
}

impl Library {
    pub fn new(stream: SslStream<Memory>, server: bool) -> Self {
        Self { stream, server }
    }

    /// Go on with the handshake; true when it is done.
    pub fn shake(&mut self, input: &mut Input) -> Result<bool, TlsError> {
        self.lend(input);
        let result = self.stream.do_handshake();
        self.lend(input);
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.code() == ErrorCode::WANT_READ => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// What TLS 1.3 goes on with, if it is that and the keys are known. Then no record may pass here any more.
    ///
    /// The library reads records one by one: with the handshake's last it has taken nothing that comes behind.
    pub fn records(&mut self) -> Result<Option<Records>, ErrorStack> {
        let ssl = self.stream.ssl();
        if ssl.version2() != Some(SslVersion::TLS1_3) {
            return Ok(None);
        }
        let Some(suite) = ssl
            .current_cipher()
            .and_then(|cipher| Suite::find(cipher.protocol_id()))
        else {
            return Ok(None);
        };
        let told = SECRETS.and_then(|index| ssl.ex_data(index));
        let Some(Ok(mut secrets)) = told.map(std::sync::Mutex::lock) else {
            return Ok(None);
        };
        let Secrets { client, server } = std::mem::take(&mut *secrets);
        drop(secrets);
        let (own, other) = if self.server {
            (server, client)
        } else {
            (client, server)
        };
        let keys = (Keys::new(suite, own, Way::Out)?, Keys::new(suite, other, Way::In)?);
        let (Some(sealing), Some(opening)) = keys else {
            return Ok(None);
        };
        Ok(Some(Records::new(
            sealing,
            opening,
            self.server,
            std::mem::take(self.output()),
        )))
    }

    /// Fill `plain` as far as the input goes; the bytes that were filled.
    pub fn decrypt(&mut self, input: &mut Input, plain: &mut [u8]) -> (usize, Result<(), TlsError>) {
        self.lend(input);
        let result = self.fill(plain);
        self.lend(input);
        result
    }

    fn fill(&mut self, plain: &mut [u8]) -> (usize, Result<(), TlsError>) {
        let mut filled = 0;
        while filled < plain.len() && self.has_more() {
            match self.stream.ssl_read(&mut plain[filled..]) {
                Ok(size) => filled += size,
                Err(error) if matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::ZERO_RETURN) => break,
                Err(error) => return (filled, Err(self.failed(&error))),
            }
        }
        (filled, Ok(()))
    }

    /// Whether a call could find anything: one that cannot would only take memory for a record and give it back.
    fn has_more(&self) -> bool {
        !self.stream.get_ref().input.is_empty() || self.stream.ssl().pending() > 0
    }

    pub fn encrypt(&mut self, plain: &[u8]) -> Result<(), TlsError> {
        let mut rest = plain;
        while !rest.is_empty() {
            let size = self.stream.ssl_write(rest).map_err(|error| self.failed(&error))?;
            rest = rest.get(size..).unwrap_or_default();
        }
        Ok(())
    }

    pub fn close(&mut self) {
        if self.stream.ssl().is_init_finished() {
            drop(self.stream.shutdown()); // which only says whether the peer has said it too
        }
    }

    pub fn output(&mut self) -> &mut Output {
        &mut self.stream.get_mut().output
    }

    pub fn is_ended(&mut self) -> bool {
        self.stream.get_shutdown().contains(ShutdownState::RECEIVED)
    }

    pub fn is_own(&self) -> bool {
        self.stream.ssl().selected_alpn_protocol() == Some(OWN_ALPN)
    }

    /// The peer's certificate (DER).
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.stream.ssl().peer_certificate()?.to_der().ok()
    }

    /// Exchange `input` with what the library reads, for the time of a call.
    fn lend(&mut self, input: &mut Input) {
        std::mem::swap(input, &mut self.stream.get_mut().input);
    }

    fn failed(&mut self, error: &Error) -> TlsError {
        match self.stream.ssl().verify_result() {
            X509VerifyResult::OK => TlsError::protocol(error),
            refused => TlsError::certificate(refused, self.server),
        }
    }
}
