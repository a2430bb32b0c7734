//! Listening ports and UDP sockets as Python holds them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pyo3::prelude::*;

use super::values::TlsContext;
use crate::core::Core;
use crate::datagrams::Socket;
use crate::listen;

#[pyclass(frozen, module = "ztm_native")]
pub struct Listener {
    pub listener: Arc<listen::Listener>,
    pub core: Arc<Core>,
}

#[pymethods]
impl Listener {
    #[getter]
    fn token(&self) -> u64 {
        self.listener.token
    }

    fn renew(&self, context: &TlsContext) {
        self.listener.renew(context.context.clone());
    }

    fn close(&self, py: Python<'_>) {
        let closed = self.listener.close();
        // A moment, as no thread of the core ever waits for anybody.
        py.detach(|| self.core.handle().block_on(closed));
    }
}

#[pyclass(frozen, module = "ztm_native")]
pub struct Datagrams {
    pub socket: Arc<Socket>,
    core: Arc<Core>,
}

impl Datagrams {
    pub fn start(core: &Arc<Core>, socket: std::net::UdpSocket, connected: bool) -> PyResult<Self> {
        let socket = Socket::open(&core.events, core.handle(), socket, connected)?;
        Ok(Self {
            socket,
            core: core.clone(),
        })
    }
}

#[pymethods]
impl Datagrams {
    #[getter]
    fn token(&self) -> u64 {
        self.socket.token
    }

    #[getter]
    fn address(&self) -> (String, u16) {
        (self.socket.local.ip().to_string(), self.socket.local.port())
    }

    #[pyo3(signature = (data, host = None, port = 0))]
    fn send(&self, data: &[u8], host: Option<&str>, port: u16) {
        match host.map(str::parse::<IpAddr>) {
            None => self.socket.send(data, None),
            Some(Ok(address)) => self.socket.send(data, Some(SocketAddr::new(address, port))),
            Some(Err(_)) => {} // it leads nowhere, and UDP promises nothing
        }
    }

    fn close(&self, py: Python<'_>) {
        let closed = self.socket.close();
        // A moment, as no thread of the core ever waits for anybody.
        py.detach(|| self.core.handle().block_on(closed));
    }
}
