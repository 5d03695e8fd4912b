//! What of a tensor no order of its axes changes.

use ndarray::ArrayD;

/// Number of statistics.
const STATISTICS: usize = 8;
/// Number of sums side by side.
const LANES: usize = 8;

/// Symmetric functions of the values of a tensor, in units of its root mean square: equal for equal values in any order, and
/// changed by rounding as little as the values are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fingerprint {
    /// The root mean square.
    rms: f64,
    /// Whether there is one value only.
    is_single: bool,
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
        let per_unit = 1.0 / unit;
        // Several sums side by side, so that they are computed at once.
        let mut sums = [[0.0; STATISTICS - 2]; LANES];
        let (mut least, mut largest) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
        let mut add = |lane: usize, value: f64| {
            let x = value * per_unit;
            least[lane] = least[lane].min(x);
            largest[lane] = largest[lane].max(x);
            // Bounded functions: one outlier must not hide all others.
            let bounded = x / (1.0 + x.abs());
            let bell = |centre: f64| 1.0 / (1.0 + 4.0 * (x - centre) * (x - centre));
            let terms = [
                x,
                x.abs(),
                bounded,
                bounded * bounded,
                bell(0.7),
                bell(-0.7),
            ];
            for (sum, term) in sums[lane].iter_mut().zip(terms) {
                *sum += term;
            }
        };
        // In the order of memory: any order gives the same statistics, but for rounding.
        match values.as_slice_memory_order() {
            Some(values) => {
                let (chunks, rest) = values.as_chunks::<LANES>();
                for chunk in chunks {
                    for (lane, value) in chunk.iter().enumerate() {
                        add(lane, *value);
                    }
                }
                rest.iter().for_each(|value| add(0, *value));
            }
            None => values.iter().for_each(|value| add(0, *value)),
        }
        let mut total = [0.0; STATISTICS - 2];
        for lane in &sums {
            for (total, sum) in total.iter_mut().zip(lane) {
                *total += sum;
            }
        }
        let sums = total;
        let least = least.into_iter().fold(f64::INFINITY, f64::min);
        let largest = largest.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let mut statistics = [0.0; STATISTICS];
        for (statistic, sum) in statistics.iter_mut().zip(sums) {
            *statistic = sum / count;
        }
        statistics[STATISTICS - 2] = least;
        statistics[STATISTICS - 1] = largest;
        Self {
            rms,
            is_single: values.len() == 1,
            statistics,
        }
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
        self.rms == 0.0 || (!self.is_single && largest - least < 1e-6)
    }

    /// Whether there is one value only, so that chance may bring another one near.
    pub(super) fn is_single(&self) -> bool {
        self.is_single
    }
}
