//! How far one stage is from the reference, in units of the reference's own rounding.

use ndarray::{Array1, ArrayD, Axis};

use crate::{Floors, Stage};

/// The least floor, as a part of the golden's rms: half a unit in the last place of an f32. Where the
/// reference happens to hit the golden exactly, one rounding is still no error.
const LEAST_FLOOR: f64 = 1.0 / (1u64 << 25) as f64;

/// The error of one stage of a candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageError {
    /// Error over floor, both root mean square over the whole output. 1: as exact as the reference's f32.
    pub r: f64,
    /// The largest such ratio in one channel or one frame, whose floor is at least that of the whole.
    pub r_local: f64,
    /// Values that are not finite where the golden is.
    pub non_finite: usize,
}

impl StageError {
    /// Compares `candidate` with `golden`, both of the shape of `stage`.
    ///
    /// Candidate and golden of another shape than the stage's are infinitely far apart.
    #[must_use]
    pub fn new(
        candidate: &ArrayD<f64>,
        golden: &ArrayD<f64>,
        floors: &Floors,
        stage: &Stage,
    ) -> Self {
        if candidate.shape() != golden.shape() || golden.shape() != stage.shape {
            return Self {
                r: f64::INFINITY,
                r_local: f64::INFINITY,
                non_finite: 0,
            };
        }
        let error = candidate - golden;
        let floor = floors.whole.max(LEAST_FLOOR * rms(golden));
        let local = |axis: usize, floors: &Array1<f64>| {
            error
                .axis_iter(Axis(axis))
                .zip(floors)
                .map(|(error, slice)| ratio(rms(&error.to_owned()), slice.max(floor)))
                .fold(0.0, worse)
        };
        let channels = local(stage.channel_axis, &floors.channel);
        let frames = match (stage.frame_axis, &floors.frame) {
            (Some(axis), Some(floors)) => local(axis, floors),
            _ => 0.0,
        };
        let odd = |(candidate, golden): (&f64, &f64)| golden.is_finite() && !candidate.is_finite();
        Self {
            r: ratio(rms(&error), floor),
            r_local: worse(channels, frames),
            non_finite: candidate
                .iter()
                .zip(golden)
                .filter(|pair| odd(*pair))
                .count(),
        }
    }
}

/// Root mean square; 0 of nothing.
fn rms(values: &ArrayD<f64>) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// No error is 0 however low the floor; an error over no floor is infinite.
fn ratio(error: f64, floor: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / floor }
}

/// The larger, and NaN before anything.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, array};

    use super::*;

    fn stage() -> Stage {
        Stage {
            name: "x".into(),
            shape: vec![1, 2, 3],
            channel_axis: 1,
            frame_axis: Some(2),
            parts: Vec::new(),
            degenerate: false,
        }
    }

    fn compare(candidate: &ArrayD<f64>, whole: f64) -> StageError {
        let golden = array![[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]].into_dyn();
        let floors = Floors {
            whole,
            channel: array![whole, whole],
            frame: Some(array![whole, whole, whole]),
        };
        StageError::new(candidate, &golden, &floors, &stage())
    }

    #[test]
    fn one_wrong_value_is_diluted_in_the_whole_and_seen_in_its_slice() {
        let found = compare(&array![[[1.0, 1.0, 1.6], [1.0, 1.0, 1.0]]].into_dyn(), 0.1);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(found.r, 6.0 / 6.0_f64.sqrt()), "{found:?}");
        // Two values in a frame, three in a channel: the frame is the worse.
        assert!(close(found.r_local, 6.0 / 2.0_f64.sqrt()), "{found:?}");
    }

    #[test]
    fn a_floor_of_zero_still_allows_half_a_rounding() {
        let exact = compare(&array![[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]].into_dyn(), 0.0);
        assert_eq!((exact.r, exact.r_local), (0.0, 0.0));
        let half = 1.0 + LEAST_FLOOR;
        let rounded = compare(
            &array![[[half, half, half], [half, half, half]]].into_dyn(),
            0.0,
        );
        assert!((rounded.r - 1.0).abs() < 1e-6, "{rounded:?}");
    }

    #[test]
    fn not_a_number_is_an_error_and_is_counted() {
        let found = compare(
            &array![[[f64::NAN, 1.0, 1.0], [1.0, 1.0, 1.0]]].into_dyn(),
            0.1,
        );
        assert!(
            found.r.is_nan() && found.r_local.is_nan() && found.non_finite == 1,
            "{found:?}"
        );
    }

    #[test]
    fn another_shape_is_infinitely_wrong() {
        assert!(
            compare(&array![[[1.0, 1.0], [1.0, 1.0]]].into_dyn(), 0.1)
                .r
                .is_infinite()
        );
    }
}
