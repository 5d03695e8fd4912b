//! Convolution over bands and time.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::precision::in_wide_enough;

/// `torch.nn.Conv2d(bias=False)`, square in kernel, stride and padding.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    /// `[out, in, kernel, kernel]`.
    weight: Tensor,
    stride: usize,
}

impl Conv2d {
    /// Reads `weight` `[outputs, inputs, kernel, kernel]`.
    pub(crate) fn load(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        Ok(Self {
            weight: vb.get((outputs, inputs, kernel, kernel), "weight")?,
            stride,
        })
    }

    /// `[out, in, kernel, kernel]`.
    pub(super) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`, rounded up: the
    /// padding with zeros is half the kernel on every side.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let padding = self.weight.dim(3)? / 2;
        in_wide_enough([x, &self.weight], |[x, weight]| {
            x.conv2d(weight, padding, self.stride, 1, 1)
        })
    }
}
