//! A session as Python holds it.

use std::sync::Arc;

use pyo3::prelude::*;

use super::stream::{self, Stream};
use crate::core::Core;
use crate::flow::Port;
use crate::http2::session::Session as Native;

#[pyclass(frozen, module = "ztm_native")]
pub struct Session {
    pub session: Arc<Native>,
    pub core: Arc<Core>,
}

#[pymethods]
impl Session {
    #[getter]
    fn token(&self) -> u64 {
        self.session.token
    }

    #[getter]
    fn is_open(&self) -> bool {
        self.session.reason().is_none()
    }

    #[getter]
    fn reason(&self) -> Option<String> {
        self.session.reason().map(|reason| reason.to_string())
    }

    #[getter]
    fn streams(&self) -> usize {
        self.session.streams()
    }

    #[getter]
    fn held(&self) -> usize {
        self.session.held()
    }

    #[getter]
    fn silence(&self) -> f64 {
        self.session.silence().as_secs_f64()
    }

    #[getter]
    fn round_trip(&self) -> Option<f64> {
        self.session.round_trip().map(|time| time.as_secs_f64())
    }

    fn open(&self, fields: Vec<(String, String)>) -> Option<Stream> {
        let fields = stream::fields(fields);
        let made = self.core.order(|turn| self.session.open(turn, fields))?;
        Some(Stream::new(made as Arc<dyn Port>, self.core.clone()))
    }

    fn close(&self, reason: &str) {
        self.core.order(|turn| self.session.close(turn, reason));
    }
}
