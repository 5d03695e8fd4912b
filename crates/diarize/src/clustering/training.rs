//! The local speakers with reliable embeddings, which form the clusters.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayView3, Axis, s};

use crate::count::alone;

/// Fraction of a window in which a local speaker must talk alone. pyannote.audio
/// `BaseClustering.filter_embeddings(min_active_ratio=0.2)`.
pub(crate) const MIN_ALONE_RATIO: f64 = 0.2;

/// The embeddings of local speakers who talk alone for long enough.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainingSet {
    /// Window and local speaker of each embedding, in this order.
    pub locals: Vec<(usize, usize)>,
    /// The embeddings, not normalised, `[local, dimension]`.
    pub embeddings: Array2<f32>,
}

impl TrainingSet {
    /// Chooses from `embeddings` `[window, local speaker, dimension]` by `activity` `[window, frame, local speaker]` of 0
    /// and 1. Embeddings without a direction (infinite, NaN or zero) are dropped; the original drops NaN and fails on
    /// the others.
    #[must_use]
    pub fn new(embeddings: ArrayView3<'_, f32>, activity: ArrayView3<'_, f32>) -> Self {
        let (windows, frames, speakers) = activity.dim();
        // In f32, as numpy compares an f32 array with a Python float.
        let enough = (MIN_ALONE_RATIO * frames as f64) as f32;
        let mut locals = Vec::new();
        for window in 0..windows {
            let active = activity.index_axis(Axis(0), window);
            let alone = alone(active);
            for speaker in 0..speakers {
                let clear = alone.column(speaker).sum() >= enough;
                let length = length(embeddings.slice(s![window, speaker, ..]));
                if clear && length.is_finite() && length > 0.0 {
                    locals.push((window, speaker));
                }
            }
        }
        let mut kept = Array2::zeros((locals.len(), embeddings.dim().2));
        for ((window, speaker), mut row) in locals.iter().zip(kept.rows_mut()) {
            row.assign(&embeddings.slice(s![*window, *speaker, ..]));
        }
        Self {
            locals,
            embeddings: kept,
        }
    }
}

/// The rows scaled to length 1. `embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)` in f32.
#[must_use]
pub fn unit_length(embeddings: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut unit = embeddings.to_owned();
    for mut row in unit.rows_mut() {
        let length = length(row.view());
        row /= length;
    }
    unit
}

/// The mean of the rows of each cluster, `[cluster, dimension]`, summed from first to last in f32 as
/// `np.mean(embeddings[labels == k], axis=0)`; NaN for a cluster without rows.
pub(crate) fn means(
    embeddings: ArrayView2<'_, f32>,
    labels: &[usize],
    clusters: usize,
) -> Array2<f32> {
    let mut sums = Array2::zeros((clusters, embeddings.ncols()));
    let mut members = Array1::<f32>::zeros(clusters);
    for (row, label) in embeddings.rows().into_iter().zip(labels) {
        let mut sum = sums.row_mut(*label);
        sum += &row;
        members[*label] += 1.0;
    }
    sums / members.insert_axis(Axis(1))
}

/// Euclidean length in f32, with numpy's rounding.
fn length(row: ArrayView1<'_, f32>) -> f32 {
    let squares: Vec<f32> = row.iter().map(|value| value * value).collect();
    pairwise_sum(&squares).sqrt()
}

/// The sum in numpy's order for contiguous values: eight partial sums within a block of up to 128, and recursive halves
/// above. numpy `loops_utils.h.src`, `pairwise_sum`.
fn pairwise_sum(values: &[f32]) -> f32 {
    const SUMS: usize = 8;
    const BLOCK: usize = 128;
    if values.len() < SUMS {
        return values.iter().sum();
    }
    if values.len() > BLOCK {
        let half = values.len() / 2 / SUMS * SUMS;
        return pairwise_sum(&values[..half]) + pairwise_sum(&values[half..]);
    }
    let (eights, rest) = values.as_chunks::<SUMS>();
    let mut sums = eights[0];
    for eight in &eights[1..] {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += value;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let whole = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(whole, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_have_the_rounding_of_numpy() {
        // np.sum(1 / np.arange(1, n + 1, dtype=np.float32) * np.float32(0.1) + np.float32(0.3)): one block, and its halves.
        for (n, bits) in [
            (140, 1_110_062_464),
            (300, 1_119_175_084),
            (1000, 1_133_928_401),
        ] {
            let values: Vec<f32> = (1..=n).map(|i| 1.0 / i as f32 * 0.1 + 0.3).collect();
            assert_eq!(pairwise_sum(&values).to_bits(), bits, "{n} values");
        }
    }
}
