//! Connections that this side opens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::conn::Conn;
use crate::drive::{drive, shake};
use crate::events::{Events, Happening};
use crate::flow::Port;
use crate::tls::{Context, TlsError};

/// Why a dial failed: as the network seam names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Deadline,
    Certificate,
    Unreachable,
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub kind: Kind,
    /// The system's error number, or 0.
    pub number: i32,
    pub text: String,
}

impl Failure {
    fn system(error: &std::io::Error) -> Self {
        Self {
            kind: Kind::Unreachable,
            number: error.raw_os_error().unwrap_or(0),
            text: error.to_string(),
        }
    }

    fn tls(error: TlsError) -> Self {
        let kind = if matches!(error, TlsError::Certificate(_)) {
            Kind::Certificate
        } else {
            Kind::Unreachable
        };
        Self {
            kind,
            number: 0,
            text: error.to_string(),
        }
    }
}

/// Where a connection comes from.
pub enum To {
    Address(SocketAddr),
    /// It stands already.
    Socket(std::net::TcpStream),
}

/// Connect, with TLS if there is a context, and drive the connection to its end. `token` names it in the event.
pub async fn dial(events: Arc<Events>, token: u64, to: To, context: Option<Context>, limit: Duration) {
    let made = tokio::time::timeout(limit, open(&events, to, context)).await;
    let late = || Failure {
        kind: Kind::Deadline,
        number: 0,
        text: "no answer in time".into(),
    };
    match made.unwrap_or_else(|_| Err(late())) {
        Ok((conn, sock)) => {
            let port: Arc<dyn Port> = conn.clone();
            events.push(token, Happening::Dialled(Ok(port)));
            drive(conn, sock).await;
        }
        Err(failure) => events.push(token, Happening::Dialled(Err(failure))),
    }
}

async fn open(events: &Arc<Events>, to: To, context: Option<Context>) -> Result<(Arc<Conn>, Arc<TcpStream>), Failure> {
    let opened = match to {
        To::Address(address) => TcpStream::connect(address).await,
        To::Socket(socket) => socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket)),
    };
    let sock = Arc::new(opened.map_err(|error| Failure::system(&error))?);
    let tls = context
        .map(|context| context.start())
        .transpose()
        .map_err(Failure::tls)?;
    let conn = Conn::new(events, &sock, tls);
    shake(&conn, &sock).await.map_err(Failure::tls)?;
    Ok((conn, sock))
}
