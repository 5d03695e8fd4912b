//! Linkage where a merged cluster can be nearer to others than its parts were.

use super::{
    super::dendrogram::{Dendrogram, Merge},
    heap::Heap,
};

/// The distance of a third cluster to two that merge, from its distance to the one and to the other, their
/// distance to one another, and the sizes of the two.
pub(super) type Update = fn(to_a: f64, to_b: f64, apart: f64, sizes: [f64; 2]) -> f64;

/// Distance to the centroid of all members. scipy `_hierarchy_distance_update.pxi`, `_centroid`.
pub(super) fn centroid(to_a: f64, to_b: f64, apart: f64, [a, b]: [f64; 2]) -> f64 {
    let squared =
        ((a * to_a * to_a + b * to_b * to_b) - (a * b * apart * apart) / (a + b)) / (a + b);
    squared.max(0.0).sqrt()
}

/// Distance to the point halfway between the two. scipy, as above, `_median`.
pub(super) fn median(to_a: f64, to_b: f64, apart: f64, _: [f64; 2]) -> f64 {
    let squared = 0.5 * (to_a * to_a + to_b * to_b) - 0.25 * apart * apart;
    squared.max(0.0).sqrt()
}

/// Müllner's generic algorithm (arXiv:1109.2378, figure 3), in the order of scipy's
/// `_hierarchy.fast_linkage`, which decides between equal distances. `distances` of all pairs of
/// `observations` (at least one), as [`super::super::distances::euclidean_pairs`] gives them.
pub(super) fn linkage(distances: Vec<f64>, observations: usize, update: Update) -> Dendrogram {
    let mut active = Active {
        distances,
        sizes: vec![1; observations],
    };
    // The nearest of the clusters behind each; where that is out of date, the distance is a lower bound.
    let (mut neighbours, bounds): (Vec<usize>, Vec<f64>) = (0..observations - 1)
        .map(|cluster| active.nearest_behind(cluster))
        .unzip();
    let mut queue = Heap::new(bounds);
    let mut numbers: Vec<usize> = (0..observations).collect();
    let mut merges = Vec::with_capacity(observations - 1);
    for number in observations..2 * observations - 1 {
        let (a, b, apart) = loop {
            let a = queue.first();
            let (b, bound) = (neighbours[a], queue.value(a));
            if active.distance(a, b) == bound {
                break (a, b, bound);
            }
            let (neighbour, distance) = active.nearest_behind(a);
            neighbours[a] = neighbour;
            queue.change(a, distance);
        };
        queue.remove_first();
        let size = active.merge(a, b, apart, update);
        let (left, right) = (numbers[a].min(numbers[b]), numbers[a].max(numbers[b]));
        numbers[b] = number;
        merges.push(Merge {
            left,
            right,
            height: apart,
            size,
        });
        for neighbour in &mut neighbours[..a] {
            if *neighbour == a {
                *neighbour = b;
            }
        }
        for other in (0..b).filter(|other| active.sizes[*other] > 0) {
            let distance = active.distance(other, b);
            if distance < queue.value(other) {
                neighbours[other] = b;
                queue.change(other, distance);
            }
        }
        if b < observations - 1 {
            let (neighbour, distance) = active.nearest_behind(b);
            neighbours[b] = neighbour;
            queue.change(b, distance);
        }
    }
    Dendrogram { merges }
}

/// The clusters that are left: each stands where the last of its observations does.
struct Active {
    /// Of all pairs of observations; out of date where one of the two is gone.
    distances: Vec<f64>,
    /// Members of each; 0 where a cluster is gone.
    sizes: Vec<usize>,
}

impl Active {
    fn place(&self, a: usize, b: usize) -> usize {
        let (a, b) = (a.min(b), a.max(b));
        self.sizes.len() * a - a * (a + 1) / 2 + (b - a - 1)
    }

    fn distance(&self, a: usize, b: usize) -> f64 {
        self.distances[self.place(a, b)]
    }

    /// The first of the nearest clusters behind `cluster`, and how far it is. There always is one: the last
    /// place is never empty, because the one behind takes the other in.
    fn nearest_behind(&self, cluster: usize) -> (usize, f64) {
        let last = self.sizes.len() - 1;
        let behind = (cluster + 1..=last).filter(|other| self.sizes[*other] > 0);
        behind
            .map(|other| (other, self.distance(cluster, other)))
            .fold((last, f64::INFINITY), |nearest, other| {
                if other.1 < nearest.1 { other } else { nearest }
            })
    }

    /// Joins `a` to `b`, which are `apart`, and returns the new size.
    fn merge(&mut self, a: usize, b: usize, apart: f64, update: Update) -> usize {
        let sizes = [self.sizes[a], self.sizes[b]];
        self.sizes[a] = 0;
        self.sizes[b] = sizes[0] + sizes[1];
        for other in (0..self.sizes.len()).filter(|other| *other != b) {
            if self.sizes[other] > 0 {
                let place = self.place(other, b);
                let to_a = self.distance(other, a);
                self.distances[place] = update(
                    to_a,
                    self.distances[place],
                    apart,
                    sizes.map(|size| size as f64),
                );
            }
        }
        self.sizes[b]
    }
}
