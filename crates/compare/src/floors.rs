//! The rounding error of the reference's own f32, the unit of all errors.

use ndarray::{Array1, ArrayD, ArrayViewD, Axis};
use soundalike_network::Axes;

/// Root mean square error of the f32 reference against the golden.
#[derive(Debug, Clone, PartialEq)]
pub struct Floors {
    /// Of the whole output.
    pub whole: f64,
    /// Of each channel.
    pub channel: Array1<f64>,
    /// Of each frame, where there are frames.
    pub frame: Option<Array1<f64>>,
    /// Of the whole output of a reference that rounds to the candidate's dtype, where that is below f32.
    pub low: Option<f64>,
}

impl Floors {
    /// The errors of `rounded`, whose axes are `axes`, against `golden`, both of one shape.
    #[must_use]
    pub fn new(rounded: &ArrayD<f64>, golden: &ArrayD<f64>, axes: &Axes) -> Self {
        let error = rounded - golden;
        Self {
            whole: rms(error.view()),
            channel: rms_along(&error, axes.channel()),
            frame: axes.frame().map(|axis| rms_along(&error, axis)),
            low: None,
        }
    }

    /// Of a reference whose rounding is not known, with outputs of this `shape`.
    pub(crate) fn unknown(shape: &[usize], axes: &Axes) -> Self {
        let along =
            |axis: usize| Array1::from_elem(shape.get(axis).copied().unwrap_or(1), f64::NAN);
        Self {
            whole: f64::NAN,
            channel: along(axes.channel()),
            frame: axes.frame().map(along),
            low: None,
        }
    }

    /// The larger of the floors of two equally good references, for the whole and for each slice.
    pub(crate) fn max(mut self, other: &Self) -> Self {
        let larger = |mine: &mut Array1<f64>, other: &Array1<f64>| {
            mine.zip_mut_with(other, |mine, other| *mine = mine.max(*other));
        };
        self.whole = self.whole.max(other.whole);
        larger(&mut self.channel, &other.channel);
        if let (Some(mine), Some(other)) = (&mut self.frame, &other.frame) {
            larger(mine, other);
        }
        self
    }
}

/// Root mean square; 0 of nothing.
#[must_use]
pub fn rms(values: ArrayViewD<'_, f64>) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// Root mean square of each slice along `axis`.
pub(crate) fn rms_along(values: &ArrayD<f64>, axis: usize) -> Array1<f64> {
    let mut sums = Array1::zeros(values.shape()[axis]);
    // Lane by lane in memory order: the slices of a late axis are scattered.
    let lanes = values.lanes(Axis(values.ndim() - 1));
    for (index, lane) in lanes.into_iter().enumerate() {
        if axis + 1 == values.ndim() {
            sums.zip_mut_with(&lane, |sum, x| *sum += x * x);
        } else {
            // Successive lanes with the same index along `axis`.
            let stride: usize = values.shape()[axis + 1..values.ndim() - 1].iter().product();
            sums[index / stride % values.shape()[axis]] += lane.dot(&lane);
        }
    }
    let count = values.len() / sums.len().max(1);
    sums.mapv_into(|sum: f64| (sum / count.max(1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    #[test]
    fn slices_are_those_of_the_axis() {
        let values = Array4::from_shape_fn((2, 3, 4, 5), |(a, b, c, d)| {
            ((a * 60 + b * 20 + c * 5 + d) as f64).sin()
        });
        let values = values.into_dyn();
        for axis in 0..4 {
            let expected: Vec<f64> = values.axis_iter(Axis(axis)).map(rms).collect();
            for (found, expected) in rms_along(&values, axis).iter().zip(expected) {
                // Another order of 24 to 60 f64 sums.
                assert!(
                    (found - expected).abs() < 1e-14,
                    "axis {axis}: {found} {expected}"
                );
            }
        }
    }
}
