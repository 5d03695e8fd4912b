//! Batch normalisation, in evaluation.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use super::precision::in_wide_enough;
use crate::Kernels;

/// Added to the variance: the default of `torch.nn.BatchNorm2d`.
const EPS: f64 = 1e-5;

/// `torch.nn.BatchNorm2d(channels)` in evaluation: the running statistics make it one scale and one shift
/// per channel, and as such PyTorch applies it. PyTorch `aten/src/ATen/native/cpu/batch_norm_kernel.cpp`.
#[derive(Debug, Clone)]
pub(crate) struct BatchNorm2d {
    /// weight / sqrt(variance + eps), `[1, channel, 1, 1]`.
    scale: Tensor,
    /// bias - mean x scale, `[1, channel, 1, 1]`.
    shift: Tensor,
}

impl BatchNorm2d {
    /// Reads `weight`, `bias`, `running_mean` and `running_var`, all `[channels]`.
    pub(crate) fn load(channels: usize, kernels: Kernels, vb: VarBuilder<'_>) -> Result<Self> {
        let (dtype, wide) = (vb.dtype(), kernels.sums(vb.dtype(), vb.device()));
        // As stored first: a 16-bit network rounds the scale, not what the scale is made of.
        let stored = vb.to_dtype(DType::F32);
        let get = |name: &str| {
            stored
                .get(channels, name)?
                .to_dtype(wide)?
                .reshape((1, channels, 1, 1))
        };
        let deviation = (get("running_var")? + EPS)?.sqrt()?;
        let scale = (get("weight")? / deviation)?;
        let shift = (get("bias")? - (get("running_mean")? * &scale)?)?;
        Ok(Self {
            scale: scale.to_dtype(dtype)?,
            shift: shift.to_dtype(dtype)?,
        })
    }

    /// weight / sqrt(variance + eps).
    pub(super) fn scale(&self) -> &Tensor {
        &self.scale
    }

    /// bias - mean x scale.
    pub(super) fn shift(&self) -> &Tensor {
        &self.shift
    }

    /// `[batch, channel, height, width]`, same shape out.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        in_wide_enough([x, &self.scale, &self.shift], |[x, scale, shift]| {
            x.broadcast_mul(scale)?.broadcast_add(shift)
        })
    }
}
