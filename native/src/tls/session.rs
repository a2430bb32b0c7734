//! One TLS session: handshake, then bytes both ways, then its end.

use super::TlsError;
use super::alert::Fault;
use super::library::Library;
use super::memory::{Input, Output};
use super::records::Records;

/// What [`Tls::decrypt`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decrypted {
    /// So many bytes, at the beginning of the buffer.
    Bytes(usize),
    /// The input is used up.
    Nothing,
    /// The peer has said goodbye: no byte comes after those that came. A connection that ends without was cut.
    Ended,
}

enum Stage {
    /// The handshake, and all of TLS 1.2.
    Library(Box<Library>),
    Records(Box<Records>),
}

/// One session. It does not read or write anything: feed it what comes, and send its [`Tls::output`].
///
/// After an error nothing more can be done but to send the output, an alert that tells the peer, and to close.
pub struct Tls {
    stage: Stage,
    /// What is known of the peer when the handshake is done.
    peer: Option<Vec<u8>>,
    is_done: bool,
    is_own: bool,
    failure: Option<Box<TlsError>>,
}

impl Tls {
    pub(super) fn new(library: Library) -> Self {
        let stage = Stage::Library(Box::new(library));
        Self {
            stage,
            peer: None,
            is_done: false,
            is_own: false,
            failure: None,
        }
    }

    /// Go on with the handshake; true when it is done, false when more input is needed.
    ///
    /// A client is done before its server has judged its certificate: a refusal comes with the first bytes.
    ///
    /// # Errors
    ///
    /// `Certificate`: the peer's is refused. `Protocol`: anything else. The same again, each time after.
    pub fn shake(&mut self, input: &mut Input) -> Result<bool, TlsError> {
        self.check()?;
        let Stage::Library(library) = &mut self.stage else {
            return Ok(true);
        };
        if !self.is_done {
            match library.shake(input) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => return Err(self.fail(error)),
            }
            self.established()?;
        }
        Ok(true)
    }

    /// The peer is verified. Of TLS 1.3 only the keys are needed from here on.
    fn established(&mut self) -> Result<(), TlsError> {
        let Stage::Library(library) = &mut self.stage else {
            return Ok(());
        };
        self.is_done = true;
        self.is_own = library.is_own();
        self.peer = library.peer_certificate();
        match library.records() {
            Ok(Some(records)) => self.stage = Stage::Records(Box::new(records)),
            Ok(None) => {}
            Err(error) => return Err(self.fail(TlsError::configuration("the TLS library", &error))),
        }
        Ok(())
    }

    /// Fill `plain` as far as the input goes; to be called until it finds nothing.
    ///
    /// # Errors
    ///
    /// `Protocol`: a record is forged or malformed, the peer sent an alert, or the handshake is not done. The same
    /// again, each time after.
    pub fn decrypt(&mut self, input: &mut Input, plain: &mut [u8]) -> Result<Decrypted, TlsError> {
        self.check_done()?;
        let (filled, result) = match &mut self.stage {
            Stage::Library(library) => library.decrypt(input, plain),
            Stage::Records(records) => {
                let (filled, result) = records.decrypt(input, plain);
                (filled, result.map_err(|fault| tell(records, fault)))
            }
        };
        if let Err(error) = result {
            let error = self.fail(error);
            if filled == 0 {
                return Err(error);
            }
        }
        if filled > 0 || plain.is_empty() {
            return Ok(Decrypted::Bytes(filled)); // what came before a failure is good, and is handed out first
        }
        Ok(if self.is_ended() {
            Decrypted::Ended
        } else {
            Decrypted::Nothing
        })
    }

    fn is_ended(&mut self) -> bool {
        match &mut self.stage {
            Stage::Library(library) => library.is_ended(),
            Stage::Records(records) => records.is_ended,
        }
    }

    /// Append records that carry `plain` to the output.
    ///
    /// # Errors
    ///
    /// `Protocol`: the handshake is not done, or the session has failed or was closed.
    pub fn encrypt(&mut self, plain: &[u8]) -> Result<(), TlsError> {
        self.check_done()?;
        let result = match &mut self.stage {
            Stage::Library(library) => library.encrypt(plain),
            Stage::Records(records) => records.encrypt(plain).map_err(|fault| tell(records, fault)),
        };
        result.map_err(|error| self.fail(error))
    }

    /// Say goodbye: nothing is sent after what was encrypted. Receiving goes on.
    pub fn close(&mut self) {
        if self.failure.is_none() {
            match &mut self.stage {
                Stage::Library(library) => library.close(),
                Stage::Records(records) => records.close(),
            }
        }
    }

    /// Ciphertext that is to be sent.
    pub fn output(&mut self) -> &mut Output {
        match &mut self.stage {
            Stage::Library(library) => library.output(),
            Stage::Records(records) => &mut records.output,
        }
    }

    /// Whether ALPN showed that the peer is of this implementation. False until the handshake is done.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// The peer's verified certificate (DER), once. None until the handshake is done.
    #[must_use]
    pub fn take_peer_certificate(&mut self) -> Option<Vec<u8>> {
        self.peer.take()
    }

    fn check_done(&self) -> Result<(), TlsError> {
        self.check()?;
        if self.is_done {
            return Ok(());
        }
        Err(TlsError::Protocol("the TLS handshake is not done".to_owned()))
    }

    fn check(&self) -> Result<(), TlsError> {
        self.failure.as_deref().cloned().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: TlsError) -> TlsError {
        self.failure = Some(Box::new(error.clone()));
        error
    }
}

/// Put the alert of `fault` into the output.
fn tell(records: &mut Records, fault: Fault) -> TlsError {
    if let Some(alert) = fault.alert {
        records.alert(alert);
    }
    TlsError::Protocol(fault.text)
}
