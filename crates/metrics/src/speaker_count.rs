//! Numbers of speakers.

use crate::{Annotation, Scope, Timeline};
use serde::Serialize;

/// Numbers of speakers on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SpeakerCount {
    /// Of the reference.
    pub reference: usize,
    /// Of the hypothesis.
    pub hypothesis: usize,
}

impl SpeakerCount {
    /// The absolute difference. Its mean over files is pyannote.metrics `DiarizationSpeakerCountError`.
    #[must_use]
    pub fn error(&self) -> usize {
        self.reference.abs_diff(self.hypothesis)
    }
}

/// Counts the speakers within `uem`.
#[must_use]
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
