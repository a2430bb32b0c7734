//! A stream as Python holds it.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::core::Core;
use crate::flow::{self, Port};

#[pyclass(frozen, module = "ztm_native")]
pub struct Stream {
    pub port: Arc<dyn Port>,
    core: Arc<Core>,
}

impl Stream {
    pub fn new(port: Arc<dyn Port>, core: Arc<Core>) -> Self {
        Self { port, core }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let port = &self.port;
        if !port.is_ended() && !port.has_feeder() && !port.inlet().has_sink() {
            self.core
                .order(|turn| port.abort(turn, &"nobody holds it any more".into()));
            self.core.handle().spawn(flush(self.core.clone()));
        }
    }
}

async fn flush(core: Arc<Core>) {
    core.flush();
}

#[pymethods]
impl Stream {
    #[getter]
    fn token(&self) -> u64 {
        self.port.watch().token
    }

    #[getter]
    fn is_exchange(&self) -> bool {
        self.port.exchange().is_some()
    }

    #[getter]
    fn is_own(&self) -> bool {
        self.port.is_own()
    }

    #[getter]
    fn is_over(&self) -> bool {
        self.port.is_over()
    }

    #[getter]
    fn is_finished(&self) -> bool {
        self.port.inlet().is_ended()
    }

    #[getter]
    fn is_leaving(&self) -> bool {
        self.port.is_leaving()
    }

    #[getter]
    fn broken_by(&self) -> Option<String> {
        self.port.inlet().broken_by().map(|reason| reason.to_string())
    }

    fn take_certificate<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.port.take_certificate().map(|der| PyBytes::new(py, &der))
    }

    #[getter]
    fn remote(&self) -> Option<(String, u16)> {
        self.port
            .remote()
            .map(|address| (address.ip().to_string(), address.port()))
    }

    #[getter]
    fn local(&self) -> Option<(String, u16)> {
        self.port
            .local()
            .map(|address| (address.ip().to_string(), address.port()))
    }

    fn watch(&self, bits: u8) -> u8 {
        let watch = self.port.watch();
        watch.arm(bits);
        let found = flow::facts(&*self.port, bits);
        if found != 0 {
            watch.disarm(bits);
        }
        found
    }

    fn take<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let (data, credit) = self.port.inlet().take()?;
        if credit > 0 {
            self.core.order(|turn| self.port.credit(turn, credit));
        }
        Some(PyBytes::new(py, &data))
    }

    fn unread(&self, data: &[u8]) {
        self.port.inlet().unread(data);
    }

    fn send(&self, data: &[u8]) -> bool {
        self.core.order(|turn| self.port.send(turn, data))
    }

    fn end(&self) {
        self.core.order(|turn| self.port.end(turn));
    }

    fn abort(&self, reason: &str) {
        self.core.order(|turn| self.port.abort(turn, &reason.into()));
    }

    fn request(&self) -> Vec<(String, String)> {
        self.port
            .exchange()
            .map(|exchange| texts(exchange.request()))
            .unwrap_or_default()
    }

    fn respond(&self, fields: Vec<(String, String)>) {
        if let Some(exchange) = self.port.exchange() {
            let fields = super::stream::fields(fields);
            self.core.order(|turn| exchange.respond(turn, &fields));
        }
    }

    fn response(&self) -> Option<Vec<(String, String)>> {
        self.port.exchange()?.response().map(texts)
    }
}

fn texts(fields: &flow::Fields) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

pub fn fields(given: Vec<(String, String)>) -> flow::Fields {
    given
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
