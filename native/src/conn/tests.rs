use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};

use super::Conn;
use crate::events::Events;
use crate::flow::Port;
use crate::turn::{Flush, Turn};

/// A connection whose peer has reset it.
async fn reset() -> std::io::Result<(Arc<Conn>, Arc<TcpStream>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let sock = Arc::new(TcpStream::connect(listener.local_addr()?).await?);
    let (peer, _) = listener.accept().await?;
    SockRef::from(&peer).set_linger(Some(Duration::ZERO))?;
    drop(peer);
    sock.ready(Interest::READABLE).await?;
    Ok((Conn::new(&Events::new()?, &sock, None), sock))
}

/// The system tells of a reset once, to whoever asks first; who asks next is told of an end.
fn the_writer_hears_of_it(size: usize, is_flushed: bool) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (conn, sock) = reset().await?;
        let mut turn = Turn::new();
        conn.send(&mut turn, &vec![0; size]);
        if is_flushed {
            let _ = crate::lock(&conn.wire).flush(); // by another thread, which has not told of it yet
        }
        assert_eq!(sock.try_read(&mut [0]).ok(), Some(0));
        conn.finished(&mut turn);
        turn.finish();
        assert!(!conn.inlet().is_ended());
        assert!(conn.inlet().broken_by().is_some_and(|why| why.contains("reset")));
        conn.flush(&mut turn); // late, as what was broken already
        assert!(conn.is_over());
        Ok(())
    })
}

#[test]
fn a_reset_that_a_flush_was_told_of_is_no_end_to_the_reader() -> std::io::Result<()> {
    the_writer_hears_of_it(1, true)
}

#[test]
fn a_reset_that_a_large_write_was_told_of_is_no_end_to_the_reader() -> std::io::Result<()> {
    the_writer_hears_of_it(1 << 20, false)
}
