//! Average cosine distances, from the means of unit vectors.

use std::collections::BTreeMap;

use ndarray::ArrayView1;
use rayon::prelude::*;

use super::{
    super::distances::number_of_pairs,
    generic::{AT_ONCE, Clusters},
};

/// Clusters of unit vectors: the average cosine distance of two is 1 minus the dot product of their means. Overridden pair
/// distances are sparse and kept as corrections.
pub(super) struct Averages {
    /// Mean of each cluster, `[cluster, dimension]`.
    means: Vec<f32>,
    dimension: usize,
    /// See [`Clusters::sizes`].
    sizes: Vec<usize>,
    /// Correction for each cluster and some others: the sum over pairs of members of the overridden distance minus the
    /// cosine distance.
    corrections: Vec<BTreeMap<usize, f64>>,
}

impl Averages {
    /// Each of `rows`, all of one dimension, is a cluster. `overrides` are the distances of some pairs.
    pub(super) fn new<'a>(
        rows: impl Iterator<Item = ArrayView1<'a, f32>>,
        overrides: impl IntoIterator<Item = ([usize; 2], f64)>,
    ) -> Self {
        let (mut means, mut dimension, mut observations) = (Vec::new(), 0, 0);
        for row in rows {
            means.extend(row);
            dimension = row.len();
            observations += 1;
        }
        let mut clusters = Self {
            means,
            dimension,
            sizes: vec![1; observations],
            corrections: vec![BTreeMap::new(); observations],
        };
        for ([a, b], distance) in overrides {
            let correction = distance - clusters.by_means(a, b);
            clusters.corrections[a].insert(b, correction);
            clusters.corrections[b].insert(a, correction);
        }
        clusters
    }

    /// The distance of each pair, in the order of [`super::super::distances::euclidean_pairs`].
    pub(super) fn all_pairs(&self) -> Vec<f64> {
        let observations = self.sizes.len();
        let mut pairs = Vec::with_capacity(number_of_pairs(observations));
        for a in 0..observations {
            let behind = (a + 1..observations).into_par_iter();
            pairs.par_extend(behind.with_min_len(AT_ONCE).map(|b| self.distance(a, b)));
        }
        pairs
    }

    fn mean(&self, cluster: usize) -> &[f32] {
        &self.means[cluster * self.dimension..][..self.dimension]
    }

    fn by_means(&self, a: usize, b: usize) -> f64 {
        1.0 - f64::from(product(self.mean(a), self.mean(b)))
    }
}

impl Clusters for Averages {
    fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    fn distance(&self, a: usize, b: usize) -> f64 {
        let correction = self.corrections[a].get(&b).copied().unwrap_or_default();
        let pairs = self.sizes[a] as f64 * self.sizes[b] as f64;
        (self.by_means(a, b) + correction / pairs).max(0.0)
    }

    fn merge(&mut self, a: usize, b: usize, _: f64) {
        let [size_a, size_b] = [self.sizes[a], self.sizes[b]].map(|size| size as f32);
        for value in 0..self.dimension {
            let of_a = self.means[a * self.dimension + value];
            let of_b = &mut self.means[b * self.dimension + value];
            *of_b = (size_a * of_a + size_b * *of_b) / (size_a + size_b);
        }
        for (other, correction) in std::mem::take(&mut self.corrections[a]) {
            self.corrections[other].remove(&a);
            if other != b {
                *self.corrections[other].entry(b).or_default() += correction;
                *self.corrections[b].entry(other).or_default() += correction;
            }
        }
        self.sizes[b] += std::mem::take(&mut self.sizes[a]);
    }
}

/// Dot product, in independent partial sums.
fn product(a: &[f32], b: &[f32]) -> f32 {
    const SUMS: usize = 16;
    let mut sums = [0.0; SUMS];
    let (a, b) = (a.chunks_exact(SUMS), b.chunks_exact(SUMS));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    rest + sums.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_product_has_every_term_once() {
        for len in 0..=50_u16 {
            let a: Vec<f32> = (0..len).map(f32::from).collect();
            let b: Vec<f32> = (0..len).map(|i| f32::from(i % 3) - 1.0).collect();
            // Small integers, whose sums are exact.
            let golden: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(product(&a, &b), golden, "{len} values");
        }
    }
}
