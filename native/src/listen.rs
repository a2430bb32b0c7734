//! Connections that others open. Too many handshakes at once, or one too slow, are cut.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::conn::Conn;
use crate::drive::{drive, read_first, shake};
use crate::events::{Events, Happening};
use crate::lock;
use crate::tls::Context;

/// To wait when the process is out of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

pub struct Listener {
    pub token: u64,
    events: Arc<Events>,
    context: Mutex<Option<Context>>,
    /// Handshakes that may begin now.
    room: AtomicUsize,
    limit: Duration,
    /// What accepts, and its socket for those who came before the end.
    loops: Mutex<Vec<(JoinHandle<()>, std::net::TcpListener)>>,
}

impl Listener {
    pub fn new(events: &Arc<Events>, context: Option<Context>, handshakes: usize, limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            token: events.token(),
            events: events.clone(),
            context: Mutex::new(context),
            room: AtomicUsize::new(handshakes),
            limit,
            loops: Mutex::default(),
        })
    }

    /// Accept on `socket`, until closed.
    ///
    /// # Errors
    /// It does not listen, or there is no descriptor left.
    pub fn begin(
        self: &Arc<Self>,
        runtime: &tokio::runtime::Handle,
        socket: std::net::TcpListener,
    ) -> std::io::Result<()> {
        let _entered = runtime.enter();
        socket.set_nonblocking(true)?;
        let rest = socket.try_clone()?;
        let task = runtime.spawn(self.clone().accept_all(TcpListener::from_std(socket)?));
        lock(&self.loops).push((task, rest));
        Ok(())
    }

    /// Show another certificate from the next handshake on.
    pub fn renew(&self, context: Context) {
        *lock(&self.context) = Some(context);
    }

    /// Accept no more than those who are connected already. What it returns ends once the sockets are closed, and
    /// their addresses are free.
    pub fn close(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let (me, loops) = (self.clone(), std::mem::take(&mut *lock(&self.loops)));
        for (task, _) in &loops {
            task.abort();
        }
        async move {
            for (task, rest) in loops {
                let _ = task.await; // it was aborted
                while let Ok((sock, _)) = rest.accept() {
                    if sock.set_nonblocking(true).is_ok()
                        && let Ok(sock) = TcpStream::from_std(sock)
                    {
                        me.accepted(sock);
                    }
                }
            }
        }
    }

    async fn accept_all(self: Arc<Self>, socket: TcpListener) {
        let mut is_told = false;
        loop {
            match socket.accept().await {
                Ok((sock, _)) => {
                    is_told = false;
                    self.accepted(sock);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        self.events.push(self.token, Happening::Unaccepted(error));
                    }
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn accepted(self: &Arc<Self>, sock: TcpStream) {
        let sock = Arc::new(sock);
        let context = lock(&self.context).clone();
        let Some(context) = context else {
            let conn = Conn::new(&self.events, &sock, None);
            read_first(&conn, &sock);
            self.events.push(self.token, Happening::Accepted(conn.clone()));
            tokio::spawn(drive(conn, sock));
            return;
        };
        let taken = self
            .room
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |room| room.checked_sub(1));
        if taken.is_ok() {
            tokio::spawn(self.clone().secure(sock, context));
        }
    }

    async fn secure(self: Arc<Self>, sock: Arc<TcpStream>, context: Context) {
        let shaken = match context.start() {
            Ok(tls) => {
                let conn = Conn::new(&self.events, &sock, Some(tls));
                let done = tokio::time::timeout(self.limit, shake(&conn, &sock)).await;
                matches!(done, Ok(Ok(()))).then_some(conn)
            }
            Err(_) => None,
        };
        self.room.fetch_add(1, Ordering::AcqRel);
        if let Some(conn) = shaken {
            self.events.push(self.token, Happening::Accepted(conn.clone()));
            drop(self);
            drive(conn, sock).await;
        }
    }
}
