//! The native part of the Python package `soundalike`: stages found in a candidate, comparison, reports.
//!
//! Both sides come as trace files, and results go back as JSON or as text, so that no type has to exist twice.

mod alignment;
mod arrays;
mod report;

use pyo3::{exceptions::PyRuntimeError, prelude::*};

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(alignment::align, module)?)?;
    module.add_function(wrap_pyfunction!(alignment::names_of, module)?)?;
    module.add_function(wrap_pyfunction!(report::compare, module)?)?;
    module.add_class::<arrays::Arrays>()?;
    module.add_class::<report::Report>()
}

/// `soundalike.Error` with the text of `error` and of its causes.
fn failed(error: &dyn std::error::Error) -> PyErr {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let text = causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // A transparent error has the text of its cause.
        match text.contains(&cause) {
            true => text,
            false => format!("{text}: {cause}"),
        }
    });
    Python::attach(|py| {
        let class = py
            .import("soundalike._errors")
            .and_then(|errors| errors.getattr("Error"));
        match class {
            Ok(class) => match class.call1((&text,)) {
                Ok(error) => PyErr::from_value(error),
                Err(_) => PyRuntimeError::new_err(text),
            },
            Err(_) => PyRuntimeError::new_err(text),
        }
    })
}
