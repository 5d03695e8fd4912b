//! Decisions by scores, and their margins.

use std::cmp::Ordering;

use ndarray::{ArrayD, ArrayView1, ArrayView2, Axis, Ix2};
use serde::Serialize;

use super::{OutputAgreement, Sides};
use crate::{Decode, Meaning};

/// Edges of the histogram of margins: powers of ten, from the rounding of an f32 to certainty.
const MARGIN_EDGES: [f64; 7] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];

/// Agreement of the decisions, frame by frame. Near-ties count as equal.
///
/// A *near-tie* is a frame with another decision in which the golden's margin is at most twice the largest error of the
/// reference's own f32, so that rounding decides. (Not the candidate's error: a decision can only differ where the margin is
/// at most twice that, so every fault would be a near-tie.)
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decisions {
    /// Fraction of the frames with equal decisions.
    pub frame_agreement: f64,
    /// Number of near-ties.
    pub near_ties: usize,
    pub near_tie_frames: Vec<NearTie>,
    /// For each class, of the frames in which the golden decides for it, those in which the candidate does.
    pub per_class_agreement: Vec<FrameCount>,
    /// For each speaker, of all frames, those with equal activity. Empty where the classes are not of speakers.
    pub per_speaker_agreement: Vec<FrameCount>,
    /// Mean score of each class.
    pub per_class_mean: Sides<Vec<f64>>,
    /// Of the golden's decisions.
    pub margins: Margins,
    /// Frames with another decision, near-ties left out.
    #[serde(skip)]
    differing: usize,
}

/// A frame in which rounding decides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NearTie {
    /// Index of the input.
    pub input: usize,
    /// Frame of the window.
    pub frame: usize,
    /// Its middle in seconds from the start of the window; none where frames have no times.
    pub time: Option<f64>,
    /// Margin of the golden.
    pub margin: f64,
}

/// A number of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FrameCount {
    /// Those that agree.
    pub agreeing: usize,
    /// All of them.
    pub frames: usize,
}

impl FrameCount {
    fn count(&mut self, agrees: bool) {
        self.frames += 1;
        self.agreeing += usize::from(agrees);
    }
}

/// Margins of decisions: from the likeliest class to the second, or twice the distance of a probability to the threshold
/// (the distance to the probability of its opposite).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Margins {
    /// Edges of the bins.
    pub edges: Vec<f64>,
    /// Frames in each bin, one more than edges.
    pub frames: Vec<usize>,
    /// Frames with a margin of at most twice the candidate's largest error, which could change their decisions.
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
        let (frames, classes) = golden.dim();
        let mut found = Self {
            frame_agreement: 1.0,
            near_ties: 0,
            near_tie_frames: Vec::new(),
            per_class_agreement: vec![FrameCount::default(); classes],
            per_speaker_agreement: Vec::new(),
            per_class_mean: Sides::new(candidate, golden).map(means),
            margins: Margins {
                edges: MARGIN_EDGES.to_vec(),
                frames: vec![0; MARGIN_EDGES.len() + 1],
                flippable: 0,
            },
            differing: 0,
        };
        let speakers = Sides::new(candidate, golden).map(|scores| decode.active(scores));
        let speakers = speakers.transpose();
        let pairs = candidate.rows().into_iter().zip(golden.rows());
        for (frame, (ours, theirs)) in pairs.enumerate() {
            let decided = Sides::new(ours, theirs).map(|scores| decide(scores, meaning));
            // NaN decides nothing.
            let finite = ours.iter().all(|score| score.is_finite());
            let differs = |class: &usize| {
                !finite || decided.candidate.contains(class) != decided.reference.contains(class)
            };
            let differing: Vec<usize> = (0..classes).filter(differs).collect();
            found.margins.count(nearest(theirs, meaning), error);
            let mut tie = false;
            if !differing.is_empty() {
                let margin = crossed(theirs, &differing, meaning);
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
                found.per_class_agreement[*class].count(tie || !differs(class));
            }
            if let Some(Sides {
                candidate,
                reference,
            }) = &speakers
            {
                let shares = &mut found.per_speaker_agreement;
                shares.resize(reference.ncols(), FrameCount::default());
                for (speaker, share) in shares.iter_mut().enumerate() {
                    let place = [frame, speaker];
                    share.count(tie || (finite && candidate[place] == reference[place]));
                }
            }
        }
        found.frame_agreement = 1.0 - found.differing as f64 / frames.max(1) as f64;
        Some(found)
    }

    /// Over several inputs. None where one has none.
    pub(super) fn pool(outputs: &[&OutputAgreement]) -> Option<Self> {
        let mut parts = outputs.iter().enumerate().map(|(index, output)| {
            let mut decisions = output.decisions.clone()?;
            for tie in &mut decisions.near_tie_frames {
                tie.input = index;
            }
            Some((output.frames, decisions))
        });
        let (mut frames, mut pooled) = parts.next()??;
        for part in parts {
            let (more, other) = part?;
            let (weight, whole) = (frames as f64, (frames + more).max(1) as f64);
            let mix = |means: &mut Vec<f64>, others: &[f64]| {
                for (mean, other) in means.iter_mut().zip(others) {
                    *mean = (*mean * weight + other * more as f64) / whole;
                }
            };
            let (means, others) = (&mut pooled.per_class_mean, &other.per_class_mean);
            mix(&mut means.candidate, &others.candidate);
            mix(&mut means.reference, &others.reference);
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

impl Margins {
    /// Counts a frame; `error` is the largest error of the candidate.
    fn count(&mut self, margin: f64, error: f64) {
        self.frames[MARGIN_EDGES.partition_point(|edge| *edge <= margin)] += 1;
        // An error of NaN could change any decision.
        let certain = margin.partial_cmp(&(2.0 * error)) == Some(Ordering::Greater);
        self.flippable += usize::from(!certain);
    }
}

fn add(shares: &mut [FrameCount], others: &[FrameCount]) {
    for (share, other) in shares.iter_mut().zip(others) {
        share.frames += other.frames;
        share.agreeing += other.agreeing;
    }
}

/// `[frame, class]` of `[1, frame, class]`.
fn rows(scores: &ArrayD<f64>) -> Option<ArrayView2<'_, f64>> {
    let classes = *scores.shape().last()?;
    let frames = scores.len() / classes.max(1);
    let rows = scores.view().into_shape_with_order((frames, classes));
    rows.ok()?.into_dimensionality::<Ix2>().ok()
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

/// The smallest margin of a frame.
fn nearest(scores: ArrayView1<'_, f64>, meaning: Meaning) -> f64 {
    match meaning {
        Meaning::Above(threshold) => {
            let margins = scores.iter().map(|score| to_opposite(*score, threshold));
            margins.fold(f64::INFINITY, f64::min)
        }
        _ => likeliest(scores).1,
    }
}

/// The margin of a frame with other decisions of the classes `differing`.
fn crossed(scores: ArrayView1<'_, f64>, differing: &[usize], meaning: Meaning) -> f64 {
    match meaning {
        Meaning::Above(threshold) => {
            let margins = differing
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

/// The likeliest class (the first of equals) and its margin over the second.
fn likeliest(scores: ArrayView1<'_, f64>) -> (usize, f64) {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = class;
        }
    }
    let others = scores.iter().enumerate();
    let others = others.filter(|(class, _)| *class != best);
    let second = others.fold(f64::NEG_INFINITY, |second, (_, score)| second.max(*score));
    (best, scores[best] - second)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::decode::tests::AboveAHalf;

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
            FrameCount {
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
            FrameCount {
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
