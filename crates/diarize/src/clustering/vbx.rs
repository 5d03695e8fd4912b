//! VBx: Bayesian clustering of PLDA vectors.
//!
//! F. Landini, J. Profant, M. Diez, L. Burget, "Bayesian HMM clustering of x-vector sequences (VBx) in speaker
//! diarization", Computer Speech & Language 71 (2022), without the HMM: pyannote.audio `utils/vbx.py`. Equation numbers
//! are those of the paper.

use std::f64::consts::TAU;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use super::cluster_count;

/// Most iterations. `cluster_vbx(maxIters=20)`.
const MAX_ITERATIONS: usize = 20;
/// Increase of the lower bound below which VBx has converged. `VBx(epsilon=1e-4)`.
const MIN_GAIN: f64 = 1e-4;
/// Initial responsibilities are the softmax of this times the one-hot labels.
/// `cluster_vbx(init_smoothing=7.0)`.
const INITIAL_SMOOTHING: f64 = 7.0;
/// Prior up to which a cluster is dropped. pyannote.audio `VBxClustering`, `sp > 1e-7`.
const MIN_PRIOR: f64 = 1e-7;
/// Keeps the logarithm of a prior finite.
const PRIOR_FLOOR: f64 = 1e-8;

/// The posterior of VBx.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vbx {
    /// Probability of each cluster given each vector, `[vector, cluster]`.
    pub responsibilities: Array2<f64>,
    /// Prior of each cluster; those of superfluous clusters tend to 0.
    pub priors: Array1<f64>,
    /// Evidence lower bound after each iteration. The last may be lower than the one before; its posterior is used all the
    /// same, as in the original.
    pub bounds: Vec<f64>,
}

impl Vbx {
    /// Centroid of each remaining cluster, `[cluster, dimension]`: the mean of `embeddings` `[vector, dimension]`, not
    /// normalised, weighted by the responsibilities.
    pub fn centroids(&self, embeddings: ArrayView2<'_, f32>) -> Array2<f64> {
        let priors = self.priors.iter().enumerate();
        let left: Vec<usize> = priors
            .filter_map(|(cluster, prior)| (*prior > MIN_PRIOR).then_some(cluster))
            .collect();
        let weights = self.responsibilities.select(Axis(1), &left);
        let totals = weights.sum_axis(Axis(0)).insert_axis(Axis(1));
        weights.t().dot(&embeddings.mapv(f64::from)) / totals
    }
}

/// VBx from the initial clusters `labels` (0, 1, ... without gaps, one for each of `vectors` `[vector, dimension]`). `phi`
/// are the variances between speakers, `fa` scales the acoustic evidence and `fb` is the speaker regularisation.
/// `cluster_vbx`, `VBx`.
pub fn vbx(
    vectors: ArrayView2<'_, f64>,
    phi: ArrayView1<'_, f64>,
    labels: &[usize],
    fa: f64,
    fb: f64,
) -> Vbx {
    let dimension = vectors.ncols() as f64;
    let constant = vectors.map_axis(Axis(1), |x| -0.5 * (x.dot(&x) + dimension * TAU.ln())); // of (23)
    let rho = &vectors * &phi.mapv(f64::sqrt); // (18)
    let mut responsibilities = initial(labels);
    let clusters = responsibilities.ncols();
    let mut priors = Array1::from_elem(clusters, 1.0 / clusters as f64);
    let mut bounds: Vec<f64> = Vec::new();
    for _ in 0..MAX_ITERATIONS {
        let ratio = fa / fb;
        let weights = responsibilities.sum_axis(Axis(0)).insert_axis(Axis(1));
        let variances = (weights * phi * ratio + 1.0).mapv(f64::recip); // (17)
        let means = &variances * &(responsibilities.t().dot(&rho) * ratio); // (16)
        let spread = (&variances + &means.mapv(|mean| mean * mean)).dot(&phi) * 0.5;
        let mut scores = rho.dot(&means.t()) - spread + constant.view().insert_axis(Axis(1)); // (23)
        scores *= fa;
        scores += &priors.mapv(|prior| (prior + PRIOR_FLOOR).ln());
        let evidence = softmax(&mut scores);
        responsibilities = scores;
        priors = responsibilities.sum_axis(Axis(0));
        priors /= priors.sum();
        let cost: f64 = variances
            .iter()
            .zip(&means)
            .map(|(variance, mean)| variance.ln() - variance - mean * mean + 1.0)
            .sum();
        let bound = evidence + fb * 0.5 * cost; // (25)
        let gain = bounds.last().map(|last| bound - last);
        bounds.push(bound);
        if gain.is_some_and(|gain| gain < MIN_GAIN) {
            break;
        }
    }
    Vbx {
        responsibilities,
        priors,
        bounds,
    }
}

/// Initial responsibilities: nearly 1 for the cluster of each label.
fn initial(labels: &[usize]) -> Array2<f64> {
    let mut scores = Array2::zeros((labels.len(), cluster_count(labels)));
    for (mut row, label) in scores.rows_mut().into_iter().zip(labels) {
        row[*label] = INITIAL_SMOOTHING;
    }
    softmax(&mut scores);
    scores
}

/// Softmax of each row. Returns the sum over rows of the logarithm of the normaliser.
fn softmax(scores: &mut Array2<f64>) -> f64 {
    let mut total = 0.0;
    for mut row in scores.rows_mut() {
        let largest = row.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        let normaliser = largest + row.mapv(|score| (score - largest).exp()).sum().ln();
        row.mapv_inplace(|score| (score - normaliser).exp());
        total += normaliser;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_vectors_without_speakers_is_their_log_density() {
        // No variance between speakers: vectors are standard normal.
        let vectors = ndarray::array![[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]];
        let fitted = vbx(vectors.view(), Array1::zeros(3).view(), &[0, 0], 1.0, 1.0);
        let golden = -0.5 * (2.0 * 3.0 * TAU.ln() + (1.0 + 4.0 + 0.25));
        for bound in &fitted.bounds {
            // A prior of 1 has the floor added.
            assert!((bound - golden).abs() < 1e-6, "{bound} for {golden}");
        }
    }
}
