//! UDP sockets. What cannot be sent or held is dropped, as a full network queue would.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::events::{Events, Happening};
use crate::lock;

/// The largest datagram (RFC 768: a length of 16 bits).
const LARGEST: usize = 65535;
/// Datagrams that may wait for the thread that decides; what comes beyond is dropped.
const WAITING: usize = 4096;

pub struct Socket {
    pub token: u64,
    pub local: SocketAddr,
    socket: Mutex<Option<Arc<UdpSocket>>>,
    task: Mutex<Option<AbortHandle>>,
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
        let task = runtime.spawn(receive(socket.clone(), token, events.clone(), peer));
        let (socket, task) = (Mutex::new(Some(socket)), Mutex::new(Some(task.abort_handle())));
        Ok(Arc::new(Self { token, local, socket, task }))
    }

    /// Send to `to`, or to the address that the socket is connected to.
    pub fn send(&self, data: &[u8], to: Option<SocketAddr>) {
        let Some(socket) = lock(&self.socket).clone() else { return };
        // It may be lost, as UDP is.
        let _ = match to {
            Some(address) => socket.try_send_to(data, address),
            None => socket.try_send(data),
        };
    }

    pub fn close(&self) {
        drop(lock(&self.socket).take());
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close();
    }
}

async fn receive(socket: Arc<UdpSocket>, token: u64, events: Arc<Events>, peer: Option<SocketAddr>) {
    let mut room = vec![0; LARGEST];
    loop {
        let received = match peer {
            Some(peer) => socket.recv(&mut room).await.map(|size| (size, peer)),
            None => socket.recv_from(&mut room).await,
        };
        match received {
            Ok((size, from)) if events.waiting() < WAITING => {
                events.push(token, Happening::Datagram(room[..size].to_vec(), from));
            }
            Ok(_) => {}
            // An ICMP error came back; UDP promises nothing, so it is not one for us either.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
