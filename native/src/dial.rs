//! Connections that this side opens.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

use crate::conn::Conn;
use crate::drive::{drive, shake};
use crate::events::{Events, Happening};
use crate::flow::Port;
use crate::tls::{Context, TlsError};
use crate::turn::Turn;
use crate::wire::why;

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

fn adopt(socket: std::net::TcpStream) -> std::io::Result<Arc<TcpStream>> {
    socket.set_nonblocking(true)?;
    Ok(Arc::new(TcpStream::from_std(socket)?))
}

async fn connect(address: SocketAddr) -> std::io::Result<(Arc<TcpStream>, Option<std::io::Error>)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => connected(adopt(socket.into())?).await,
    }
}

/// Wait until a connection stands. One that was cut since, which the system tells once, stood all the same.
async fn connected(sock: Arc<TcpStream>) -> std::io::Result<(Arc<TcpStream>, Option<std::io::Error>)> {
    sock.writable().await?;
    match sock.take_error()? {
        Some(error) if !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Err(error),
        cut => Ok((sock, cut)),
    }
}

fn is_under_way(error: &std::io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == ErrorKind::WouldBlock
}

async fn open(events: &Arc<Events>, to: To, context: Option<Context>) -> Result<(Arc<Conn>, Arc<TcpStream>), Failure> {
    let opened = match to {
        To::Address(address) => connect(address).await,
        To::Socket(socket) => adopt(socket).map(|sock| (sock, None)),
    };
    let (sock, cut) = opened.map_err(|error| Failure::system(&error))?;
    let tls = context
        .map(|context| context.start())
        .transpose()
        .map_err(Failure::tls)?;
    let conn = Conn::new(events, &sock, tls);
    if let Some(error) = cut {
        conn.lost(&mut Turn::new(), &why(&error));
    }
    shake(&conn, &sock).await.map_err(Failure::tls)?;
    Ok((conn, sock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

    fn run<T>(work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work)
    }

    #[test]
    fn who_is_cut_as_soon_as_he_is_connected_was_connected() -> std::io::Result<()> {
        run(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
            let near = std::net::TcpStream::connect(listener.local_addr()?)?;
            let (peer, _) = listener.accept().await?;
            SockRef::from(&peer).set_linger(Some(Duration::ZERO))?;
            drop(peer);
            let (_, cut) = connected(adopt(near)?).await?;
            assert_eq!(cut.map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
            Ok(())
        })
    }

    #[test]
    fn who_is_refused_is_not_connected() -> std::io::Result<()> {
        run(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
            let address = listener.local_addr()?;
            drop(listener);
            let refused = connect(address).await.err();
            assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
            Ok(())
        })
    }
}
