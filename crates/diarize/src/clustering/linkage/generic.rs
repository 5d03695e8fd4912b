//! Generic linkage: a merged cluster may be nearer to others than its parts were.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    super::dendrogram::{Dendrogram, Merge},
    heap::Heap,
};

/// Clusters whose nearest neighbours are searched together, so that each other cluster is read from memory once.
const TOGETHER: usize = 16;
/// Fewest distances per thread.
pub(super) const AT_ONCE: usize = 64;

/// Clusters of observations and the distances between them. A cluster has the index of its last observation.
pub(super) trait Clusters: Sync {
    /// Size of the cluster at each observation, at least one of them; 0 if it was merged into another.
    fn sizes(&self) -> &[usize];

    /// The nearest of the clusters after each observation, before any merge.
    fn all_nearest(&self) -> Vec<(usize, f64)> {
        let observations = self.sizes().len();
        let firsts: Vec<usize> = (0..observations - 1).step_by(TOGETHER).collect();
        let nearest = firsts.into_par_iter().flat_map_iter(|first| {
            let clusters = first..(first + TOGETHER).min(observations - 1);
            let mut distances = vec![Vec::with_capacity(observations - first); clusters.len()];
            for other in first + 1..observations {
                for (cluster, distances) in clusters.clone().zip(&mut distances) {
                    if cluster < other {
                        distances.push(self.distance(cluster, other));
                    }
                }
            }
            let nearest =
                |(cluster, distances): (usize, Vec<f64>)| nearest(cluster + 1, &distances);
            clusters.zip(distances).map(nearest).collect::<Vec<_>>()
        });
        nearest.collect()
    }

    /// Distance between two clusters.
    fn distance(&self, a: usize, b: usize) -> f64;

    /// Distances from `cluster` to those in `range`; infinite for itself and for merged ones.
    fn distances(&self, cluster: usize, range: Range<usize>, distances: &mut Vec<f64>) {
        let others = range.into_par_iter().with_min_len(AT_ONCE);
        let distances_to = others.map(|other| self.distance_to_rest(cluster, other));
        distances_to.collect_into_vec(distances);
    }

    /// One of [`Self::distances`].
    fn distance_to_rest(&self, cluster: usize, other: usize) -> f64 {
        if other == cluster || self.sizes()[other] == 0 {
            f64::INFINITY
        } else {
            self.distance(cluster, other)
        }
    }

    /// Merges `a` into `b`, at the distance `apart`.
    fn merge(&mut self, a: usize, b: usize, apart: f64);
}

/// The first of the nearest clusters, and its distance. `distances` are those of the clusters from `first` on.
fn nearest(first: usize, distances: &[f64]) -> (usize, f64) {
    // The cluster at the last index is never gone: the one with the lower index is merged into the other.
    let last = first + distances.len() - 1;
    (first..)
        .zip(distances)
        .fold((last, f64::INFINITY), |nearest, (other, distance)| {
            if *distance < nearest.1 {
                (other, *distance)
            } else {
                nearest
            }
        })
}

/// Müllner's generic algorithm (arXiv:1109.2378, figure 3), in the order of scipy's `_hierarchy.fast_linkage`, which
/// decides between equal distances.
pub(super) fn linkage(mut clusters: impl Clusters) -> Dendrogram {
    let observations = clusters.sizes().len();
    // The nearest of the clusters after each; the distance of an outdated one is a lower bound.
    let (mut neighbours, bounds): (Vec<usize>, Vec<f64>) =
        clusters.all_nearest().into_iter().unzip();
    let mut queue = Heap::new(bounds);
    let mut numbers: Vec<usize> = (0..observations).collect();
    let mut merges = Vec::with_capacity(observations - 1);
    let mut distances = Vec::new();
    for number in observations..2 * observations - 1 {
        let (a, b, apart) = loop {
            let a = queue.first();
            let (b, bound) = (neighbours[a], queue.value(a));
            if clusters.distance(a, b) == bound {
                break (a, b, bound);
            }
            clusters.distances(a, a + 1..observations, &mut distances);
            let (neighbour, distance) = nearest(a + 1, &distances);
            neighbours[a] = neighbour;
            queue.change(a, distance);
        };
        queue.remove_first();
        clusters.merge(a, b, apart);
        let (left, right) = (numbers[a].min(numbers[b]), numbers[a].max(numbers[b]));
        numbers[b] = number;
        merges.push(Merge {
            left,
            right,
            height: apart,
            size: clusters.sizes()[b],
        });
        for neighbour in &mut neighbours[..a] {
            if *neighbour == a {
                *neighbour = b;
            }
        }
        clusters.distances(b, 0..observations, &mut distances);
        for (other, distance) in distances[..b].iter().enumerate() {
            if *distance < f64::INFINITY && *distance < queue.value(other) {
                neighbours[other] = b;
                queue.change(other, *distance);
            }
        }
        if b < observations - 1 {
            let (neighbour, distance) = nearest(b + 1, &distances[b + 1..]);
            neighbours[b] = neighbour;
            queue.change(b, distance);
        }
    }
    Dendrogram { merges }
}
