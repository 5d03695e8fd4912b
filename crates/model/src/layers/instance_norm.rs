//! Instance normalisation.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use soundalike_kernels as kernels;

use super::{
    LEAKY_SLOPE, Signal,
    frames::by_kernel,
    leaky_relu,
    precision::{centre, mean},
};
use crate::{Kernels, Probe};

/// Added to the variance: the default of `torch.nn.InstanceNorm1d`.
const EPS: f64 = 1e-5;

/// `torch.nn.InstanceNorm1d(channels, affine=True)`: normalises each channel of each example to mean 0 and (biased) variance
/// 1 over time, then applies scale and shift. PyTorch `aten/src/ATen/native/Normalization.cpp`.
#[derive(Debug, Clone)]
pub(crate) struct InstanceNorm1d {
    /// `[1, channel, 1]`.
    weight: Tensor,
    /// `[1, channel, 1]`.
    bias: Tensor,
    /// The data type of sums.
    statistics: DType,
    kernel: Option<Arc<kernels::InstanceNorm>>,
}

impl InstanceNorm1d {
    /// Reads `weight` and `bias`, both `[channels]`.
    pub(crate) fn load(kernels: Kernels, vb: &VarBuilder<'_>) -> Result<Self> {
        let (weight, bias) = (vb.get_unchecked("weight")?, vb.get_unchecked("bias")?);
        let kernel = kernels
            .instructions(vb.dtype(), vb.device())
            .map(|instructions| {
                Ok::<_, candle_core::Error>(Arc::new(kernels::InstanceNorm {
                    instructions,
                    weight: weight.to_vec1()?,
                    bias: bias.to_vec1()?,
                    eps: EPS,
                }))
            })
            .transpose()?;
        Ok(Self {
            weight: weight.reshape((1, (), 1))?,
            bias: bias.reshape((1, (), 1))?,
            statistics: kernels.sums(vb.dtype(), vb.device()),
            kernel,
        })
    }

    /// `[batch, channel, time]`, same shape out, in the data type of the weights.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.kernel {
            Some(kernel) => {
                let frames = x.to_dtype(self.weight.dtype())?.transpose(1, 2)?;
                self.by_kernel(kernel, &frames, None)?.transpose(1, 2)
            }
            None => self.expression(x),
        }
    }

    /// As [`Self::forward`], then a LeakyReLU. `name`: the stage of the norm.
    pub(crate) fn forward_leaky(
        &self,
        x: &Signal,
        name: &str,
        probe: &mut dyn Probe,
    ) -> Result<Signal> {
        let out = match (&self.kernel, x) {
            (Some(kernel), Signal::Frames(x)) => {
                Signal::Frames(self.by_kernel(kernel, x, Some(LEAKY_SLOPE as f32))?)
            }
            _ => {
                let out = probe.observe(name, self.expression(&x.channels()?)?)?;
                Signal::Channels(leaky_relu(&out)?)
            }
        };
        out.observe(&format!("{name}.leaky_relu"), probe)
    }

    /// `[batch, time, channel]`, same shape out.
    fn by_kernel(
        &self,
        kernel: &kernels::InstanceNorm,
        x: &Tensor,
        slope: Option<f32>,
    ) -> Result<Tensor> {
        by_kernel(x, self.weight.elem_count(), |x, batch| {
            kernel.forward(x, batch, slope)
        })
    }

    /// Two passes over time: the mean, then the variance around it.
    fn expression(&self, x: &Tensor) -> Result<Tensor> {
        let statistics = self.statistics;
        let wide = x.to_dtype(statistics)?;
        let centred = centre(&wide)?;
        let deviation = (mean(&centred.sqr()?)? + EPS)?.sqrt()?;
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
