//! Jaccard error rate: every reference speaker counts the same, whatever their speaking time.

use std::ops::AddAssign;

use serde::Serialize;

use crate::{
    Annotation, Scope, Timeline,
    assignment::{
        Mapping,
        Names::{Digits, Letters},
        map,
    },
    purity::fraction,
    scope::Scoped,
};

/// The sum and count of a Jaccard error rate, which is a mean over speakers.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Jaccard {
    /// Sum of (false alarm + miss) / union over the reference speakers, each between 0 and 1.
    pub speaker_error: f64,
    /// Number of reference speakers.
    pub speaker_count: f64,
}

impl Jaccard {
    /// The mean; 1 without speakers. pyannote.metrics `JaccardErrorRate.compute_metric`.
    #[must_use]
    pub fn rate(&self) -> f64 {
        fraction(self.speaker_error, self.speaker_count)
    }
}

/// Pools: a corpus has the mean over all its speakers.
impl AddAssign for Jaccard {
    fn add_assign(&mut self, other: Self) {
        self.speaker_error += other.speaker_error;
        self.speaker_count += other.speaker_count;
    }
}

/// The Jaccard error rate in pyannote's convention: continuous time, and an optimal mapping by time in common. The error of
/// a speaker without a partner is 1. pyannote.metrics `JaccardErrorRate`.
#[must_use]
pub fn jaccard(
    scope: Scope,
    reference: &Annotation,
    hypothesis: &Annotation,
    uem: Option<&Timeline>,
) -> Jaccard {
    let Scoped {
        reference,
        hypothesis,
        ..
    } = &scope.apply(reference, hypothesis, uem);
    let mapping = map(reference, Letters, hypothesis, Digits, Mapping::Optimal);
    let (references, hypotheses) = (reference.timelines(), hypothesis.timelines());
    let mut sum = Jaccard::default();
    for (reference, partner) in references.iter().zip(mapping) {
        sum.speaker_count += 1.0;
        sum.speaker_error += partner.map_or(1.0, |partner| {
            let hypothesis = &hypotheses[partner];
            let false_alarm =
                hypothesis.duration() - hypothesis.crop(&reference.support()).duration();
            let missed = reference.duration() - reference.crop(&hypothesis.support()).duration();
            (false_alarm + missed) / reference.union(hypothesis).duration()
        });
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Turn;

    #[test]
    fn a_speaker_without_a_partner_has_an_error_of_1() {
        let reference =
            Annotation::from_turns("x", [Turn::new(0.0, 9.0, "A"), Turn::new(9.0, 10.0, "B")]);
        let hypothesis = Annotation::from_turns("x", [Turn::new(0.0, 10.0, "1")]);
        let jer = jaccard(Scope::default(), &reference, &hypothesis, None);
        // A: false alarm 1 s of a union of 10 s; B: 1.
        assert_eq!((jer.speaker_error, jer.speaker_count), (1.1, 2.0));
        assert_eq!(Jaccard::default().rate(), 1.0);
    }
}
