//! Clusters as points, for more of them than the distances of all pairs fit into memory.

use ndarray::ArrayView2;

use super::generic::Clusters;

/// One coordinate of the merged cluster, from those of the two clusters and their sizes.
type Between = fn(a: f64, b: f64, sizes: [f64; 2]) -> f64;

/// The centroid of all members.
pub(super) fn centroid(a: f64, b: f64, [size_a, size_b]: [f64; 2]) -> f64 {
    (size_a * a + size_b * b) / (size_a + size_b)
}

/// The midpoint of the two.
pub(super) fn median(a: f64, b: f64, _: [f64; 2]) -> f64 {
    f64::midpoint(a, b)
}

/// The point of each cluster. Distances are computed on every call.
pub(super) struct Points {
    /// `[observation, dimension]`
    values: Vec<f64>,
    dimension: usize,
    /// See [`Clusters::sizes`].
    sizes: Vec<usize>,
    between: Between,
}

impl Points {
    /// Each of `rows` is a cluster.
    pub(super) fn new(rows: ArrayView2<'_, f32>, between: Between) -> Self {
        Self {
            values: rows.iter().copied().map(f64::from).collect(),
            dimension: rows.ncols(),
            sizes: vec![1; rows.nrows()],
            between,
        }
    }

    fn point(&self, cluster: usize) -> &[f64] {
        &self.values[cluster * self.dimension..][..self.dimension]
    }
}

impl Clusters for Points {
    fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    fn distance(&self, a: usize, b: usize) -> f64 {
        squared(self.point(a), self.point(b)).sqrt()
    }

    fn merge(&mut self, a: usize, b: usize, _: f64) {
        let sizes = [self.sizes[a], self.sizes[b]].map(|size| size as f64);
        for value in 0..self.dimension {
            let place = b * self.dimension + value;
            let other = self.values[a * self.dimension + value];
            self.values[place] = (self.between)(other, self.values[place], sizes);
        }
        self.sizes[b] += std::mem::take(&mut self.sizes[a]);
    }
}

/// Squared distance of two points, in independent partial sums.
fn squared(a: &[f64], b: &[f64]) -> f64 {
    const SUMS: usize = 8;
    let mut sums = [0.0; SUMS];
    let (a, b) = (a.chunks_exact(SUMS), b.chunks_exact(SUMS));
    let rest = a.remainder().iter().zip(b.remainder());
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(rest) {
        *sum += (a - b) * (a - b);
    }
    sums.iter().sum()
}
