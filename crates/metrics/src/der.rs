//! Diarization error rate.
//!
//! In every region of duration d in which R reference and H hypothesis turns are active and nothing changes:
//! missed detection is max(0, R - H) d, false alarm max(0, H - R) d, confusion (min(R, H) - correct) d, and
//! R d adds to the total. pyannote.metrics `DiarizationErrorRate`, with the same sums in the same order.

use std::ops::AddAssign;

use serde::Serialize;

use crate::{
    Annotation, Segment, Support, Timeline,
    assignment::{
        Mapping,
        Names::{Digits, Letters},
        map,
    },
    scope::{Scope, Scoped},
    sweep::sweep,
    tracks::Tracks,
};

/// The diarization error rate in pyannote's convention, with its options.
///
/// ```
/// use soundalike_metrics::{Annotation, DiarizationErrorRate, Turn};
/// let reference = Annotation::from_turns("x", [Turn::new(0.0, 10.0, "A"), Turn::new(12.0, 20.0, "B")]);
/// let hypothesis = Annotation::from_turns("x", [Turn::new(0.0, 12.0, "1"), Turn::new(12.0, 20.0, "2")]);
/// let components = DiarizationErrorRate::default().components(&reference, &hypothesis, None);
/// assert_eq!(components.false_alarm, 2.0);
/// assert_eq!(components.rate(), 2.0 / 18.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DiarizationErrorRate {
    /// Seconds around each boundary of a reference turn that are not scored: half before, half after.
    pub collar: f64,
    /// Regions with two or more reference turns are not scored.
    pub skip_overlap: bool,
    /// How speakers are mapped.
    pub mapping: Mapping,
}

/// The seconds of an error rate.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Components {
    /// Reference speech without a hypothesis speaker.
    pub missed_detection: f64,
    /// Hypothesis speech without a reference speaker.
    pub false_alarm: f64,
    /// Speech of the wrong speaker.
    pub confusion: f64,
    /// Speech of the right speaker.
    pub correct: f64,
    /// Speaking time of the reference: the denominator.
    pub total: f64,
}

impl Components {
    /// The sum of missed detection, false alarm and confusion.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.confusion + self.false_alarm + self.missed_detection
    }

    /// Error over total. Where the reference has no speech: 0 without error, else 1.
    #[must_use]
    pub fn rate(&self) -> f64 {
        error_rate(self.error(), self.total)
    }

    /// The rate; none where the reference has no speech.
    pub(crate) fn rate_of_speech(&self) -> Option<f64> {
        (self.total > 0.0).then(|| self.rate())
    }
}

/// Error over total. Where that is 0: 0 without error, else 1.
pub(crate) fn error_rate(error: f64, total: f64) -> f64 {
    match (total == 0.0, error == 0.0) {
        (false, _) => error / total,
        (true, true) => 0.0,
        (true, false) => 1.0,
    }
}

/// Pools: a corpus is scored by its seconds, not by the mean rate of its files.
impl AddAssign for Components {
    fn add_assign(&mut self, other: Self) {
        self.missed_detection += other.missed_detection;
        self.false_alarm += other.false_alarm;
        self.confusion += other.confusion;
        self.correct += other.correct;
        self.total += other.total;
    }
}

impl std::iter::Sum for Components {
    fn sum<I: Iterator<Item = Self>>(files: I) -> Self {
        let mut all = Self::default();
        files.for_each(|one| all += one);
        all
    }
}

/// Components, and the mapping of the speakers.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Score {
    /// The seconds.
    pub components: Components,
    /// Pairs of a hypothesis and a reference label, by hypothesis label. Speakers without a partner are left out.
    pub mapping: Vec<(String, String)>,
}

impl DiarizationErrorRate {
    /// The seconds of each kind. The default of `uem` is the extent of both sides together.
    #[must_use]
    pub fn components(
        &self,
        reference: &Annotation,
        hypothesis: &Annotation,
        uem: Option<&Timeline>,
    ) -> Components {
        self.score(reference, hypothesis, uem).components
    }

    /// The seconds of each kind, and the mapping of the speakers.
    #[must_use]
    pub fn score(
        &self,
        reference: &Annotation,
        hypothesis: &Annotation,
        uem: Option<&Timeline>,
    ) -> Score {
        let (scoped, mapping) = self.mapped(reference, hypothesis, uem);
        let (reference, hypothesis) = (&scoped.reference, &scoped.hypothesis);
        Score {
            components: count(reference, hypothesis, &mapping),
            mapping: named(reference, hypothesis, &mapping),
        }
    }

    /// The scored regions, and those of them with speech, in order.
    #[must_use]
    pub fn regions(
        &self,
        reference: &Annotation,
        hypothesis: &Annotation,
        uem: Option<&Timeline>,
    ) -> (Support, Vec<Region>) {
        let (scoped, mapping) = self.mapped(reference, hypothesis, uem);
        let (reference, hypothesis) = (&scoped.reference, &scoped.hypothesis);
        let mut regions = Vec::new();
        sweep(reference, hypothesis, &mapping, |segment, active| {
            regions.push(Region {
                segment,
                missed_detection: active.missed(),
                false_alarm: active.false_alarm(),
                confusion: active.confused(),
                correct: active.correct,
            });
        });
        (scoped.scored, regions)
    }

    /// Both sides within the scored regions, and the reference label of each hypothesis label.
    fn mapped<'a>(
        &self,
        reference: &'a Annotation,
        hypothesis: &'a Annotation,
        uem: Option<&Timeline>,
    ) -> (Scoped<'a>, Vec<Option<usize>>) {
        let scope = Scope {
            collar: self.collar,
            skip_overlap: self.skip_overlap,
        };
        let scoped = scope.apply(reference, hypothesis, uem);
        let (references, hypotheses) = (&scoped.reference, &scoped.hypothesis);
        let mapping = map(hypotheses, Digits, references, Letters, self.mapping);
        (scoped, mapping)
    }
}

/// A region in which no track starts or ends, with the numbers of speakers of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Region {
    /// Its time.
    pub segment: Segment,
    /// Reference speakers without a hypothesis speaker.
    pub missed_detection: usize,
    /// Hypothesis speakers without a reference speaker.
    pub false_alarm: usize,
    /// Wrong speakers.
    pub confusion: usize,
    /// Right speakers.
    pub correct: usize,
}

/// The sums over the regions.
pub(crate) fn count(
    reference: &Tracks,
    hypothesis: &Tracks,
    mapping: &[Option<usize>],
) -> Components {
    let mut sum = Components::default();
    sweep(reference, hypothesis, mapping, |region, active| {
        let duration = region.end - region.start;
        sum.total += duration * active.reference as f64;
        sum.correct += duration * active.correct as f64;
        sum.confusion += duration * active.confused() as f64;
        sum.missed_detection += duration * active.missed() as f64;
        sum.false_alarm += duration * active.false_alarm() as f64;
    });
    sum
}

/// A mapping by names.
pub(crate) fn named(
    reference: &Tracks,
    hypothesis: &Tracks,
    mapping: &[Option<usize>],
) -> Vec<(String, String)> {
    let pairs = hypothesis.labels.iter().zip(mapping);
    pairs
        .filter_map(|(h, r)| Some(((*h).to_owned(), reference.labels[(*r)?].to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Turn;

    fn annotation(turns: &[(f64, f64, &str)]) -> Annotation {
        Annotation::from_turns(
            "x",
            turns
                .iter()
                .map(|&(start, end, who)| Turn::new(start, end, who)),
        )
    }

    #[test]
    fn every_kind_of_error_in_seconds() {
        let reference = annotation(&[(0.0, 10.0, "A"), (8.0, 14.0, "B"), (20.0, 24.0, "C")]);
        let hypothesis = annotation(&[(1.0, 10.0, "1"), (10.0, 16.0, "2"), (20.0, 24.0, "1")]);
        let score = DiarizationErrorRate::default().score(&reference, &hypothesis, None);
        // missed: 0-1 (A) and 8-10 (B); false alarm: 14-16; confusion: C taken for A.
        let expected = Components {
            missed_detection: 3.0,
            false_alarm: 2.0,
            confusion: 4.0,
            correct: 13.0,
            total: 20.0,
        };
        assert_eq!(score.components, expected);
        assert_eq!(
            score.mapping,
            [("1".into(), "A".into()), ("2".into(), "B".into())]
        );
        assert_eq!(score.components.rate(), 9.0 / 20.0);
    }

    #[test]
    fn turns_of_one_speaker_that_overlap_count_twice() {
        let reference = annotation(&[(0.0, 2.0, "A"), (1.0, 3.0, "A")]);
        let components = DiarizationErrorRate::default().components(
            &reference,
            &annotation(&[(0.0, 3.0, "1")]),
            None,
        );
        assert_eq!(
            (
                components.total,
                components.missed_detection,
                components.correct
            ),
            (4.0, 1.0, 3.0)
        );
    }

    #[test]
    fn a_reference_without_speech_is_all_right_or_all_wrong() {
        let (none, some) = (annotation(&[]), annotation(&[(0.0, 1.0, "A")]));
        let der = DiarizationErrorRate::default();
        assert_eq!(der.components(&none, &none, None).rate(), 0.0);
        assert_eq!(der.components(&none, &some, None).rate(), 1.0);
        assert_eq!(der.components(&some, &none, None).rate(), 1.0);
    }

    #[test]
    fn the_collar_is_the_whole_width() {
        let reference = annotation(&[(1.0, 2.0, "A")]);
        let der = DiarizationErrorRate {
            collar: 0.5,
            ..Default::default()
        };
        assert_eq!(der.components(&reference, &reference, None).total, 0.5);
        let none = DiarizationErrorRate {
            collar: f64::NAN,
            ..Default::default()
        };
        assert_eq!(none.components(&reference, &reference, None).total, 1.0);
    }
}
