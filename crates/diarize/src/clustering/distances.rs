//! Distances between embeddings, in f64 as in scipy.

use ndarray::{Array2, ArrayView1, ArrayView2};

/// Euclidean distance of each pair of rows, `scipy.spatial.distance.pdist`: of the first row to the rows after it, then
/// of the second row, ...
pub(super) fn euclidean_pairs(rows: ArrayView2<'_, f32>) -> Vec<f64> {
    // Column by column: each distance is summed in scipy's order, and many are summed at once.
    let columns: Vec<Vec<f64>> = rows
        .columns()
        .into_iter()
        .map(|column| column.iter().copied().map(f64::from).collect())
        .collect();
    let mut distances = Vec::with_capacity(number_of_pairs(rows.nrows()));
    for row in 0..rows.nrows() {
        let mut squares = vec![0.0; rows.nrows() - row - 1];
        for column in &columns {
            for (square, value) in squares.iter_mut().zip(&column[row + 1..]) {
                let difference = column[row] - value;
                *square += difference * difference;
            }
        }
        distances.extend(squares.into_iter().map(f64::sqrt));
    }
    distances
}

/// Cosine distance of each pair of rows, in the order of [`euclidean_pairs`].
pub(super) fn cosine_pairs(rows: ArrayView2<'_, f32>) -> Vec<f64> {
    let rows = rows.mapv(f64::from);
    let norms: Vec<f64> = rows.outer_iter().map(norm).collect();
    let mut distances = Vec::with_capacity(number_of_pairs(rows.nrows()));
    for i in 0..rows.nrows() {
        let rest = i + 1..rows.nrows();
        distances.extend(rest.map(|j| cosine(rows.row(i), norms[i], rows.row(j), norms[j])));
    }
    distances
}

/// Number of pairs of `rows` rows.
pub(super) fn number_of_pairs(rows: usize) -> usize {
    rows * rows.saturating_sub(1) / 2
}

/// Cosine distance, 0 to 2, of each row of `a` to each of `b`. `scipy.spatial.distance.cdist`.
pub(super) fn cosine_to(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    let norms = |rows: ArrayView2<'_, f64>| rows.outer_iter().map(norm).collect::<Vec<_>>();
    let (a_norms, b_norms) = (norms(a), norms(b));
    Array2::from_shape_fn((a.nrows(), b.nrows()), |(i, j)| {
        cosine(a.row(i), a_norms[i], b.row(j), b_norms[j])
    })
}

fn cosine(a: ArrayView1<'_, f64>, a_norm: f64, b: ArrayView1<'_, f64>, b_norm: f64) -> f64 {
    let cosine = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / (a_norm * b_norm);
    // Rounding can give equal directions a cosine above 1. NaN stays.
    1.0 - cosine.clamp(-1.0, 1.0)
}

fn norm(row: ArrayView1<'_, f64>) -> f64 {
    row.iter().map(|value| value * value).sum::<f64>().sqrt()
}
