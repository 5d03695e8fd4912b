//! Purity and coverage of the clusters.

use std::ops::AddAssign;

use serde::Serialize;

use crate::{Annotation, tracks::Tracks};

/// The seconds of a purity or coverage.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct MatchedTime {
    /// Sum over the labels of the longest time in common with one label of the other side.
    pub correct: f64,
    /// Sum over the labels of their speaking time.
    pub total: f64,
}

impl MatchedTime {
    /// Correct over total; 1 without speech.
    #[must_use]
    pub fn rate(&self) -> f64 {
        fraction(self.correct, self.total)
    }
}

/// A part of a whole; 1 where that is 0.
pub(crate) fn fraction(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 1.0 }
}

impl AddAssign for MatchedTime {
    fn add_assign(&mut self, other: Self) {
        self.correct += other.correct;
        self.total += other.total;
    }
}

/// The fraction of each hypothesis speaker that is one reference speaker. pyannote.metrics `DiarizationPurity`, which
/// has neither collar nor UEM.
pub fn purity(reference: &Annotation, hypothesis: &Annotation) -> MatchedTime {
    let references = Tracks::of(reference).timelines();
    let mut matched = MatchedTime::default();
    for hypothesis in Tracks::of(hypothesis).timelines() {
        let support = hypothesis.support();
        matched.total += support.duration();
        matched.correct += references
            .iter()
            .map(|r| r.crop(&support).duration())
            .fold(0.0, f64::max);
    }
    matched
}

/// The fraction of each reference speaker that is one hypothesis speaker: purity with the sides exchanged.
/// pyannote.metrics `DiarizationCoverage`.
#[must_use]
pub fn coverage(reference: &Annotation, hypothesis: &Annotation) -> MatchedTime {
    purity(hypothesis, reference)
}

/// The harmonic mean of two rates; 0 where both are 0.
#[must_use]
pub fn f_measure(one: f64, other: f64) -> f64 {
    if one + other == 0.0 {
        0.0
    } else {
        2.0 * one * other / (one + other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Turn;

    #[test]
    fn joining_two_speakers_costs_purity_and_not_coverage() {
        let reference =
            Annotation::from_turns("x", [Turn::new(0.0, 3.0, "A"), Turn::new(3.0, 4.0, "B")]);
        let hypothesis = Annotation::from_turns("x", [Turn::new(0.0, 4.0, "1")]);
        assert_eq!(
            purity(&reference, &hypothesis),
            MatchedTime {
                correct: 3.0,
                total: 4.0
            }
        );
        assert_eq!(coverage(&reference, &hypothesis).rate(), 1.0);
        assert_eq!(f_measure(0.75, 1.0), 1.5 / 1.75);
        assert_eq!(purity(&reference, &Annotation::new("x")).rate(), 1.0);
        assert_eq!(f_measure(0.0, 0.0), 0.0);
    }
}
