//! From a bundle to tensors of libtorch.

use ndarray::ArrayD;

use super::tensor::{kind, to_tensor};
use crate::{Arithmetic, Error, Result};
use soundalike_convert::Bundle;

/// The tensors of a bundle, widened to the precision of the network.
pub(super) struct Weights<'a> {
    bundle: &'a Bundle,
    arithmetic: Arithmetic,
}

impl<'a> Weights<'a> {
    pub(super) fn new(bundle: &'a Bundle, arithmetic: Arithmetic) -> Self {
        Self { bundle, arithmetic }
    }

    /// What is done with them.
    pub(super) fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// The tensor `name`, rounded where fewer bits are imitated.
    pub(super) fn get(&self, name: &str) -> Result<tch::Tensor> {
        self.arithmetic.round(self.exact(name)?)
    }

    /// The tensor `name`. It is read in f32 first, whatever its dtype in the file: the golden is the model
    /// that the official package loads, in f32, and then widens.
    pub(super) fn exact(&self, name: &str) -> Result<tch::Tensor> {
        let missing = || Error::MissingTensor { name: name.into() };
        let stored = self.bundle.tensor(name).ok_or_else(missing)?;
        let values = stored.to_f32().ok_or_else(missing)?;
        let values = ArrayD::from_shape_vec(stored.shape, values).map_err(|_| missing())?;
        Ok(to_tensor(&values)?.f_to_kind(kind(self.arithmetic.precision()))?)
    }
}
