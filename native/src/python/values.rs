//! What is handed over as it is: counters, failures, TLS contexts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::dial::{self, Kind};
use crate::flow;
use crate::tls::{Context, Credentials};

#[pyclass(frozen, module = "ztm_native")]
pub struct Counter {
    pub count: Arc<flow::Counter>,
}

#[pymethods]
impl Counter {
    #[new]
    fn new() -> Self {
        Self { count: Arc::default() }
    }

    #[getter]
    fn bytes(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[pyclass(frozen, module = "ztm_native")]
pub struct Failure {
    pub failure: dial::Failure,
}

#[pymethods]
impl Failure {
    #[getter]
    fn kind(&self) -> &'static str {
        match self.failure.kind {
            Kind::Deadline => "deadline",
            Kind::Certificate => "certificate",
            Kind::Unreachable => "unreachable",
        }
    }

    #[getter]
    fn errno(&self) -> i32 {
        self.failure.number
    }

    #[getter]
    fn text(&self) -> &str {
        &self.failure.text
    }
}

#[pyclass(frozen, module = "ztm_native")]
pub struct TlsContext {
    pub context: Context,
}

#[pymethods]
impl TlsContext {
    #[new]
    #[pyo3(signature = (ca, certificate, key, *, server, groups = ""))]
    fn new(ca: &str, certificate: &str, key: &str, server: bool, groups: &str) -> PyResult<Self> {
        Context::new(
            &Credentials {
                ca,
                certificate,
                key,
                groups,
            },
            server,
        )
        .map(|context| Self { context })
        .map_err(|error| PyValueError::new_err(error.to_string()))
    }
}
