//! Convolution and pooling over time.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::precision::in_wide_enough;

/// `torch.nn.Conv1d` without padding, or with fixed filters the encoder of a filter bank.
#[derive(Debug, Clone)]
pub(crate) struct Conv1d {
    /// `[out, in, kernel]`.
    weight: Tensor,
    /// `[1, out, 1]`, so that it broadcasts over batch and time.
    bias: Tensor,
}

impl Conv1d {
    /// Reads `weight` `[out, in, kernel]` and `bias` `[out]`.
    pub(crate) fn load(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        Ok(Self {
            weight: vb.get((outputs, inputs, kernel), "weight")?,
            bias: vb.get(outputs, "bias")?.reshape((1, outputs, 1))?,
        })
    }

    /// `[batch, in, time]` to `[batch, out, time - kernel + 1]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        convolve(x, &self.weight, 1)?.broadcast_add(&self.bias)
    }
}

/// Cross-correlation without padding or bias: `[batch, in, time]` with filters `[out, in, kernel]`.
pub(crate) fn convolve(x: &Tensor, filters: &Tensor, stride: usize) -> Result<Tensor> {
    in_wide_enough([x, filters], |[x, filters]| {
        x.conv1d(filters, 0, stride, 1, 1)
    })
}

/// `torch.nn.MaxPool1d(size)`: `[batch, channel, time]` to `[batch, channel, time / size]`; what is left
/// over at the end is dropped (`ceil_mode=False`).
pub(crate) fn max_pool1d(x: &Tensor, size: usize) -> Result<Tensor> {
    x.unsqueeze(2)?.max_pool2d((1, size))?.squeeze(2)
}
