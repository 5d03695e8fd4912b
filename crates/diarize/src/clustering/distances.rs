//! Distances between embeddings, in f64 as scipy has them.

use ndarray::{Array2, ArrayView1, ArrayView2};

/// Euclidean distance of each pair of rows, `scipy.spatial.distance.pdist`: those of the first row, then
/// those of the second with the rows behind it, ...
#[must_use]
pub fn euclidean_pairs(rows: ArrayView2<'_, f32>) -> Vec<f64> {
    pairs(&rows.mapv(f64::from), |a, b| {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
        squares.sum::<f64>().sqrt()
    })
}

/// Cosine distance of each pair of rows, in the order of [`euclidean_pairs`].
#[must_use]
pub fn cosine_pairs(rows: ArrayView2<'_, f32>) -> Vec<f64> {
    pairs(&rows.mapv(f64::from), |a, b| {
        cosine(a.into(), norm(a.into()), b.into(), norm(b.into()))
    })
}

fn pairs(rows: &Array2<f64>, distance: impl Fn(&[f64], &[f64]) -> f64) -> Vec<f64> {
    let rows: Vec<Vec<f64>> = rows.outer_iter().map(|row| row.to_vec()).collect();
    let mut distances = Vec::with_capacity(rows.len() * rows.len().saturating_sub(1) / 2);
    for (index, a) in rows.iter().enumerate() {
        distances.extend(rows[index + 1..].iter().map(|b| distance(a, b)));
    }
    distances
}

/// Cosine distance, 0 to 2, of each row of `a` to each of `b`. `scipy.spatial.distance.cdist`.
#[must_use]
pub fn cosine_to(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    let norms = |rows: ArrayView2<'_, f64>| rows.outer_iter().map(norm).collect::<Vec<_>>();
    let (a_norms, b_norms) = (norms(a), norms(b));
    Array2::from_shape_fn((a.nrows(), b.nrows()), |(i, j)| {
        cosine(a.row(i), a_norms[i], b.row(j), b_norms[j])
    })
}

fn cosine(a: ArrayView1<'_, f64>, a_norm: f64, b: ArrayView1<'_, f64>, b_norm: f64) -> f64 {
    let cosine = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / (a_norm * b_norm);
    // Rounding can push the cosine of like directions beyond 1. NaN stays.
    1.0 - cosine.clamp(-1.0, 1.0)
}

fn norm(row: ArrayView1<'_, f64>) -> f64 {
    row.iter().map(|value| value * value).sum::<f64>().sqrt()
}
