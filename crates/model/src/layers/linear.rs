//! Affine maps over the last axis.

use candle_core::{Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::precision::in_wide_enough;

/// `torch.nn.Linear`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    /// `[out]`.
    bias: Tensor,
}

impl Linear {
    /// Reads `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    pub(crate) fn load(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: vb.get((outputs, inputs), "weight")?,
            bias: vb.get(outputs, "bias")?,
        })
    }

    /// From tensors: `weight` `[out, in]`, `bias` `[out]`.
    pub(crate) fn new(weight: Tensor, bias: Tensor) -> Self {
        Self { weight, bias }
    }

    /// `[..., in]` to `[..., out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        in_wide_enough([x, &self.weight, &self.bias], |[x, weight, bias]| {
            candle_nn::Linear::new(weight.clone(), Some(bias.clone())).forward(x)
        })
    }
}
