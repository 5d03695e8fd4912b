//! Affine maps over the last axis.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::{Module, VarBuilder};
use soundalike_kernels as kernels;

use super::{conv1d::pack, frames::by_kernel, precision::in_wide_enough};
use crate::Kernels;

/// `torch.nn.Linear`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    /// `[out]`.
    bias: Tensor,
    /// A convolution of length 1. Unlike a matrix product, its result for a row does not depend on the number of rows.
    kernel: Option<Arc<kernels::Conv1d>>,
}

impl Linear {
    /// Reads `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    pub(crate) fn load(kernels: Kernels, vb: &VarBuilder<'_>) -> Result<Self> {
        let mut linear = Self::new(vb.get_unchecked("weight")?, vb.get_unchecked("bias")?);
        if let Some(instructions) = kernels.instructions(vb.dtype(), vb.device()) {
            let (weight, after) = (
                linear.weight.unsqueeze(2)?,
                kernels::Conv1dOptions::default(),
            );
            linear.kernel = Some(pack(instructions, &weight, Some(&linear.bias), after)?);
        }
        Ok(linear)
    }

    /// From tensors: `weight` `[out, in]`, `bias` `[out]`.
    pub(crate) fn new(weight: Tensor, bias: Tensor) -> Self {
        Self {
            weight,
            bias,
            kernel: None,
        }
    }

    /// `[out, in]`.
    pub(super) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `[out]`.
    pub(super) fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// `[..., in]` to `[..., out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(kernel) = &self.kernel {
            let (outputs, inputs) = self.weight.dims2()?;
            let rows = x.reshape((1, x.elem_count() / inputs, inputs))?;
            let mut shape = x.dims().to_vec();
            shape.pop();
            shape.push(outputs);
            return by_kernel(&rows, outputs, |x, _| kernel.forward(x, 1))?.reshape(shape);
        }
        in_wide_enough([x, &self.weight, &self.bias], |[x, weight, bias]| {
            candle_nn::Linear::new(weight.clone(), Some(bias.clone())).forward(x)
        })
    }
}
