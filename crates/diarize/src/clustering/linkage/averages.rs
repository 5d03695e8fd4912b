//! Clusters by the average distance of their members, which the means of unit vectors tell.

use std::collections::BTreeMap;

use ndarray::ArrayView1;
use rayon::prelude::*;

use super::{
    super::distances::number_of_pairs,
    generic::{AT_ONCE, Clusters},
};

/// The average cosine distance of the members of two clusters of unit vectors is 1 less the product of their means.
/// Pairs of whom the distance is known otherwise are few, and counted beside that.
pub(super) struct Averages {
    /// Of the members of each, `[cluster, dimension]`.
    means: Vec<f32>,
    dimension: usize,
    /// Members of each; 0 where a cluster is gone.
    sizes: Vec<usize>,
    /// By how much the distances between the members of each and of some others, all together, are more than what their
    /// vectors say.
    beyond: Vec<BTreeMap<usize, f64>>,
}

impl Averages {
    /// Each of `rows`, which are of one length, is a cluster. `known` are the distances of pairs.
    pub(super) fn new<'a>(
        rows: impl Iterator<Item = ArrayView1<'a, f32>>,
        known: impl IntoIterator<Item = ([usize; 2], f64)>,
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
            beyond: vec![BTreeMap::new(); observations],
        };
        for ([a, b], distance) in known {
            let beyond = distance - clusters.by_means(a, b);
            clusters.beyond[a].insert(b, beyond);
            clusters.beyond[b].insert(a, beyond);
        }
        clusters
    }

    /// The distance of each pair, of the first with those behind it, then of the second, ...
    pub(super) fn all_pairs(&self) -> Vec<f64> {
        let observations = self.observations();
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
    fn observations(&self) -> usize {
        self.sizes.len()
    }

    fn size(&self, cluster: usize) -> usize {
        self.sizes[cluster]
    }

    fn distance(&self, a: usize, b: usize) -> f64 {
        let beyond = self.beyond[a].get(&b).copied().unwrap_or_default();
        let pairs = self.sizes[a] as f64 * self.sizes[b] as f64;
        (self.by_means(a, b) + beyond / pairs).max(0.0)
    }

    fn merge(&mut self, a: usize, b: usize, _: f64) -> usize {
        let [size_a, size_b] = [self.sizes[a], self.sizes[b]].map(|size| size as f32);
        for value in 0..self.dimension {
            let of_a = self.means[a * self.dimension + value];
            let of_b = &mut self.means[b * self.dimension + value];
            *of_b = (size_a * of_a + size_b * *of_b) / (size_a + size_b);
        }
        for (other, beyond) in std::mem::take(&mut self.beyond[a]) {
            self.beyond[other].remove(&a);
            if other != b {
                *self.beyond[other].entry(b).or_default() += beyond;
                *self.beyond[b].entry(other).or_default() += beyond;
            }
        }
        self.sizes[b] += self.sizes[a];
        self.sizes[a] = 0;
        self.sizes[b]
    }
}

/// Of two vectors, in sums that do not wait for each other.
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
