//! A UDP session as Python holds it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::listener::Datagrams;
use crate::udp::relay;

#[pyclass(frozen, module = "ztm_native")]
pub struct Relay {
    pub relay: Arc<relay::Relay>,
}

#[pymethods]
impl Relay {
    #[getter]
    fn token(&self) -> u64 {
        self.relay.token
    }

    #[getter]
    fn is_over(&self) -> bool {
        self.relay.is_over()
    }

    #[getter]
    fn silence(&self) -> f64 {
        self.relay.silence().as_secs_f64()
    }

    #[getter]
    fn cut_for(&self) -> Option<String> {
        self.relay.cut_for().map(|reason| reason.to_string())
    }

    fn stop(&self) {
        self.relay.stop();
    }
}

/// Whose datagrams a session takes, and where it sends those that it has.
pub fn ends(socket: &Datagrams, host: Option<&str>, port: u16) -> PyResult<(SocketAddr, Option<SocketAddr>)> {
    if let Some(host) = host {
        let ip: IpAddr = host
            .parse()
            .map_err(|_| PyValueError::new_err(format!("not an IP address: {host}")))?;
        let address = SocketAddr::new(ip, port);
        return Ok((address, Some(address)));
    }
    let peer = socket.socket.peer;
    peer.map(|peer| (peer, None))
        .ok_or_else(|| PyValueError::new_err("this socket is not connected to anybody"))
}
