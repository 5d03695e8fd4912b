//! Instance normalisation.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::precision::of_statistics;

/// Added to the variance: the default of `torch.nn.InstanceNorm1d`.
const EPS: f64 = 1e-5;

/// `torch.nn.InstanceNorm1d(channels, affine=True)`: each channel of each example to mean 0 and (biased)
/// variance 1 over time, then scale and shift. PyTorch `aten/src/ATen/native/Normalization.cpp`.
#[derive(Debug, Clone)]
pub(crate) struct InstanceNorm1d {
    /// `[1, channel, 1]`.
    weight: Tensor,
    /// `[1, channel, 1]`.
    bias: Tensor,
}

impl InstanceNorm1d {
    /// Reads `weight` and `bias`, both `[channels]`.
    pub(crate) fn load(channels: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: vb.get(channels, "weight")?.reshape((1, channels, 1))?,
            bias: vb.get(channels, "bias")?.reshape((1, channels, 1))?,
        })
    }

    /// `[batch, channel, time]`, same shape out, in the dtype of the weights. Two passes: the mean first, then the variance about it.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let statistics = of_statistics(x.dtype(), x.device());
        let wide = x.to_dtype(statistics)?;
        let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?;
        let scale = self
            .weight
            .to_dtype(statistics)?
            .broadcast_div(&deviation)?;
        centred
            .broadcast_mul(&scale)?
            .broadcast_add(&self.bias.to_dtype(statistics)?)?
            .to_dtype(self.weight.dtype())
    }
}
