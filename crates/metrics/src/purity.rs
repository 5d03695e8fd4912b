//! Purity and coverage: how clean the clusters are, and how whole the speakers.

use std::ops::AddAssign;

use serde::Serialize;

use crate::{Annotation, tracks::Tracks};

/// Seconds that belong to the dominant label, and all seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Share {
    /// Sum over the labels of the longest time in common with one label of the other side.
    pub correct: f64,
    /// Sum over the labels of their speaking time.
    pub total: f64,
}

impl Share {
    /// Correct over total; 1 where nobody speaks.
    pub fn rate(&self) -> f64 {
        if self.total > 0.0 {
            self.correct / self.total
        } else {
            1.0
        }
    }
}

impl AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.correct += other.correct;
        self.total += other.total;
    }
}

/// How far each speaker of the hypothesis is one speaker of the reference. As pyannote.metrics
/// `DiarizationPurity`, which has neither collar nor UEM.
pub fn purity(reference: &Annotation, hypothesis: &Annotation) -> Share {
    let references = Tracks::of(reference).timelines();
    let mut share = Share::default();
    for hypothesis in Tracks::of(hypothesis).timelines() {
        let support = hypothesis.support();
        share.total += support.duration();
        share.correct += references
            .iter()
            .map(|r| r.crop(&support).duration())
            .fold(0.0, f64::max);
    }
    share
}

/// How far each speaker of the reference is one speaker of the hypothesis: purity with the sides exchanged.
/// pyannote.metrics `DiarizationCoverage`.
pub fn coverage(reference: &Annotation, hypothesis: &Annotation) -> Share {
    purity(hypothesis, reference)
}

/// The harmonic mean of two rates; 0 where both are.
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
            Share {
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
