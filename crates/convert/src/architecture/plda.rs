//! `pyannote.audio.core.plda.PLDA`.

use serde::{Deserialize, Serialize};

use super::{Expected, Tensors, within};
use crate::error::Hyperparameter;

/// Sizes of `pyannote.audio.core.plda.PLDA`: `xvec_transform.npz` and `plda.npz`.
///
/// Tensors keep the names of the arrays. `mean1` `[embedding_dim]`, `lda` `[embedding_dim,
/// lda_dim]`, `mean2` `[lda_dim]`: an embedding less `mean1`, scaled, times `lda`, less `mean2`.
/// `mu` `[lda_dim]`, `tr` `[lda_dim, lda_dim]`, `psi` `[lda_dim]`: mean, transform and
/// between-class variances of the PLDA. Types are kept as they are in the files, `f32` and `f64`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plda {
    /// Values of one embedding: 256.
    pub embedding_dim: usize,
    /// Values after the linear discriminant analysis: 128.
    pub lda_dim: usize,
}

/// Most values of an embedding. Real ones have 256.
const MAX_DIM: usize = 1 << 14;

impl Plda {
    pub(super) fn check(&self) -> Result<(), Hyperparameter> {
        within("embedding_dim", self.embedding_dim, 1..=MAX_DIM)?;
        within("lda_dim", self.lda_dim, 1..=MAX_DIM)
    }

    pub(super) fn tensors(&self) -> Vec<Expected> {
        let mut list = Tensors::default();
        list.parameter("mean1", &[self.embedding_dim]);
        list.parameter("lda", &[self.embedding_dim, self.lda_dim]);
        list.parameter("mean2", &[self.lda_dim]);
        list.parameter("mu", &[self.lda_dim]);
        list.parameter("tr", &[self.lda_dim, self.lda_dim]);
        list.parameter("psi", &[self.lda_dim]);
        list.0
    }
}
