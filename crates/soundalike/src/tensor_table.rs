//! Tensors and their totals, as `convert` and `inspect` print them.

use std::fmt::Write;

use indicatif::HumanCount;
use soundalike_convert::{ParameterCounts, TensorInfo};
use soundalike_network::{Architecture, Specifications};
use soundalike_report::document::{
    Table,
    terminal::{self, Screen},
};

/// One row for each tensor: name, shape, dtype, origin.
pub(crate) fn table(tensors: &[TensorInfo]) -> String {
    let row = |tensor: &TensorInfo| {
        let shape: Vec<_> = tensor.shape.iter().map(ToString::to_string).collect();
        [
            tensor.name.clone(),
            shape.join(" x "),
            tensor.stored().to_owned(),
            tensor.origin.to_string(),
        ]
    };
    let table = Table::of("tensor | >shape | dtype | from", tensors.iter().map(row));
    terminal::table(&table, Screen::default())
}

/// Totals in one line.
pub(crate) fn totals(counts: &ParameterCounts) -> String {
    let mut line = format!(
        "{} tensors, {} parameters",
        counts.tensors,
        HumanCount(counts.parameters as u64)
    );
    if counts.buffers > 0 {
        let _ = write!(
            line,
            " and {} constants (filters, windows, running statistics), {} in all",
            HumanCount(counts.buffers as u64),
            HumanCount(counts.total as u64)
        );
    }
    line
}

/// Architecture and specifications in one line.
pub(crate) fn network(
    architecture: &Architecture,
    specifications: Option<&Specifications>,
) -> String {
    let mut line = architecture.name();
    if let Some(specifications) = specifications {
        let _ = write!(line, ", windows of {} s", specifications.duration);
        if !specifications.classes.is_empty() {
            let _ = write!(line, ", classes {}", specifications.classes.join(", "));
        }
        if let Some(together) = specifications.powerset_max_classes {
            let _ = write!(line, ", powerset of at most {together}");
        }
    }
    line
}
