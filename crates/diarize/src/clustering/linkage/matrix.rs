//! Clusters with the distances of all pairs stored.

use std::ops::Range;

use super::generic::Clusters;

/// The distance of a third cluster to the merged one, from its distances to the two that merge, the distance between
/// these, and their sizes.
pub(super) type Update = fn(to_a: f64, to_b: f64, apart: f64, sizes: [f64; 2]) -> f64;

/// Distance to the centroid of all members. scipy `_hierarchy_distance_update.pxi`, `_centroid`.
pub(super) fn centroid(to_a: f64, to_b: f64, apart: f64, [a, b]: [f64; 2]) -> f64 {
    let squared =
        ((a * to_a * to_a + b * to_b * to_b) - (a * b * apart * apart) / (a + b)) / (a + b);
    squared.max(0.0).sqrt()
}

/// Distance to the midpoint of the two. scipy, as above, `_median`.
pub(super) fn median(to_a: f64, to_b: f64, apart: f64, _: [f64; 2]) -> f64 {
    let squared = 0.5 * (to_a * to_a + to_b * to_b) - 0.25 * apart * apart;
    squared.max(0.0).sqrt()
}

/// The distances of all pairs, updated as in scipy.
pub(super) struct Matrix {
    /// Of all pairs of observations; outdated if one of the two was merged.
    distances: Vec<f64>,
    /// See [`Clusters::sizes`].
    sizes: Vec<usize>,
    update: Update,
}

impl Matrix {
    /// `distances` of all pairs of `observations`, in the order of [`super::super::distances::euclidean_pairs`].
    pub(super) fn new(distances: Vec<f64>, observations: usize, update: Update) -> Self {
        Self {
            distances,
            sizes: vec![1; observations],
            update,
        }
    }

    fn place(&self, a: usize, b: usize) -> usize {
        let (a, b) = (a.min(b), a.max(b));
        self.sizes.len() * a - a * (a + 1) / 2 + (b - a - 1)
    }
}

impl Clusters for Matrix {
    fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    fn distance(&self, a: usize, b: usize) -> f64 {
        self.distances[self.place(a, b)]
    }

    /// Looking them up is faster on one thread.
    fn distances(&self, cluster: usize, range: Range<usize>, distances: &mut Vec<f64>) {
        distances.clear();
        distances.extend(range.map(|other| self.distance_to_rest(cluster, other)));
    }

    fn merge(&mut self, a: usize, b: usize, apart: f64) {
        let sizes = [self.sizes[a], self.sizes[b]].map(|size| size as f64);
        self.sizes[b] += std::mem::take(&mut self.sizes[a]);
        for other in (0..self.sizes.len()).filter(|other| *other != b) {
            if self.sizes[other] > 0 {
                let place = self.place(other, b);
                let to_a = self.distance(other, a);
                self.distances[place] = (self.update)(to_a, self.distances[place], apart, sizes);
            }
        }
    }
}
