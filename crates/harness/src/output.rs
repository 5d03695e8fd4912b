//! Agreement of the network's output.

use ndarray::{ArrayD, ArrayView1, ArrayView3, Axis, Ix3};
use serde::Serialize;
use soundalike_diarize::{frames::FrameGrid, powerset::Powerset, turns::to_annotation};
use soundalike_metrics::{Components, DiarizationErrorRate};

use crate::error::correlation;

/// How much two outputs `[batch, frame, class]` agree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputAgreement {
    /// Pearson correlation of all values.
    pub correlation: f64,
    /// Part of the frames in which the same class is the likeliest, near-ties left out.
    pub frame_agreement: f64,
    /// Frames that differ, but in which the golden's two likeliest classes are no further apart than twice
    /// the largest error of the reference's own f32: rounding decides there. (Not the candidate's error: no
    /// decision can differ where the margin is more than twice that, so every fault would be a near-tie.)
    pub near_ties: usize,
    /// Frames compared.
    pub frames: usize,
    /// Largest absolute error.
    pub max_abs: f64,
    /// Mean over frames of the length of the error.
    pub mean_l2: f64,
    /// Smallest and largest value.
    pub ranges: Sides<(f64, f64)>,
    /// Mean of each class.
    pub per_class_mean: Sides<Vec<f64>>,
}

/// Something of either side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sides<T> {
    /// Of the candidate.
    pub candidate: T,
    /// Of the golden.
    pub reference: T,
}

impl OutputAgreement {
    /// Compares `candidate` with `golden`; `rounded` is the reference's own f32. All of equal shape.
    #[must_use]
    pub fn new(candidate: &ArrayD<f64>, golden: &ArrayD<f64>, rounded: &ArrayD<f32>) -> Self {
        let error = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs();
        let rounding = rounded.iter().zip(golden).map(error).fold(0.0, f64::max);
        let classes = Axis(golden.ndim() - 1);
        let difference = candidate - golden;
        let (mut frames, mut differing, mut near_ties, mut lengths) = (0, 0, 0, 0.0);
        let lanes = candidate
            .lanes(classes)
            .into_iter()
            .zip(golden.lanes(classes));
        for ((ours, theirs), difference) in lanes.zip(difference.lanes(classes)) {
            frames += 1;
            lengths += difference.dot(&difference).sqrt();
            if likeliest(ours).0 != likeliest(theirs).0 {
                if likeliest(theirs).1 > 2.0 * rounding {
                    differing += 1;
                } else {
                    near_ties += 1;
                }
            }
        }
        let sides = |of: &dyn Fn(&ArrayD<f64>) -> (f64, f64)| Sides {
            candidate: of(candidate),
            reference: of(golden),
        };
        let range = |values: &ArrayD<f64>| {
            let widen = |(low, high): (f64, f64), x: &f64| (low.min(*x), high.max(*x));
            values
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), widen)
        };
        let means = |values: &ArrayD<f64>| {
            let classes = values.axis_iter(classes);
            classes
                .map(|class| class.mean().unwrap_or(f64::NAN))
                .collect()
        };
        Self {
            correlation: correlation(candidate, golden),
            frame_agreement: 1.0 - differing as f64 / frames.max(1) as f64,
            near_ties,
            frames,
            max_abs: difference.iter().map(|x| x.abs()).fold(0.0, f64::max),
            mean_l2: lengths / frames.max(1) as f64,
            ranges: sides(&range),
            per_class_mean: Sides {
                candidate: means(candidate),
                reference: means(golden),
            },
        }
    }
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

/// The diarization error rate between what the two outputs, log-probabilities `[batch, frame, set]` of the
/// sets of `powerset`, are decoded to. `grid` says where the frames of a window are.
///
/// `None` where the outputs have another shape.
#[must_use]
pub(crate) fn task(
    candidate: &ArrayD<f64>,
    golden: &ArrayD<f64>,
    powerset: &Powerset,
    grid: &FrameGrid,
) -> Option<Components> {
    let shaped = |scores: &ArrayD<f64>| {
        let scores = scores
            .mapv(|x| x as f32)
            .into_dimensionality::<Ix3>()
            .ok()?;
        (scores.dim().2 == powerset.num_classes()).then_some(scores)
    };
    let decode = |scores: ArrayView3<'_, f32>| -> Vec<_> {
        let windows = scores.outer_iter();
        windows
            .map(|window| {
                let active = powerset.decode(window).mapv(|active| active > 0.0);
                to_annotation(active.view(), grid, "window")
            })
            .collect()
    };
    let (candidate, golden) = (
        decode(shaped(candidate)?.view()),
        decode(shaped(golden)?.view()),
    );
    let metric = DiarizationErrorRate::default();
    let windows = golden.iter().zip(&candidate);
    Some(
        windows
            .map(|(golden, candidate)| metric.components(golden, candidate, None))
            .sum(),
    )
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_flip_within_the_rounding_of_the_reference_is_a_near_tie_and_beyond_it_a_difference() {
        let golden = array![[[0.0, 0.1], [0.0, 3.0]]].into_dyn();
        let rounded = array![[[0.06_f32, 0.1], [0.0, 3.0]]].into_dyn();
        let tie = OutputAgreement::new(
            &array![[[0.1, 0.0], [0.0, 3.0]]].into_dyn(),
            &golden,
            &rounded,
        );
        assert_eq!((tie.frame_agreement, tie.near_ties), (1.0, 1));
        let wrong = OutputAgreement::new(
            &array![[[0.0, 0.1], [3.0, 0.0]]].into_dyn(),
            &golden,
            &rounded,
        );
        assert_eq!((wrong.frame_agreement, wrong.near_ties), (0.5, 0));
        assert_eq!(wrong.per_class_mean.reference, [0.0, 1.55]);
        assert_eq!(wrong.ranges.candidate, (0.0, 3.0));
    }

    #[test]
    fn the_task_is_scored_on_what_is_decoded() {
        let powerset = Powerset::new(2, 1);
        let grid = FrameGrid {
            duration: 1.0,
            step: 1.0,
            window_duration: 4.0,
            window_step: 1.0,
        };
        // Golden: speaker 0 in frames 0 and 1, speaker 1 in frame 2. Candidate: nobody in frame 1.
        let golden = array![[
            [-9.0, 0.0, -9.0],
            [-9.0, 0.0, -9.0],
            [-9.0, -9.0, 0.0],
            [0.0, -9.0, -9.0]
        ]]
        .into_dyn();
        let mut candidate = golden.clone();
        candidate[[0, 1, 0]] = 1.0;
        let error = task(&candidate, &golden, &powerset, &grid).unwrap();
        assert_eq!((error.missed_detection, error.total), (1.0, 3.0));
        assert_eq!(task(&candidate, &golden, &Powerset::new(3, 2), &grid), None);
    }
}
