//! How many speakers there are, and how many were found.

use crate::{Annotation, Scope, Timeline};
use serde::Serialize;

/// Speakers on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SpeakerCount {
    /// Speakers of the reference.
    pub reference: usize,
    /// Speakers of the hypothesis.
    pub hypothesis: usize,
}

impl SpeakerCount {
    /// Speakers too many or too few. The mean of it over files is pyannote.metrics
    /// `DiarizationSpeakerCountError`.
    pub fn error(&self) -> usize {
        self.reference.abs_diff(self.hypothesis)
    }
}

/// Counts the speakers who talk within `uem`.
pub fn speaker_count(
    reference: &Annotation,
    hypothesis: &Annotation,
    uem: Option<&Timeline>,
) -> SpeakerCount {
    let scoped = Scope::default().apply(reference, hypothesis, uem);
    SpeakerCount {
        reference: scoped.reference.labels.len(),
        hypothesis: scoped.hypothesis.labels.len(),
    }
}
