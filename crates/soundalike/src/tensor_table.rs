//! Tensors and what they add up to, as a person reads them.

use std::fmt::Write;

use soundalike_convert::{Counts, TensorInfo};
use soundalike_network::{Architecture, Specifications};

use crate::document::{
    Table,
    terminal::{self, Screen},
};

/// One row for each tensor: name, shape, dtype, origin.
pub(crate) fn table(tensors: &[TensorInfo]) -> String {
    let mut table = Table::new("tensor | >shape | dtype | from");
    for tensor in tensors {
        let shape: Vec<_> = tensor.shape.iter().map(ToString::to_string).collect();
        table.row([
            tensor.name.clone(),
            shape.join(" x "),
            tensor.dtype.name().to_owned(),
            tensor.origin.to_string(),
        ]);
    }
    terminal::table(&table, Screen::default())
}

/// What the tensors add up to, in one line.
pub(crate) fn totals(counts: &Counts) -> String {
    let mut line = format!(
        "{} tensors, {} parameters",
        counts.tensors,
        grouped(counts.parameters)
    );
    if counts.buffers > 0 {
        let _ = write!(
            line,
            " and {} constants (filters, windows, running statistics), {} in all",
            grouped(counts.buffers),
            grouped(counts.total)
        );
    }
    line
}

/// What the network is, in a few words.
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

/// 1473515 as 1,473,515.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, expected) in [
            (7, "7"),
            (999, "999"),
            (1000, "1,000"),
            (1_473_515, "1,473,515"),
        ] {
            assert_eq!(super::grouped(number), expected);
        }
    }
}
