//! The task of one connection: it reads, hands on, and writes what the kernel would not take at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::conn::{Conn, Wake};
use crate::lock;
use crate::tls::{Decrypted, Input, TlsError};
use crate::turn::{Flush, Turn};
use crate::wire::why;

/// Bytes of one read.
const READ: usize = 256 << 10;
/// Between two looks at whether a socket that is not read was reset by its peer.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// For how long a peer may talk on after the end of a TLS connection.
const STAY: Duration = Duration::from_secs(5);

/// What a thread reads with; none of it outlives a turn.
struct Buffers {
    input: Input,
    plain: Vec<u8>,
}

thread_local! {
    static BUFFERS: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

fn with_buffers<T>(work: impl FnOnce(&mut Buffers) -> T) -> T {
    let made = || {
        Box::new(Buffers {
            input: Input::with_room(READ),
            plain: vec![0; READ],
        })
    };
    let mut buffers = BUFFERS.take().unwrap_or_else(made);
    let result = work(&mut buffers);
    buffers.input.clear();
    BUFFERS.set(Some(buffers));
    result
}

/// One read: the bytes, 0 at the end of file, or None when there is nothing now.
///
/// A read that does not fill the buffer has emptied the socket, which spares asking it once more.
fn receive(sock: &TcpStream, into: &mut [u8]) -> std::io::Result<Option<usize>> {
    let mut got = None;
    let tried = sock.try_io(Interest::READABLE, || {
        let size = (&*SockRef::from(sock)).read(into)?;
        got = Some(size);
        if size > 0 && size < into.len() {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });
    match tried {
        Err(error) if got.is_none() && error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(got),
    }
}

/// Do the TLS handshake, if there is to be one.
///
/// # Errors
/// It failed; the peer was told why where TLS has a word for it.
pub async fn shake(conn: &Arc<Conn>, sock: &TcpStream) -> Result<(), TlsError> {
    if !conn.is_tls() {
        return Ok(());
    }
    loop {
        let mut turn = Turn::new();
        let step = with_buffers(|buffers| {
            // Nothing to read is no error: a client speaks first.
            match receive(sock, buffers.input.space()) {
                Ok(Some(0)) => return Err(TlsError::Protocol("the peer left within the TLS handshake".into())),
                Ok(size) => buffers.input.came(size.unwrap_or(0)),
                Err(error) => return Err(TlsError::Protocol(why(&error))),
            }
            let done = lock(&conn.wire).shake(&mut buffers.input);
            if let Ok(true) = done {
                conn.shaken();
                decrypt(conn, &mut turn, buffers);
            }
            done
        });
        conn.flush(&mut turn);
        turn.finish();
        if step? {
            return Ok(());
        }
        let ready = sock.ready(conn.interest()).await;
        ready.map_err(|error| TlsError::Protocol(why(&error)))?;
    }
}

/// Take what a client has sent by now, so that whoever is told of the connection finds it there; all else is for [`drive`].
pub fn read_first(conn: &Conn, sock: &TcpStream) {
    let mut turn = Turn::new();
    with_buffers(|buffers| {
        // The runtime does not know yet whether a new socket is readable; it will say so all the same.
        if let Ok(size @ 1..) = (&*SockRef::from(sock)).read(&mut buffers.plain) {
            conn.arrived(&mut turn, &buffers.plain[..size]);
        }
    });
    turn.finish();
}

/// Drive a connection to its end.
pub async fn drive(conn: Arc<Conn>, sock: Arc<TcpStream>) {
    let mut turn = Turn::of_driver();
    let mut leaving = None;
    loop {
        let ready = poll_fn(|task| conn.poll(&sock, task));
        let wake = if conn.is_waiting() {
            if conn.is_shut() && leaving.get_or_insert_with(Instant::now).elapsed() > STAY {
                conn.lost(&mut turn, "the connection was closed");
                turn.finish();
            }
            match tokio::time::timeout(LOOK_EVERY, ready).await {
                Ok(wake) => wake,
                Err(_) => {
                    look(&conn, &sock, &mut turn);
                    continue;
                }
            }
        } else {
            ready.await
        };
        match wake {
            Wake::Gone => return,
            Wake::Writable => conn.flush(&mut turn),
            Wake::Due => {
                tokio::task::yield_now().await; // the worker goes through all that is ready, and looks for more
                conn.catch_up();
            }
            Wake::Readable => with_buffers(|buffers| read(&conn, &sock, &mut turn, buffers)),
        }
        turn.finish();
        conn.pause_if_full();
    }
}

/// A socket that is not read tells of a reset only when it is asked.
fn look(conn: &Conn, sock: &TcpStream, turn: &mut Turn) {
    if let Ok(Some(error)) = sock.take_error() {
        conn.lost(turn, &why(&error));
    } else if conn.is_shut() {
        conn.lost(turn, "the connection was closed"); // the peer had its time to say goodbye
    }
    turn.finish();
}

fn read(conn: &Conn, sock: &TcpStream, turn: &mut Turn, buffers: &mut Buffers) {
    let into = if conn.is_tls() {
        buffers.input.space()
    } else {
        &mut buffers.plain[..]
    };
    match receive(sock, into) {
        Ok(None) => {}
        Ok(Some(0)) => conn.finished(turn),
        Ok(Some(size)) if conn.is_tls() => {
            buffers.input.came(size);
            decrypt(conn, turn, buffers);
        }
        Ok(Some(size)) => conn.arrived(turn, &buffers.plain[..size]),
        Err(error) => conn.lost(turn, &why(&error)),
    }
}

fn decrypt(conn: &Conn, turn: &mut Turn, buffers: &mut Buffers) {
    loop {
        let found = lock(&conn.wire).decrypt(&mut buffers.input, &mut buffers.plain);
        match found {
            Ok(Decrypted::Bytes(size)) => conn.arrived(turn, &buffers.plain[..size]),
            Ok(Decrypted::Nothing) => return,
            Ok(Decrypted::Ended) => return conn.finished(turn),
            Err(error) => {
                conn.flush(turn); // the alert tells the peer why
                return conn.lost(turn, &format!("TLS failed: {error}"));
            }
        }
    }
}
