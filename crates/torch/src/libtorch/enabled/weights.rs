//! From a bundle to tensors of libtorch.

use soundalike_convert::Bundle;
use tch::Kind;

use super::{Tensor, tensor::kind};
use crate::{Error, Precision, Result};

/// The tensors of a bundle, widened to the precision of the network.
pub(super) struct Weights<'a> {
    bundle: &'a Bundle,
    kind: Kind,
}

impl<'a> Weights<'a> {
    pub(super) fn new(bundle: &'a Bundle, precision: Precision) -> Self {
        Self {
            bundle,
            kind: kind(precision),
        }
    }

    /// The tensor `name`. It is read in f32 first, whatever its dtype in the file: the golden is the model
    /// that the official package loads, in f32, and then widens.
    pub(super) fn get(&self, name: &str) -> Result<tch::Tensor> {
        let missing = || Error::MissingTensor { name: name.into() };
        let stored = self.bundle.tensor(name).ok_or_else(missing)?;
        let values = stored.to_f32().ok_or_else(missing)?;
        let Tensor(tensor) = Tensor::from_f32(&values, stored.shape)?;
        Ok(tensor.f_to_kind(self.kind)?)
    }
}
