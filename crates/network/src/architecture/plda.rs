//! `pyannote.audio.core.plda.PLDA`.

use serde::{Deserialize, Serialize};

use super::{Description, Expected, Hyperparameter, Kind, Output, Role, within};
use crate::Graph;

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

impl Description for Plda {
    fn name(&self) -> String {
        "Plda".into()
    }

    fn check(&self) -> Result<(), Hyperparameter> {
        within("embedding_dim", self.embedding_dim, 1..=MAX_DIM)?;
        within("lda_dim", self.lda_dim, 1..=MAX_DIM)
    }

    fn tensors(&self) -> Vec<Expected> {
        let (embedding, lda) = (self.embedding_dim, self.lda_dim);
        let tensors: [(&str, &[usize]); 6] = [
            ("mean1", &[embedding]),
            ("lda", &[embedding, lda]),
            ("mean2", &[lda]),
            ("mu", &[lda]),
            ("tr", &[lda, lda]),
            ("psi", &[lda]),
        ];
        let parameter = |(name, shape): &(&str, &[usize])| Expected {
            name: (*name).to_owned(),
            shape: shape.to_vec(),
            kind: Kind::Float,
            role: Role::Parameter,
            optional: false,
        };
        tensors.iter().map(parameter).collect()
    }

    fn graph(&self, _masked: bool) -> Option<Graph> {
        None
    }

    fn sample_rate(&self) -> Option<u32> {
        None
    }

    fn output(&self) -> Output {
        Output::Comparison {
            dimension: self.embedding_dim,
        }
    }

    fn variant(&self) -> Option<String> {
        None
    }
}
