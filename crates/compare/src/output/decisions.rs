//! What is decided by scores, and how near it was to being decided otherwise.

use std::cmp::Ordering;

use ndarray::{ArrayD, ArrayView1, ArrayView2, Axis, Ix2};
use serde::Serialize;

use super::{OutputAgreement, Sides};
use crate::{Decode, Meaning};

/// Edges of the histogram of margins: powers of ten, from the size of an f32 rounding to no doubt at all.
const MARGIN_EDGES: [f64; 7] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];

/// How many decisions are alike, frame by frame. Near-ties count as alike.
///
/// A *near-tie* is a frame that is decided otherwise, but in which the golden's margin is no more than twice
/// the largest error of the reference's own f32: rounding decides there. (Not the candidate's error: no
/// decision can differ where the margin is more than twice that, so every fault would be a near-tie.)
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decisions {
    /// Part of the frames in which the same is decided.
    pub frame_agreement: f64,
    /// Number of near-ties.
    pub near_ties: usize,
    /// The near-ties.
    pub near_tie_frames: Vec<NearTie>,
    /// For each class, of the frames in which the golden decides for it, those in which the candidate does.
    pub per_class_agreement: Vec<Share>,
    /// For each speaker, of all frames, those in which both sides agree on whether they talk. Empty where it
    /// is not known what the classes mean.
    pub per_speaker_agreement: Vec<Share>,
    /// Mean score of each class.
    pub per_class_mean: Sides<Vec<f64>>,
    /// How near the golden's decisions are to others.
    pub margins: Margins,
    /// Frames that are decided otherwise, near-ties left out.
    #[serde(skip)]
    differing: usize,
}

/// A frame in which rounding decides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NearTie {
    /// Which of the inputs.
    pub input: usize,
    /// Frame of the window.
    pub frame: usize,
    /// Its middle in seconds from the start of the window; none where the frames have no known place.
    pub time: Option<f64>,
    /// By how much the golden is decided.
    pub margin: f64,
}

/// A part of some frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The part.
    pub agreeing: usize,
    /// The whole.
    pub frames: usize,
}

impl Share {
    fn count(&mut self, agrees: bool) {
        self.frames += 1;
        self.agreeing += usize::from(agrees);
    }

    fn add(&mut self, other: Self) {
        self.frames += other.frames;
        self.agreeing += other.agreeing;
    }
}

/// Distances of the golden's decisions from being others: of the likeliest class to the second, or twice
/// that of a probability to the threshold (which is that to the probability of its opposite).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Margins {
    /// Where one bin ends and the next begins.
    pub edges: Vec<f64>,
    /// Frames in each bin, one more than edges.
    pub frames: Vec<usize>,
    /// Frames that the candidate's largest error can decide otherwise: margins of no more than twice that.
    pub flippable: usize,
}

impl Decisions {
    /// Compares decisions; `rounding` and `error` are the largest errors of the reference's f32 and of the
    /// candidate. None where nothing is decided.
    pub(super) fn new(
        candidate: &ArrayD<f64>,
        golden: &ArrayD<f64>,
        rounding: f64,
        error: f64,
        decode: &dyn Decode,
    ) -> Option<Self> {
        let meaning = decode.meaning();
        if matches!(meaning, Meaning::Vectors | Meaning::Unknown) {
            return None;
        }
        let (candidate, golden) = (rows(candidate)?, rows(golden)?);
        let classes = golden.ncols();
        let mut found = Self {
            frame_agreement: 1.0,
            near_ties: 0,
            near_tie_frames: Vec::new(),
            per_class_agreement: vec![Share::default(); classes],
            per_speaker_agreement: Vec::new(),
            per_class_mean: Sides {
                candidate,
                reference: golden,
            }
            .map(means),
            margins: Margins {
                edges: MARGIN_EDGES.to_vec(),
                frames: vec![0; MARGIN_EDGES.len() + 1],
                flippable: 0,
            },
            differing: 0,
        };
        let speakers = Sides {
            candidate,
            reference: golden,
        }
        .map(|scores| decode.active(scores));
        let pairs = candidate.rows().into_iter().zip(golden.rows());
        for (frame, (ours, theirs)) in pairs.enumerate() {
            let decided = Sides {
                candidate: ours,
                reference: theirs,
            }
            .map(|scores| decide(scores, meaning));
            // NaN is never decided like a number.
            let finite = ours.iter().all(|score| score.is_finite());
            let differs: Vec<usize> = (0..classes)
                .filter(|class| {
                    !finite
                        || decided.candidate.contains(class) != decided.reference.contains(class)
                })
                .collect();
            let margin = nearest(theirs, meaning);
            let bin = MARGIN_EDGES.partition_point(|edge| *edge <= margin);
            found.margins.frames[bin] += 1;
            found.margins.flippable +=
                usize::from(margin.partial_cmp(&(2.0 * error)) != Some(Ordering::Greater));
            let mut tie = false;
            if !differs.is_empty() {
                let margin = crossed(theirs, &differs, meaning);
                tie = finite && margin <= 2.0 * rounding;
                if tie {
                    found.near_ties += 1;
                    found.near_tie_frames.push(NearTie {
                        input: 0,
                        frame,
                        time: decode.middle(frame),
                        margin,
                    });
                } else {
                    found.differing += 1;
                }
            }
            for class in &decided.reference {
                found.per_class_agreement[*class].count(tie || !differs.contains(class));
            }
            if let (Some(ours), Some(theirs)) = (&speakers.candidate, &speakers.reference) {
                found
                    .per_speaker_agreement
                    .resize(theirs.ncols(), Share::default());
                for (speaker, share) in found.per_speaker_agreement.iter_mut().enumerate() {
                    let alike = finite && ours[[frame, speaker]] == theirs[[frame, speaker]];
                    share.count(tie || alike);
                }
            }
        }
        found.frame_agreement = 1.0 - found.differing as f64 / golden.nrows().max(1) as f64;
        Some(found)
    }

    /// Over several inputs. None where one has none.
    pub(super) fn pool(outputs: &[&OutputAgreement]) -> Option<Self> {
        let mut parts = outputs.iter().enumerate().map(|(index, output)| {
            let mut decisions = output.decisions.clone()?;
            decisions
                .near_tie_frames
                .iter_mut()
                .for_each(|tie| tie.input = index);
            Some((output.frames, decisions))
        });
        let (mut frames, mut pooled) = parts.next()??;
        for part in parts {
            let (more, other) = part?;
            let (weight, whole) = (frames as f64, (frames + more).max(1) as f64);
            let mix = |a: &mut Vec<f64>, b: &[f64]| {
                for (a, b) in a.iter_mut().zip(b) {
                    *a = (*a * weight + b * more as f64) / whole;
                }
            };
            mix(
                &mut pooled.per_class_mean.candidate,
                &other.per_class_mean.candidate,
            );
            mix(
                &mut pooled.per_class_mean.reference,
                &other.per_class_mean.reference,
            );
            add(&mut pooled.per_class_agreement, &other.per_class_agreement);
            add(
                &mut pooled.per_speaker_agreement,
                &other.per_speaker_agreement,
            );
            for (a, b) in pooled.margins.frames.iter_mut().zip(&other.margins.frames) {
                *a += b;
            }
            pooled.margins.flippable += other.margins.flippable;
            pooled.near_ties += other.near_ties;
            pooled.near_tie_frames.extend(other.near_tie_frames);
            pooled.differing += other.differing;
            frames += more;
        }
        pooled.frame_agreement = 1.0 - pooled.differing as f64 / frames.max(1) as f64;
        Some(pooled)
    }
}

fn add(shares: &mut [Share], others: &[Share]) {
    for (share, other) in shares.iter_mut().zip(others) {
        share.add(*other);
    }
}

/// `[frame, class]` of `[1, frame, class]`.
fn rows(scores: &ArrayD<f64>) -> Option<ArrayView2<'_, f64>> {
    let classes = *scores.shape().last()?;
    let frames = scores.len() / classes.max(1);
    scores
        .view()
        .into_shape_with_order((frames, classes))
        .ok()?
        .into_dimensionality::<Ix2>()
        .ok()
}

fn means(scores: ArrayView2<'_, f64>) -> Vec<f64> {
    let classes = scores.axis_iter(Axis(1));
    classes
        .map(|class| class.mean().unwrap_or(f64::NAN))
        .collect()
}

/// The classes that are decided for: the likeliest (the first of equals), or those above the threshold.
fn decide(scores: ArrayView1<'_, f64>, meaning: Meaning) -> Vec<usize> {
    match meaning {
        Meaning::Above(threshold) => (0..scores.len())
            .filter(|class| scores[*class] > threshold)
            .collect(),
        _ => vec![likeliest(scores).0],
    }
}

/// By how much the nearest other decision was missed.
fn nearest(scores: ArrayView1<'_, f64>, meaning: Meaning) -> f64 {
    match meaning {
        Meaning::Above(threshold) => scores
            .iter()
            .map(|score| to_opposite(*score, threshold))
            .fold(f64::INFINITY, f64::min),
        _ => likeliest(scores).1,
    }
}

/// The margin of a frame in which `differs` were decided otherwise.
fn crossed(scores: ArrayView1<'_, f64>, differs: &[usize], meaning: Meaning) -> f64 {
    match meaning {
        Meaning::Above(threshold) => {
            let margins = differs
                .iter()
                .map(|class| to_opposite(scores[*class], threshold));
            margins.fold(0.0, f64::max)
        }
        _ => likeliest(scores).1,
    }
}

/// From a probability to that of its opposite.
fn to_opposite(probability: f64, threshold: f64) -> f64 {
    2.0 * (probability - threshold).abs()
}

/// The likeliest class (the first of equals) and by how much it beats the second.
fn likeliest(scores: ArrayView1<'_, f64>) -> (usize, f64) {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = class;
        }
    }
    let others = scores
        .iter()
        .enumerate()
        .filter(|(class, _)| *class != best);
    let second = others
        .map(|(_, score)| *score)
        .fold(f64::NEG_INFINITY, f64::max);
    (best, scores[best] - second)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    /// Speakers who are active where their score is above a half, in frames of a second.
    struct AboveAHalf;

    impl Decode for AboveAHalf {
        fn meaning(&self) -> Meaning {
            Meaning::Above(0.5)
        }

        fn middle(&self, frame: usize) -> Option<f64> {
            Some(frame as f64 + 0.5)
        }

        fn active(&self, scores: ArrayView2<'_, f64>) -> Option<Array2<bool>> {
            Some(scores.mapv(|score| score > 0.5))
        }
    }

    fn compare(
        candidate: &ArrayD<f64>,
        golden: &ArrayD<f64>,
        rounded: &ArrayD<f64>,
        decode: &dyn Decode,
    ) -> OutputAgreement {
        OutputAgreement::new(candidate, golden, rounded, 1.0, decode)
    }

    #[test]
    fn a_flip_within_the_rounding_of_the_reference_is_a_near_tie_and_beyond_it_a_difference() {
        let golden = array![[[0.0, 0.1], [0.0, 3.0]]].into_dyn();
        let rounded = array![[[0.06, 0.1], [0.0, 3.0]]].into_dyn();
        let tie = array![[[0.1, 0.0], [0.0, 3.0]]].into_dyn();
        let tie = compare(&tie, &golden, &rounded, &Meaning::Likeliest);
        let decisions = tie.decisions.clone().unwrap();
        assert_eq!((decisions.frame_agreement, decisions.near_ties), (1.0, 1));
        assert_eq!(decisions.near_tie_frames[0].frame, 0);
        let wrong = array![[[0.0, 0.1], [3.0, 0.0]]].into_dyn();
        let wrong = compare(&wrong, &golden, &rounded, &Meaning::Likeliest);
        let decisions = wrong.decisions.clone().unwrap();
        assert_eq!((decisions.frame_agreement, decisions.near_ties), (0.5, 0));
        assert_eq!(
            decisions.per_class_agreement[1],
            Share {
                agreeing: 1,
                frames: 2
            }
        );
        assert_eq!(decisions.per_class_mean.reference, [0.0, 1.55]);
        assert_eq!(wrong.ranges.candidate, (0.0, 3.0));
        // Both margins, 0.1 and 3, are within twice the error of 3.
        assert_eq!(
            (decisions.margins.flippable, decisions.margins.frames[5]),
            (2, 1)
        );

        let both = OutputAgreement::pool([Some(&tie), Some(&wrong)].into_iter()).unwrap();
        let decisions = both.decisions.unwrap();
        assert_eq!((decisions.frame_agreement, decisions.near_ties), (0.75, 1));
        assert_eq!((both.frames, both.max_abs), (4, 3.0));
        assert_eq!(OutputAgreement::pool([Some(&tie), None].into_iter()), None);
    }

    #[test]
    fn probabilities_are_decided_one_by_one() {
        let golden = array![[[0.9, 0.51], [0.1, 0.49]]].into_dyn();
        // A near-tie in one class does not excuse another.
        let candidate = array![[[0.2, 0.49], [0.1, 0.51]]].into_dyn();
        let rounded = array![[[0.9, 0.52], [0.1, 0.49]]].into_dyn();
        let found = compare(&candidate, &golden, &rounded, &AboveAHalf);
        let decisions = found.decisions.unwrap();
        assert_eq!((decisions.frame_agreement, decisions.near_ties), (0.5, 1));
        assert_eq!(decisions.near_tie_frames[0].time, Some(1.5));
        assert_eq!(
            decisions.per_speaker_agreement[0],
            Share {
                agreeing: 1,
                frames: 2
            }
        );
    }

    #[test]
    fn not_a_number_is_never_decided_alike() {
        let golden = array![[[0.0, -1.0]]].into_dyn();
        let candidate = array![[[f64::NAN, -1.0]]].into_dyn();
        let found = compare(&candidate, &golden, &golden, &Meaning::Likeliest);
        assert_eq!(found.frame_agreement(), Some(0.0));
        assert!(found.max_abs.is_nan());
    }
}
