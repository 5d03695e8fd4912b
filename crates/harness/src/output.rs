//! Agreement of the network's output.

use ndarray::{ArrayD, ArrayView1, Axis};
use statrs::statistics::Statistics;

/// How much two outputs `[batch, frame, class]` agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputAgreement {
    /// Pearson correlation of all values.
    pub correlation: f64,
    /// Part of the frames in which the same class is the likeliest, near-ties left out.
    pub frame_agreement: f64,
    /// Frames that differ, but in which the golden's two likeliest classes are no further apart than twice
    /// the largest error of the reference's own f32: rounding decides there. (Not the candidate's error: no
    /// decision can differ where the margin is more than twice that, so every fault would be a near-tie.)
    pub near_ties: usize,
}

impl OutputAgreement {
    /// Compares `candidate` with `golden`; `rounded` is the reference's own f32. All of equal shape.
    #[must_use]
    pub fn new(candidate: &ArrayD<f64>, golden: &ArrayD<f64>, rounded: &ArrayD<f32>) -> Self {
        let error = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs();
        let rounding = rounded.iter().zip(golden).map(error).fold(0.0, f64::max);
        let classes = Axis(golden.ndim() - 1);
        let (mut frames, mut differing, mut near_ties) = (0, 0, 0);
        for (ours, theirs) in candidate
            .lanes(classes)
            .into_iter()
            .zip(golden.lanes(classes))
        {
            frames += 1;
            if likeliest(ours).0 != likeliest(theirs).0 {
                if likeliest(theirs).1 > 2.0 * rounding {
                    differing += 1;
                } else {
                    near_ties += 1;
                }
            }
        }
        Self {
            correlation: correlation(candidate, golden),
            frame_agreement: 1.0 - f64::from(differing) / f64::from(frames.max(1)),
            near_ties,
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
        .filter(|(class, _)| *class != best)
        .map(|(_, score)| *score);
    (
        best,
        scores[best] - others.fold(f64::NEG_INFINITY, f64::max),
    )
}

/// Pearson correlation.
fn correlation(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    a.iter().covariance(b.iter()) / (a.iter().std_dev() * b.iter().std_dev())
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
    }

    #[test]
    fn correlation_is_that_of_pearson() {
        // numpy.corrcoef([1, 2, 3, 5], [2, 1, 4, 6])[0, 1]
        let (a, b) = (
            array![1.0, 2.0, 3.0, 5.0].into_dyn(),
            array![2.0, 1.0, 4.0, 6.0].into_dyn(),
        );
        assert!(
            (correlation(&a, &b) - 0.902_243_638_678_106_1).abs() < 1e-12,
            "{}",
            correlation(&a, &b)
        );
    }
}
