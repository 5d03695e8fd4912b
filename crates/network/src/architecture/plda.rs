//! `pyannote.audio.core.plda.PLDA`.

use serde::{Deserialize, Serialize};

use super::{HyperparameterError, Role, TensorSpec, within};

/// Sizes of `pyannote.audio.core.plda.PLDA`: `xvec_transform.npz` and `plda.npz`.
///
/// Tensors have the names of the arrays in these files, and their types, `f32` or `f64`.
/// - `mean1` `[embedding_dim]`, `lda` `[embedding_dim, lda_dim]`, `mean2` `[lda_dim]`: subtract `mean1` from an embedding,
///   scale it, multiply by `lda`, subtract `mean2`.
/// - `mu` `[lda_dim]`, `tr` `[lda_dim, lda_dim]`, `psi` `[lda_dim]`: mean, transform and between-class variances of the
///   PLDA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plda {
    /// Values of one embedding: 256.
    pub embedding_dim: usize,
    /// Values of an embedding after the linear discriminant analysis: 128.
    pub lda_dim: usize,
}

/// Most values of an embedding. Real ones have 256.
const MAX_DIM: usize = 1 << 14;

impl Plda {
    pub(super) fn check(&self) -> Result<(), HyperparameterError> {
        within("embedding_dim", self.embedding_dim, 1..=MAX_DIM)?;
        within("lda_dim", self.lda_dim, 1..=MAX_DIM)
    }

    pub(super) fn tensors(&self) -> Vec<TensorSpec> {
        let (embedding, lda) = (self.embedding_dim, self.lda_dim);
        let tensors: [(&str, &[usize]); 6] = [
            ("mean1", &[embedding]),
            ("lda", &[embedding, lda]),
            ("mean2", &[lda]),
            ("mu", &[lda]),
            ("tr", &[lda, lda]),
            ("psi", &[lda]),
        ];
        let tensors = tensors.into_iter();
        let parameter =
            |(name, shape): (&str, _)| TensorSpec::floats(name.into(), shape, Role::Parameter);
        tensors.map(parameter).collect()
    }
}
