//! The data plane as Python holds it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::listener::{Datagrams, Listener};
use super::relay::Relay;
use super::session::Session;
use super::stream::Stream;
use super::values::{Counter, Failure, TlsContext};
use crate::core;
use crate::dial::{self, To};
use crate::events::{Event, Happening};
use crate::http2::session::{Options, Session as NativeSession};
use crate::http2::state::Limits;
use crate::udp::relay;
use crate::{flow, listen};

pub const ACCEPTED: u8 = 1;
pub const DIALLED: u8 = 2;
pub const REQUEST: u8 = 3;
pub const CLOSED: u8 = 4;
pub const READY: u8 = 5;
pub const DATAGRAM: u8 = 6;
pub const UNACCEPTED: u8 = 7;

#[pyclass(frozen, module = "ztm_native")]
pub struct Core {
    pub core: Arc<core::Core>,
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (threads = 0))]
    fn new(threads: usize) -> PyResult<Self> {
        Ok(Self {
            core: Arc::new(core::Core::start(threads)?),
        })
    }

    fn fileno(&self) -> i32 {
        self.core.events.descriptor()
    }

    fn events<'py>(&self, py: Python<'py>) -> PyResult<Vec<(u64, u8, Bound<'py, PyAny>)>> {
        self.core
            .events
            .take()
            .into_iter()
            .map(|event| self.tell(py, event))
            .collect()
    }

    fn flush(&self, py: Python<'_>) {
        py.detach(|| self.core.flush());
    }

    fn dial(&self, host: &str, port: u16, context: Option<&TlsContext>, timeout: f64) -> PyResult<u64> {
        let host = host.split('%').next().unwrap_or(host); // a zone is not kept
        let address: IpAddr = host
            .parse()
            .map_err(|_| PyValueError::new_err(format!("not an IP address: {host}")))?;
        self.begin(To::Address(SocketAddr::new(address, port)), context, timeout)
    }

    fn adopt(&self, fd: i32, context: Option<&TlsContext>, timeout: f64) -> PyResult<u64> {
        let socket = crate::descriptor::own(fd)?;
        self.begin(To::Socket(socket.into()), context, timeout)
    }

    fn listen(
        &self,
        fds: Vec<i32>,
        context: Option<&TlsContext>,
        handshakes: usize,
        handshake_seconds: f64,
    ) -> PyResult<Listener> {
        let context = context.map(|made| made.context.clone());
        let limit = seconds(handshake_seconds)?;
        let listener = listen::Listener::new(&self.core.events, context, handshakes, limit);
        for fd in fds {
            listener.begin(self.core.handle(), crate::descriptor::own(fd)?.into())?;
        }
        Ok(Listener {
            listener,
            core: self.core.clone(),
        })
    }

    #[allow(clippy::too_many_arguments)] // as Python has it, by name
    #[pyo3(signature = (stream, *, server, answers, own, streams, held, header_bytes, resets, controls))]
    fn session(
        &self,
        stream: &Stream,
        server: bool,
        answers: bool,
        own: bool,
        streams: usize,
        held: usize,
        header_bytes: usize,
        resets: f64,
        controls: f64,
    ) -> Session {
        let limits = Limits {
            streams,
            held,
            header_bytes,
            resets,
            controls,
        };
        let options = Options {
            is_server: server,
            answers,
            own,
            limits,
        };
        let below = stream.port.clone();
        let session = self
            .core
            .order(|turn| NativeSession::start(turn, &self.core.events, below, options));
        self.core.keep(&session);
        Session {
            session,
            core: self.core.clone(),
        }
    }

    fn pipe(&self, source: &Stream, sink: &Stream, counter: Option<&Counter>) {
        self.core
            .order(|turn| flow::pipe(turn, &source.port, &sink.port, counter.map(|made| made.count.clone())));
    }

    fn datagrams(&self, fd: i32, connected: bool) -> PyResult<Datagrams> {
        let socket: std::net::UdpSocket = crate::descriptor::own(fd)?.into();
        Datagrams::start(&self.core, socket, connected)
    }

    #[allow(clippy::too_many_arguments)] // as Python has it, by name
    #[pyo3(signature = (socket, host, port, stream, taken, given, *, early, idle, linger, datagrams, bytes))]
    fn relay(
        &self,
        socket: &Datagrams,
        host: Option<&str>,
        port: u16,
        stream: &Stream,
        taken: &Counter,
        given: &Counter,
        early: Vec<Vec<u8>>,
        idle: f64,
        linger: f64,
        datagrams: usize,
        bytes: usize,
    ) -> PyResult<Relay> {
        let limits = relay::Limits {
            idle: seconds(idle)?,
            linger: seconds(linger)?,
            datagrams,
            bytes,
        };
        let (from, to) = super::relay::ends(socket, host, port)?;
        let parts = relay::Parts {
            socket: socket.socket.clone(),
            from,
            to,
            port: stream.port.clone(),
            taken: taken.count.clone(),
            given: given.count.clone(),
        };
        let runtime = self.core.handle();
        let relay = self
            .core
            .order(|turn| relay::Relay::start(turn, runtime, parts, limits, &early));
        Ok(Relay { relay })
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.core.close());
    }
}

impl Core {
    fn begin(&self, to: To, context: Option<&TlsContext>, timeout: f64) -> PyResult<u64> {
        let token = self.core.events.token();
        let context = context.map(|made| made.context.clone());
        let work = dial::dial(self.core.events.clone(), token, to, context, seconds(timeout)?);
        self.core.handle().spawn(work);
        Ok(token)
    }

    fn stream(&self, port: Arc<dyn flow::Port>) -> Stream {
        Stream::new(port, self.core.clone())
    }

    fn tell<'py>(&self, py: Python<'py>, event: Event) -> PyResult<(u64, u8, Bound<'py, PyAny>)> {
        let (kind, detail) = match event.what {
            Happening::Accepted(port) => (ACCEPTED, self.stream(port).into_bound_py_any(py)?),
            Happening::Request(port) => (REQUEST, self.stream(port).into_bound_py_any(py)?),
            Happening::Dialled(Ok(port)) => (DIALLED, self.stream(port).into_bound_py_any(py)?),
            Happening::Dialled(Err(failure)) => (DIALLED, Failure { failure }.into_bound_py_any(py)?),
            Happening::Unaccepted(error) => (UNACCEPTED, error.to_string().into_bound_py_any(py)?),
            Happening::Closed(reason) => (CLOSED, reason.as_ref().into_bound_py_any(py)?),
            Happening::Ready(bits) => (READY, bits.into_bound_py_any(py)?),
            Happening::Datagram(data, from) => {
                let data = pyo3::types::PyBytes::new(py, &data);
                (
                    DATAGRAM,
                    (data, from.ip().to_string(), from.port()).into_bound_py_any(py)?,
                )
            }
        };
        Ok((event.token, kind, detail))
    }
}

fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|error| PyValueError::new_err(error.to_string()))
}
