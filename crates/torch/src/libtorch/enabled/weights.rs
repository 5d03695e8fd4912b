//! Tensors of a bundle as libtorch tensors.

use ndarray::ArrayD;

use super::tensor::{kind, to_tensor};
use crate::{Arithmetic, Error, Result};
use soundalike_convert::Bundle;

/// The tensors of a bundle in the precision of the network.
pub(super) struct Weights<'a> {
    bundle: &'a Bundle,
    arithmetic: Arithmetic,
}

impl<'a> Weights<'a> {
    pub(super) fn new(bundle: &'a Bundle, arithmetic: Arithmetic) -> Self {
        Self { bundle, arithmetic }
    }

    /// The arithmetic of the network.
    pub(super) fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// The tensor `name`, rounded if the precision is low.
    pub(super) fn get(&self, name: &str) -> Result<tch::Tensor> {
        self.arithmetic.round(self.exact(name)?)
    }

    /// The tensor `name`, not rounded. It is converted to f32 first, whatever its dtype in the file: the golden is the
    /// f32 model of the official package, widened.
    pub(super) fn exact(&self, name: &str) -> Result<tch::Tensor> {
        let missing = || Error::MissingTensor { name: name.into() };
        let stored = self.bundle.tensor(name).ok_or_else(missing)?;
        let values = stored.to_f32().ok_or_else(missing)?;
        let values = ArrayD::from_shape_vec(stored.shape, values).map_err(|_| missing())?;
        Ok(to_tensor(&values)?.f_to_kind(kind(self.arithmetic.precision()))?)
    }
}
