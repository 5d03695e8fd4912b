//! The error of one stage against the reference.

use ndarray::{Array1, ArrayD};
use serde::Serialize;
use soundalike_network::Axes;
use statrs::statistics::Statistics;

use crate::{
    EXACT_R, Floors, LEAST_FLOOR,
    floors::{rms, rms_along},
};

/// The error of one stage of a candidate against the golden.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageError {
    /// Error over floor, both root mean square over the whole output. 1: as exact as the reference's f32.
    pub r: f64,
    /// The largest such ratio in one channel or one frame, whose floor is at least that of the whole.
    pub r_local: f64,
    /// Largest absolute error.
    pub max_abs: f64,
    /// Mean absolute error.
    pub mean_abs: f64,
    /// Root mean square error.
    pub rms_error: f64,
    /// Length of the error over the length of the golden.
    pub rel_l2: f64,
    /// Golden over error, in decibels of power.
    pub snr_db: f64,
    /// Pearson correlation of all values. It does not change with gain and offset.
    pub correlation: f64,
    /// Lower bound of the correlation of the reference's own f32, to first order: an error of length e lowers it by at most
    /// half of (e / length of the centred golden)^2.
    pub reference_correlation: f64,
    /// Root mean square of the candidate over that of the golden: the gain.
    pub rms_ratio: f64,
    /// Mean of the candidate less mean of the golden: the offset.
    pub mean_offset: f64,
    /// Frame with the largest error, where there are frames.
    pub worst_frame: Option<usize>,
    /// Channel with the largest error.
    pub worst_channel: usize,
    /// Values that are not finite where the golden is.
    pub non_finite: usize,
    /// As `r`, over the floor of a reference that rounds to the candidate's dtype. Only for a dtype below f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r_d: Option<f64>,
    /// The shape of the candidate, where it is not that of the golden, so that nothing else was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
    /// Index of the input with the largest `r`.
    pub worst_input: usize,
    /// Whether the rounding error of the reference is not known: `r` is then NaN.
    #[serde(skip)]
    pub without_floor: bool,
}

impl StageError {
    /// Compares `candidate` with `golden`, both with these axes. `r` is infinite where the shapes differ.
    #[must_use]
    pub fn new(
        candidate: &ArrayD<f64>,
        golden: &ArrayD<f64>,
        floors: &Floors,
        axes: &Axes,
    ) -> Self {
        if candidate.shape() != golden.shape() {
            return Self::of_another_shape(candidate.shape(), floors);
        }
        let error = candidate - golden;
        let (rms_error, size) = (rms(error.view()), rms(golden.view()));
        let floor = match floors.whole.is_nan() {
            true => f64::NAN,
            false => floors.whole.max(LEAST_FLOOR * size),
        };
        let slices = |axis: usize, floors: &Array1<f64>| -> Vec<(f64, f64)> {
            let errors = rms_along(&error, axis).into_iter().zip(floors);
            let slice = |(rms, slice): (f64, &f64)| (rms, ratio(rms, nan_max(*slice, floor)));
            errors.map(slice).collect()
        };
        let channels = slices(axes.channel(), &floors.channel);
        let frames = match (axes.frame(), &floors.frame) {
            (Some(axis), Some(floors)) => slices(axis, floors),
            _ => Vec::new(),
        };
        let odd = |(candidate, golden): &(&f64, &f64)| golden.is_finite() && !candidate.is_finite();
        let rel_l2 = ratio(rms_error, size);
        let own = ratio(floor, golden.iter().population_std_dev());
        let ratios = channels.iter().chain(&frames).map(|(_, r)| *r);
        Self {
            r: ratio(rms_error, floor),
            r_local: ratios.fold(0.0, nan_max),
            max_abs: largest(&error),
            mean_abs: error.iter().map(|x| x.abs()).sum::<f64>() / error.len().max(1) as f64,
            rms_error,
            rel_l2,
            snr_db: -20.0 * rel_l2.log10(),
            correlation: correlation(candidate, golden),
            reference_correlation: 1.0 - 0.5 * own.powi(2),
            rms_ratio: ratio(rms(candidate.view()), size),
            mean_offset: candidate.iter().mean() - golden.iter().mean(),
            worst_frame: worst(&frames),
            worst_channel: worst(&channels).unwrap_or_default(),
            non_finite: candidate.iter().zip(golden).filter(odd).count(),
            r_d: floors
                .low
                .map(|low| ratio(rms_error, low.max(LEAST_FLOOR * size))),
            shape: None,
            worst_input: 0,
            without_floor: floors.whole.is_nan(),
        }
    }

    /// The worst of each measure over several inputs: the largest, the smallest correlation and signal-to-noise ratio, the
    /// gain farthest from 1 and the offset farthest from 0. Mean errors are averaged, values that are not finite counted.
    /// Frame and channel are those of the input with the largest `r`. Inputs without a correlation are left out of the
    /// correlation. None of no inputs.
    pub(crate) fn pool(errors: Vec<Self>) -> Option<Self> {
        let worst = errors
            .iter()
            .reduce(|a, b| if nan_last(b.r) > nan_last(a.r) { b } else { a })?
            .clone();
        let correlations = errors
            .iter()
            .map(|error| (error.correlation, error.reference_correlation));
        let (correlation, reference_correlation) = least_correlation(correlations);
        let largest =
            |of: &dyn Fn(&Self) -> f64| errors.iter().map(of).fold(f64::NEG_INFINITY, nan_max);
        let farthest = |of: &dyn Fn(&Self) -> f64, distance: &dyn Fn(f64) -> f64| {
            let values = errors.iter().map(of);
            let far = |x: f64| nan_last(distance(x));
            values
                .reduce(|a, b| if far(b) > far(a) { b } else { a })
                .unwrap_or(f64::NAN)
        };
        Some(Self {
            r: largest(&|error| error.r),
            r_local: largest(&|error| error.r_local),
            max_abs: largest(&|error| error.max_abs),
            mean_abs: errors.iter().map(|error| error.mean_abs).sum::<f64>() / errors.len() as f64,
            rms_error: largest(&|error| error.rms_error),
            rel_l2: largest(&|error| error.rel_l2),
            snr_db: -largest(&|error| -error.snr_db),
            correlation,
            reference_correlation,
            rms_ratio: farthest(&|error| error.rms_ratio, &|x| x.ln().abs()),
            mean_offset: farthest(&|error| error.mean_offset, &f64::abs),
            non_finite: errors.iter().map(|error| error.non_finite).sum(),
            r_d: errors.iter().filter_map(|error| error.r_d).reduce(nan_max),
            ..worst
        })
    }

    /// Of a candidate with another `shape` than the golden.
    pub(crate) fn of_another_shape(shape: &[usize], floors: &Floors) -> Self {
        Self {
            r: f64::INFINITY,
            r_local: f64::INFINITY,
            max_abs: f64::NAN,
            mean_abs: f64::NAN,
            rms_error: f64::NAN,
            rel_l2: f64::NAN,
            snr_db: f64::NAN,
            correlation: f64::NAN,
            reference_correlation: f64::NAN,
            rms_ratio: f64::NAN,
            mean_offset: f64::NAN,
            worst_frame: None,
            worst_channel: 0,
            non_finite: 0,
            r_d: floors.low.map(|_| f64::NAN),
            shape: Some(shape.to_vec()),
            worst_input: 0,
            without_floor: false,
        }
    }
}

/// Pearson correlation; NaN where one side is constant.
pub(crate) fn correlation(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    a.iter().covariance(b.iter()) / (a.iter().std_dev() * b.iter().std_dev())
}

/// The smallest of several correlations, each paired with that of the reference's own f32. The second is that of the smallest
/// correlation that rounding does not explain, if any: the rounding of one input does not excuse another. NaN of none that
/// is a number.
pub(crate) fn least_correlation(found: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let least = |pairs: &[(f64, f64)]| pairs.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0));
    let numbers: Vec<_> = found.filter(|(found, _)| !found.is_nan()).collect();
    let excused = |&(found, own): &(f64, f64)| 1.0 - found < EXACT_R.powi(2) * (1.0 - own);
    let mut unexcused = numbers.clone();
    unexcused.retain(|pair| !excused(pair));
    let Some((correlation, own)) = least(&numbers) else {
        return (f64::NAN, f64::NAN);
    };
    (correlation, least(&unexcused).map_or(own, |(_, own)| own))
}

/// No error is 0 however low the floor; an error over no floor is infinite.
fn ratio(error: f64, floor: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / floor }
}

/// The larger; NaN if either is NaN.
#[must_use]
pub fn nan_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Largest absolute value; NaN if any is NaN.
pub(crate) fn largest(values: &ArrayD<f64>) -> f64 {
    values.iter().map(|x| x.abs()).fold(0.0, nan_max)
}

/// A key that orders NaN as the worst error.
fn nan_last(error: f64) -> f64 {
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Index of the slice with the largest error; the first of equals.
fn worst(slices: &[(f64, f64)]) -> Option<usize> {
    let key = |index: usize| nan_last(slices[index].0);
    (0..slices.len()).max_by(|a, b| key(*a).total_cmp(&key(*b)).then(b.cmp(a)))
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, array};
    use soundalike_network::Axis;

    use super::*;

    fn compare(candidate: &ArrayD<f64>, whole: f64) -> StageError {
        let axes = Axes::new(&[Axis::Batch, Axis::Channel, Axis::Time]);
        let golden = array![[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]].into_dyn();
        let floors = Floors {
            whole,
            channel: array![whole, whole],
            frame: Some(array![whole, whole, whole]),
            low: None,
        };
        StageError::new(candidate, &golden, &floors, &axes)
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn one_wrong_value_is_diluted_in_the_whole_and_seen_in_its_slice() {
        let found = compare(&array![[[1.0, 1.0, 1.0], [1.0, 1.0, 1.6]]].into_dyn(), 0.1);
        assert!(close(found.r, 6.0 / 6.0_f64.sqrt()), "{found:?}");
        // Two values in a frame, three in a channel: the frame is the worse.
        assert!(close(found.r_local, 6.0 / 2.0_f64.sqrt()), "{found:?}");
        assert_eq!((found.worst_channel, found.worst_frame), (1, Some(2)));
        assert!(
            close(found.max_abs, 0.6) && close(found.mean_abs, 0.1),
            "{found:?}"
        );
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
    fn a_gain_and_an_offset_are_seen() {
        let gain = compare(&array![[[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]].into_dyn(), 0.1);
        assert!(
            close(gain.rms_ratio, 2.0) && close(gain.mean_offset, 1.0),
            "{gain:?}"
        );
    }

    #[test]
    fn not_a_number_is_an_error_and_is_counted() {
        let found = compare(
            &array![[[1.0, 1.0, 1.0], [f64::NAN, 1.0, 1.0]]].into_dyn(),
            0.1,
        );
        assert!(
            found.r.is_nan() && found.r_local.is_nan() && found.max_abs.is_nan(),
            "{found:?}"
        );
        assert_eq!(
            (found.non_finite, found.worst_channel, found.worst_frame),
            (1, 1, Some(0))
        );
    }

    #[test]
    fn another_shape_is_infinitely_wrong() {
        let found = compare(&array![[[1.0, 1.0], [1.0, 1.0]]].into_dyn(), 0.1);
        assert_eq!((found.r, found.shape), (f64::INFINITY, Some(vec![1, 2, 2])));
    }

    #[test]
    fn several_inputs_show_the_worst_of_each_measure_and_name_the_worst_input() {
        let near = compare(&array![[[1.1, 1.1, 1.1], [1.1, 1.1, 1.1]]].into_dyn(), 0.1);
        let far = compare(&array![[[1.0, 1.0, 1.0], [1.0, 1.0, 0.4]]].into_dyn(), 0.1);
        let odd = compare(
            &array![[[1.0, 1.0, 1.0], [1.0, 1.0, f64::NAN]]].into_dyn(),
            0.1,
        );
        let numbered = |errors: &[&StageError]| {
            let errors = errors.iter().enumerate();
            let errors = errors.map(|(worst_input, error)| StageError {
                worst_input,
                ..(*error).clone()
            });
            StageError::pool(errors.collect()).unwrap()
        };
        let pooled = numbered(&[&near, &far]);
        assert_eq!((pooled.worst_input, pooled.r), (1, far.r));
        assert_eq!((pooled.worst_frame, pooled.r_local), (Some(2), far.r_local));
        assert!(
            close(pooled.rms_ratio, near.rms_ratio) && close(pooled.mean_abs, 0.1),
            "{pooled:?}"
        );
        let pooled = numbered(&[&near, &odd, &far]);
        assert_eq!((pooled.worst_input, pooled.non_finite), (1, 1));
        assert!(pooled.r.is_nan() && pooled.max_abs.is_nan(), "{pooled:?}");
        assert_eq!(StageError::pool(Vec::new()), None);
    }

    #[test]
    fn what_excuses_one_input_does_not_excuse_another() {
        let (excused, not) = ((1.0 - 1e-6, 1.0 - 1e-7), (1.0 - 5e-7, 1.0 - 1e-12));
        let pooled = |found: &[(f64, f64)]| least_correlation(found.iter().copied());
        assert_eq!(pooled(&[excused]), excused);
        assert_eq!(pooled(&[excused, not]), (excused.0, not.1));
        assert_eq!(pooled(&[(f64::NAN, 1.0), not]), not);
        assert!(pooled(&[(f64::NAN, 1.0)]).0.is_nan());
    }

    #[test]
    fn correlation_is_that_of_pearson() {
        // numpy.corrcoef([1, 2, 3, 5], [2, 1, 4, 6])[0, 1]
        let (a, b) = (
            array![1.0, 2.0, 3.0, 5.0].into_dyn(),
            array![2.0, 1.0, 4.0, 6.0].into_dyn(),
        );
        assert!(close(correlation(&a, &b), 0.902_243_638_678_106_1));
    }
}
