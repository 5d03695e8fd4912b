//! What of a tensor no order of its axes changes.

use ndarray::ArrayD;

/// Number of statistics.
const STATISTICS: usize = 8;

/// Symmetric functions of the values of a tensor, in units of its root mean square: equal for equal values in any order, and
/// changed by rounding as little as the values are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fingerprint {
    /// The root mean square.
    rms: f64,
    statistics: [f64; STATISTICS],
}

impl Fingerprint {
    /// Of `values`.
    pub(super) fn of(values: &ArrayD<f64>) -> Self {
        let count = values.len().max(1) as f64;
        let rms = crate::rms(values.view());
        let unit = if rms > 0.0 && rms.is_finite() {
            rms
        } else {
            1.0
        };
        let mut sums = [0.0; STATISTICS - 2];
        let (mut least, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            let x = value / unit;
            least = least.min(x);
            largest = largest.max(x);
            // Bounded functions: one outlier must not hide all others.
            let bounded = x / (1.0 + x.abs());
            let terms = [
                x,
                x.abs(),
                bounded,
                bounded * bounded,
                (3.0 * x).sin(),
                (5.0 * x).cos(),
            ];
            for (sum, term) in sums.iter_mut().zip(terms) {
                *sum += term;
            }
        }
        let mut statistics = [0.0; STATISTICS];
        for (statistic, sum) in statistics.iter_mut().zip(sums) {
            *statistic = sum / count;
        }
        statistics[STATISTICS - 2] = least;
        statistics[STATISTICS - 1] = largest;
        Self { rms, statistics }
    }

    /// How far `other` is, in units of this root mean square; at least as far apart as rounding puts equal tensors.
    pub(super) fn distance(&self, other: &Self) -> f64 {
        if self.rms == 0.0 {
            return if other.rms == 0.0 { 0.0 } else { f64::INFINITY };
        }
        let pairs = self.statistics.iter().zip(&other.statistics);
        let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let scale = (other.rms / self.rms - 1.0).abs();
        // NaN is no distance to sort by.
        if (largest + scale).is_nan() {
            f64::INFINITY
        } else {
            largest.max(scale)
        }
    }

    /// Whether all values are 0, or nearly equal: such tensors are equal to many.
    pub(super) fn is_constant(&self) -> bool {
        let [.., least, largest] = self.statistics;
        self.rms == 0.0 || largest - least < 1e-6
    }
}
