//! The metrics of voice activity detection: speech of any speaker against silence.

use std::ops::AddAssign;

use serde::Serialize;

use crate::{
    Annotation, Scope, Timeline,
    der::error_rate,
    purity::{f_measure, fraction},
};

/// The seconds of right and wrong decisions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Detection {
    /// Speech in both.
    pub true_positive: f64,
    /// Silence in both.
    pub true_negative: f64,
    /// Speech of the hypothesis in silence.
    pub false_positive: f64,
    /// Silence of the hypothesis in speech.
    pub false_negative: f64,
    /// Speech of the reference.
    pub total: f64,
}

impl Detection {
    /// (False positive + false negative) over the speech of the reference. Where there is none: 0 without error,
    /// else 1. pyannote.metrics `DetectionErrorRate`.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        error_rate(self.false_positive + self.false_negative, self.total)
    }

    /// Right over all; 1 where nothing is scored. pyannote.metrics `DetectionAccuracy`.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right = self.true_negative + self.true_positive;
        fraction(right, right + self.false_negative + self.false_positive)
    }

    /// Fraction of the hypothesis speech that is speech. pyannote.metrics `DetectionPrecision`.
    #[must_use]
    pub fn precision(&self) -> f64 {
        fraction(self.true_positive, self.true_positive + self.false_positive)
    }

    /// Fraction of the reference speech that was found. pyannote.metrics `DetectionRecall`.
    #[must_use]
    pub fn recall(&self) -> f64 {
        fraction(self.true_positive, self.true_positive + self.false_negative)
    }

    /// The harmonic mean of precision and recall.
    #[must_use]
    pub fn f1(&self) -> f64 {
        f_measure(self.precision(), self.recall())
    }
}

impl AddAssign for Detection {
    fn add_assign(&mut self, other: Self) {
        self.true_positive += other.true_positive;
        self.true_negative += other.true_negative;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
        self.total += other.total;
    }
}

/// Compares speech and silence of both sides. pyannote.metrics `DetectionErrorRate` and its relatives.
#[must_use]
pub fn detection(
    scope: Scope,
    reference: &Annotation,
    hypothesis: &Annotation,
    uem: Option<&Timeline>,
) -> Detection {
    let scoped = scope.apply(reference, hypothesis, uem);
    let speech = scoped.reference.timeline().support();
    let found = scoped.hypothesis.timeline().support();
    let silence = speech.gaps_in(&scoped.scored);
    let quiet = found.gaps_in(&scoped.scored);
    Detection {
        true_positive: speech.overlap(&found),
        true_negative: silence.overlap(&quiet),
        false_positive: silence.overlap(&found),
        false_negative: speech.overlap(&quiet),
        total: speech.duration(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Turn;

    #[test]
    fn every_decision_in_seconds() {
        let reference =
            Annotation::from_turns("x", [Turn::new(0.0, 4.0, "A"), Turn::new(2.0, 6.0, "B")]);
        let hypothesis = Annotation::from_turns("x", [Turn::new(1.0, 8.0, "1")]);
        let uem = Timeline::new([crate::Segment::new(0.0, 10.0)]);
        let found = detection(Scope::default(), &reference, &hypothesis, Some(&uem));
        let expected = Detection {
            true_positive: 5.0,
            true_negative: 2.0,
            false_positive: 2.0,
            false_negative: 1.0,
            total: 6.0,
        };
        assert_eq!(found, expected);
        assert_eq!((found.error_rate(), found.accuracy()), (0.5, 0.7));
        assert_eq!((found.precision(), found.recall()), (5.0 / 7.0, 5.0 / 6.0));
    }
}
