//! The audit of the weights, in words.

use std::fmt::Write;

use indicatif::HumanCount;
use soundalike_compare::{Differences, Figure, Report, Weights};

use super::words::{LISTED, listed, short};
use crate::document::Item;

/// What the weights are, and how the candidate's differ.
pub(super) fn items(report: &Report) -> Vec<Item> {
    let Some(audit) = &report.audit else {
        return Vec::new();
    };
    let reference = Item::from(format!("weights: {}", weights_of(&audit.reference)));
    let candidate = audit.candidate.as_ref().map(|differences| Item {
        text: format!(
            "candidate's weights: {}; {}",
            weights_of(&differences.weights),
            compared(differences)
        ),
        details: details(differences),
    });
    std::iter::once(reference).chain(candidate).collect()
}

fn weights_of(weights: &Weights) -> String {
    let several = weights.dtypes.len() > 1;
    let dtype = |(dtype, number): (&String, &usize)| match several {
        true => format!("{number} {dtype}"),
        false => dtype.clone(),
    };
    let dtypes: Vec<_> = weights.dtypes.iter().map(dtype).collect();
    format!(
        "{} ({}, SHA-256 {}): {} tensors, {} values, {}, {}",
        weights.file,
        weights.network,
        short(&weights.sha256),
        weights.tensors,
        HumanCount(weights.values as u64),
        dtypes.join(" and "),
        match weights.zero.as_slice() {
            [] => "none all zero".to_owned(),
            zero => format!("all zero: {}", listed(zero.iter().cloned())),
        }
    )
}

fn compared(differences: &Differences) -> String {
    let mut words = format!("{} bit-equal", differences.bit_equal);
    for (number, what) in [
        (differences.rounded, "equal but for rounding to their type"),
        (differences.differing.len(), "other values"),
        (differences.missing.len(), "missing"),
        (differences.unexpected.len(), "unexpected"),
        (differences.hyperparameters.len(), "other hyperparameters"),
    ] {
        if number > 0 {
            let _ = write!(words, ", {number} {what}");
        }
    }
    words
}

fn details(differences: &Differences) -> Vec<String> {
    let mut lines = Vec::new();
    for difference in differences.differing.iter().take(LISTED) {
        let what = match (difference.max_abs, difference.values_of.as_slice()) {
            (_, others @ [_, ..]) => format!("has the values of {}", others.join(", ")),
            (Some(most), []) => format!("is another, largest difference {}", Figure(most)),
            (None, []) => format!(
                "has shape {:?}, expected {:?}",
                difference.candidate_shape, difference.reference_shape
            ),
        };
        lines.push(format!("{} {what}", difference.name));
    }
    for (names, what) in [
        (&differences.missing, "missing"),
        (&differences.unexpected, "unexpected"),
    ] {
        if !names.is_empty() {
            lines.push(format!("{what}: {}", listed(names.iter().cloned())));
        }
    }
    for difference in differences.hyperparameters.iter().take(LISTED) {
        lines.push(format!(
            "{} is {}, in the reference {}",
            difference.name, difference.candidate, difference.reference
        ));
    }
    lines
}
