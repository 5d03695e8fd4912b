//! Bayesian clustering of PLDA vectors.
//!
//! F. Landini, J. Profant, M. Diez, L. Burget, "Bayesian HMM clustering of x-vector sequences (VBx) in speaker
//! diarization", Computer Speech & Language 71 (2022), without the HMM: pyannote.audio `utils/vbx.py`. The
//! numbers of equations are the paper's.

use std::f64::consts::TAU;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// Iterations at most. `cluster_vbx(maxIters=20)`.
const MAX_ITERATIONS: usize = 20;
/// Gain of the lower bound below which it has converged. `VBx(epsilon=1e-4)`.
const MIN_GAIN: f64 = 1e-4;
/// How sure the first responsibilities are of their cluster: softmax of this times one-hot.
/// `cluster_vbx(init_smoothing=7.0)`.
const INITIAL_SMOOTHING: f64 = 7.0;
/// Prior at which a cluster is nobody any more. pyannote.audio `VBxClustering`, `sp > 1e-7`.
const MIN_PRIOR: f64 = 1e-7;
/// Keeps the logarithm of a prior finite.
const PRIOR_FLOOR: f64 = 1e-8;

/// How the vectors are shared among clusters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vbx {
    /// Probability that a vector is a cluster's, `[vector, cluster]`.
    pub responsibilities: Array2<f64>,
    /// Part of the vectors that each cluster has; those of superfluous ones tend to 0.
    pub priors: Array1<f64>,
    /// Lower bound of the evidence after each iteration. A last one may be lower than the one before; it is
    /// kept all the same, as in the original.
    pub bounds: Vec<f64>,
}

impl Vbx {
    /// Mean of `embeddings` `[vector, dimension]`, as the network gave them, for each cluster that is left,
    /// `[cluster, dimension]`, weighed by its responsibilities.
    #[must_use]
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

/// Starts with the clusters `labels` (0, 1, ... without gaps, one for each of `vectors` `[vector, dimension]`)
/// and lets them compete. `phi` are the variances between speakers, `fa` weighs the evidence and `fb` is what
/// a speaker costs. `cluster_vbx`, `VBx`.
#[must_use]
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

/// Nearly one for the cluster of each label.
fn initial(labels: &[usize]) -> Array2<f64> {
    let clusters = labels.iter().max().map_or(0, |last| last + 1);
    let mut scores = Array2::zeros((labels.len(), clusters));
    for (mut row, label) in scores.rows_mut().into_iter().zip(labels) {
        row[*label] = INITIAL_SMOOTHING;
    }
    softmax(&mut scores);
    scores
}

/// Exponentiates each row and scales it to a sum of 1. Returns the sum over rows of the logarithm of what they
/// were divided by.
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
