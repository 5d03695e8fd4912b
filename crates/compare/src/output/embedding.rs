//! Agreement of embeddings.

use ndarray::{ArrayD, ArrayView1, Axis};
use serde::Serialize;

/// Agreement of one embedding with the golden, and that of the reference's own f32.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbeddingAgreement {
    /// Cosine of the angle between them. It does not change with length.
    pub cosine: f64,
    /// Length of the candidate over the length of the golden.
    pub rms_ratio: f64,
    /// Cosine of the reference's own f32.
    pub reference_cosine: f64,
    /// Length of the reference's own f32 over the length of the golden.
    pub reference_rms_ratio: f64,
}

impl EmbeddingAgreement {
    /// Length of the error of the reference's own f32 over the length of the golden. Law of cosines.
    pub(crate) fn reference_error(&self) -> f64 {
        let (ratio, cosine) = (self.reference_rms_ratio, self.reference_cosine);
        ((ratio - 1.0).powi(2) + 2.0 * ratio * (1.0 - cosine))
            .max(0.0)
            .sqrt()
    }
}

/// The agreement of each of the embeddings `[..., feature]`.
pub(super) fn agreements(
    candidate: &ArrayD<f64>,
    golden: &ArrayD<f64>,
    rounded: &ArrayD<f64>,
) -> Vec<EmbeddingAgreement> {
    let features = Axis(golden.ndim() - 1);
    let pairs = candidate.lanes(features).into_iter();
    let pairs = pairs.zip(golden.lanes(features));
    let triples = pairs.zip(rounded.lanes(features));
    let agreement = |((candidate, golden), rounded)| EmbeddingAgreement {
        cosine: cosine(candidate, golden),
        rms_ratio: length(candidate) / length(golden),
        reference_cosine: cosine(rounded, golden),
        reference_rms_ratio: length(rounded) / length(golden),
    };
    triples.map(agreement).collect()
}

fn cosine(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.dot(&b) / (length(a) * length(b))
}

fn length(x: ArrayView1<'_, f64>) -> f64 {
    x.dot(&x).sqrt()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_gain_is_seen_in_the_ratio_and_a_turn_in_the_cosine() {
        let golden = array![[3.0, 4.0], [3.0, 4.0]].into_dyn();
        let candidate = array![[6.0, 8.0], [4.0, -3.0]].into_dyn();
        let found = agreements(&candidate, &golden, &golden);
        assert_eq!((found[0].cosine, found[0].rms_ratio), (1.0, 2.0));
        assert_eq!((found[1].cosine, found[1].rms_ratio), (0.0, 1.0));
        let other_way = agreements(&golden, &golden, &candidate);
        assert_eq!(other_way[0].reference_error(), 1.0);
        assert!((other_way[1].reference_error() - 2.0_f64.sqrt()).abs() < 1e-15);
        assert_eq!(
            (found[1].reference_cosine, found[1].reference_rms_ratio),
            (1.0, 1.0)
        );
    }
}
