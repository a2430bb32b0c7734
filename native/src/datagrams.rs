//! UDP sockets. What cannot be sent or held is dropped, as a full network queue would.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::events::Events;
use crate::lock;
use crate::turn::Turn;
use crate::udp::routes::Routes;

/// The largest datagram (RFC 768: a length of 16 bits).
const LARGEST: usize = 65535;
/// Datagrams that are read in one turn, and leave together.
const BATCH: usize = 64;

pub struct Socket {
    pub token: u64,
    pub local: SocketAddr,
    /// Whom it is connected to.
    pub peer: Option<SocketAddr>,
    pub routes: Arc<Routes>,
    socket: Mutex<Option<Arc<UdpSocket>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Socket {
    /// Receive on `socket` until closed.
    ///
    /// # Errors
    /// It is no UDP socket.
    pub fn open(
        events: &Arc<Events>,
        runtime: &tokio::runtime::Handle,
        socket: std::net::UdpSocket,
        connected: bool,
    ) -> std::io::Result<Arc<Self>> {
        let _entered = runtime.enter();
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let token = events.token();
        let peer = if connected { socket.peer_addr().ok() } else { None };
        let routes = Arc::new(Routes::new(token, events));
        let task = runtime.spawn(receive(socket.clone(), routes.clone(), peer));
        let (socket, task) = (Mutex::new(Some(socket)), Mutex::new(Some(task)));
        Ok(Arc::new(Self {
            token,
            local,
            peer,
            routes,
            socket,
            task,
        }))
    }

    /// Send to `to`, or to the address that the socket is connected to.
    pub fn send(&self, data: &[u8], to: Option<SocketAddr>) {
        let Some(socket) = lock(&self.socket).clone() else {
            return;
        };
        // Past tokio, which takes a socket for full until it has first heard of it. It may be lost, as UDP is.
        let socket = SockRef::from(&*socket);
        let _ = match to {
            Some(address) => socket.send_to(data, &address.into()),
            None => socket.send(data),
        };
    }

    /// Receive no more. What it returns ends once the address is free.
    pub fn close(&self) -> impl Future<Output = ()> + use<> {
        drop(lock(&self.socket).take());
        let task = lock(&self.task).take();
        if let Some(task) = &task {
            task.abort();
        }
        async move {
            if let Some(task) = task {
                let _ = task.await; // it was aborted
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        drop(self.close()); // nobody waits for it
    }
}

async fn receive(socket: Arc<UdpSocket>, routes: Arc<Routes>, peer: Option<SocketAddr>) {
    let mut room = vec![0; LARGEST];
    while socket.readable().await.is_ok() {
        drain(&socket, &routes, peer, &mut room);
        tokio::task::yield_now().await;
    }
}

/// Hand on what has come, up to a batch.
fn drain(socket: &UdpSocket, routes: &Routes, peer: Option<SocketAddr>, room: &mut [u8]) {
    let mut turn = Turn::new();
    for _ in 0..BATCH {
        let received = match peer {
            Some(peer) => socket.try_recv(room).map(|size| (size, peer)),
            None => socket.try_recv_from(room),
        };
        match received {
            Ok((size, from)) => routes.received(&mut turn, &room[..size], from),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => {} // an ICMP error came back; UDP promises nothing, so it is not one for us either
        }
    }
    turn.finish();
}
