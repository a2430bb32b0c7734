//! Alerts: how a session tells its peer why it ends, and how the peer tells us.
//!
//! Source: RFC 8446 6.

use openssl::error::ErrorStack;

/// The code of an alert on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert(pub u8);

impl Alert {
    pub const CLOSE_NOTIFY: Self = Self(0);
    const UNEXPECTED_MESSAGE: Self = Self(10);
    const BAD_RECORD_MAC: Self = Self(20);
    const RECORD_OVERFLOW: Self = Self(22);
    const DECODE_ERROR: Self = Self(50);
    const INTERNAL_ERROR: Self = Self(80);
    const USER_CANCELED: Self = Self(90);

    /// Read what the peer says: true if it is goodbye, false if it is nothing.
    pub fn read(content: &[u8]) -> Result<bool, Fault> {
        let [_, code] = content else {
            return Err(Fault::told(Self::DECODE_ERROR, "an alert is malformed"));
        };
        match Self(*code) {
            Self::CLOSE_NOTIFY => Ok(true),
            Self::USER_CANCELED => Ok(false),
            alert => Err(Fault {
                alert: None,
                text: format!("the peer refuses the session: {}", alert.meaning()),
            }),
        }
    }

    fn meaning(self) -> String {
        let known = match self.0 {
            10 => "unexpected message",
            20 => "bad record",
            40 => "handshake failure",
            42 => "bad certificate",
            43 => "unsupported certificate",
            44 => "certificate revoked",
            45 => "certificate expired",
            46 => "certificate unknown",
            48 => "unknown CA",
            49 => "access denied",
            51 => "decrypt error",
            80 => "internal error",
            116 => "certificate required",
            other => return format!("TLS alert {other}"),
        };
        format!("{known} (TLS alert {})", self.0)
    }
}

/// Why a session cannot go on, and what its peer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub alert: Option<Alert>,
    pub text: String,
}

impl Fault {
    /// A record did not open with the keys of the session.
    pub fn forged() -> Self {
        Self::told(Alert::BAD_RECORD_MAC, "a record is forged or damaged")
    }

    pub fn unexpected() -> Self {
        Self::told(
            Alert::UNEXPECTED_MESSAGE,
            "the peer sent what has no place after a handshake",
        )
    }

    pub fn overflow() -> Self {
        Self::told(Alert::RECORD_OVERFLOW, "a record is too large")
    }

    pub fn silent(text: &str) -> Self {
        Self {
            alert: None,
            text: text.to_owned(),
        }
    }

    fn told(alert: Alert, text: &str) -> Self {
        Self {
            alert: Some(alert),
            text: text.to_owned(),
        }
    }
}

impl From<ErrorStack> for Fault {
    fn from(_: ErrorStack) -> Self {
        Self::told(Alert::INTERNAL_ERROR, "the TLS library has failed")
    }
}
