//! What the official package computed: the built-in trace, the record that the engine on libtorch equals it, and decisions
//! without a network.

use std::{io::Cursor, sync::LazyLock};

use serde::Deserialize;
use soundalike_compare::{ReferenceTrace, TraceError, Verification};
use soundalike_network::Architecture;

/// The built-in trace: the official package running segmentation-3.0 on one second of the project's sample.
///
/// # Errors
/// None, unless the file was changed.
pub fn built_in_trace() -> Result<ReferenceTrace<Cursor<&'static [u8]>>, TraceError> {
    let trace: &[u8] = include_bytes!("../captured/segmentation-3.0_1s.npz");
    ReferenceTrace::new(Cursor::new(trace), "the built-in trace of pyannote.audio")
}

/// Written by `crates/selftest/tests/libtorch_is_pyannote/`, which documents how.
static RECORD: LazyLock<Vec<Verification>> = LazyLock::new(|| {
    // An unreadable record verifies nothing.
    serde_json::from_str(include_str!("../captured/verified.json")).unwrap_or_default()
});

/// The capture of the same architecture that the engine on libtorch was last verified against; a real model is
/// preferred to one of random weights. `None` if there is no such capture, or if the architecture is not a network.
#[must_use]
pub fn verified(architecture: &Architecture) -> Option<&'static Verification> {
    let variant = architecture.variant()?;
    RECORD.iter().find(|entry| entry.architecture == variant)
}

/// Written by `reference/decisions.py`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Decisions {
    powersets: Vec<Powerset>,
    #[cfg(test)]
    pub(crate) masks: Vec<MaskCase>,
}

/// The classes of a powerset classifier.
#[derive(Debug, Deserialize)]
struct Powerset {
    speakers: usize,
    sets: Vec<Vec<usize>>,
}

/// The frames that one window is pooled over. A line for each speaker, `0` or `1` for each frame.
#[cfg(test)]
#[derive(Debug, Deserialize)]
pub(crate) struct MaskCase {
    pub(crate) samples: usize,
    pub(crate) min_num_samples: usize,
    pub(crate) exclude_overlap: bool,
    pub(crate) activity: Vec<String>,
    pub(crate) masks: Vec<String>,
}

pub(crate) static DECISIONS: LazyLock<Decisions> = LazyLock::new(|| {
    // Without decisions nothing is checked against them, which a test would notice.
    serde_json::from_str(include_str!("../captured/decisions.json")).unwrap_or_default()
});

impl Decisions {
    /// The members of each of `classes` classes, in order, for `speakers` speakers. `None` beyond 8 speakers or 4 at once.
    pub(crate) fn sets(&self, speakers: usize, classes: usize) -> Option<&[Vec<usize>]> {
        let fits = |set: &&Powerset| set.speakers == speakers && set.sets.len() == classes;
        Some(&self.powersets.iter().find(fits)?.sets)
    }
}

#[cfg(test)]
mod tests {
    use soundalike_network::Activation;

    use super::*;

    #[test]
    fn the_record_can_be_read_and_is_in_order() {
        let record: Vec<Verification> =
            serde_json::from_str(include_str!("../captured/verified.json")).unwrap();
        assert!(!record.is_empty() && record.is_sorted());
    }

    #[test]
    fn what_was_never_captured_is_not_verified() {
        let bundle = soundalike_weights::segmentation().unwrap();
        let mut architecture = bundle.architecture().clone();
        let found = verified(&architecture).unwrap();
        assert_eq!(found.model, "segmentation-3.0");
        assert_eq!(found.sha256, bundle.source().sha256);
        let Architecture::PyanNet(config) = &mut architecture else {
            panic!("{architecture:?}");
        };
        config.activation = Activation::Sigmoid;
        assert_eq!(verified(&architecture), None);
    }
}
