//! The thin binding: what `ztm_native.pyi` promises, by calls into the crate that none of them wait.

mod core;
mod listener;
mod relay;
mod session;
mod stream;
mod values;

use pyo3::prelude::*;

use crate::events;

#[pymodule]
fn ztm_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ACCEPTED", core::ACCEPTED)?;
    module.add("DIALLED", core::DIALLED)?;
    module.add("REQUEST", core::REQUEST)?;
    module.add("CLOSED", core::CLOSED)?;
    module.add("READY", core::READY)?;
    module.add("DATAGRAM", core::DATAGRAM)?;
    module.add("UNACCEPTED", core::UNACCEPTED)?;
    module.add("READABLE", events::READABLE)?;
    module.add("ROOM", events::ROOM)?;
    module.add("ANSWERED", events::ANSWERED)?;
    module.add("OVER", events::OVER)?;
    module.add_class::<core::Core>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<session::Session>()?;
    module.add_class::<listener::Listener>()?;
    module.add_class::<listener::Datagrams>()?;
    module.add_class::<relay::Relay>()?;
    module.add_class::<values::Counter>()?;
    module.add_class::<values::Failure>()?;
    module.add_class::<values::TlsContext>()
}
