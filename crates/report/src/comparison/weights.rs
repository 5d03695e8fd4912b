//! Sentences on the audit of the weights.

use std::fmt::Write;

use indicatif::HumanCount;
use soundalike_compare::{Differences, Figure, Reading, Report, TensorDifference, Weights};

use super::words::{self, short};
use crate::{
    document::Item,
    text::{LISTED, listed},
};

/// The weights of the model, and the differences of the candidate's.
pub(crate) fn items(report: &Report) -> Vec<Item> {
    let Some(audit) = &report.audit else {
        return Vec::new();
    };
    let reference = Item::from(format!("weights: {}", weights_of(&audit.reference)));
    let reading = audit
        .reading
        .as_ref()
        .map(|reading| Item::from(read_again(reading)));
    let candidate = audit.candidate.as_ref().map(|differences| Item {
        text: format!(
            "candidate's weights: {}; {}",
            weights_of(&differences.weights),
            compared(differences)
        ),
        details: details(differences),
    });
    let items = std::iter::once(reference).chain(reading);
    items.chain(candidate).collect()
}

/// What the second reader of the weights gave.
fn read_again(reading: &Reading) -> String {
    let packages = reading.versions.iter();
    let packages = packages.map(|(name, version)| format!("{name} {version}"));
    let mut words = format!(
        "the reference's weights were read by torch.load ({}): {} tensors bit-equal to our reading, {} hyperparameters, \
         specifications and settings of layers equal",
        listed(packages),
        reading.tensors,
        reading.values
    );
    if !reading.unchecked.is_empty() {
        let _ = write!(
            words,
            "; the file does not store {}, whose defaults need pyannote.audio to be checked",
            reading.unchecked.join(", ")
        );
    }
    words
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
            [] => "no tensor is all zero".to_owned(),
            zero => format!("all zero: {}", listed(zero.iter().cloned())),
        }
    )
}

fn compared(differences: &Differences) -> String {
    let mut words = format!("{} bit-equal", differences.bit_equal);
    for (number, what) in [
        (differences.rounded, "equal after rounding to their dtype"),
        (differences.differing.len(), "with other values"),
        (differences.missing.len(), "missing"),
        (differences.unexpected.len(), "unexpected"),
        (
            differences.hyperparameters.len(),
            "with other hyperparameters",
        ),
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
        lines.push(wrong_tensor(difference));
    }
    lines.extend(words::differences([
        (&differences.missing, "missing"),
        (&differences.unexpected, "unexpected"),
    ]));
    for difference in differences.hyperparameters.iter().take(LISTED) {
        lines.push(format!(
            "{} is {}, expected {}",
            difference.name, difference.candidate, difference.reference
        ));
    }
    lines
}

/// What is wrong with a tensor of the candidate.
#[must_use]
pub fn wrong_tensor(difference: &TensorDifference) -> String {
    let what = match (difference.max_abs, difference.values_of.as_slice()) {
        (_, others @ [_, ..]) => format!("has the values of {}", others.join(", ")),
        (Some(most), []) => format!("differs by up to {}", Figure(most)),
        (None, []) => format!(
            "has shape {:?}, expected {:?}",
            difference.candidate_shape, difference.reference_shape
        ),
    };
    format!("{} {what}", difference.name)
}
