//! Convolution and norm over bands and time.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use soundalike_kernels as kernels;

use super::{
    BatchNorm2d, FeatureMaps,
    frames::{values, with_values},
    precision::in_wide_enough,
    relu,
};
use crate::{Kernels, Probe};

/// A convolution and the batch norm after it. A kernel computes both in one pass, with the sum and the ReLU that follow.
///
/// The convolution is `torch.nn.Conv2d(bias=False)` with a square kernel and stride. The padding is zeros, half the kernel on
/// each side. Where the norm is folded into it, it has a bias, and its output is that of the norm.
#[derive(Debug, Clone)]
pub(crate) struct ConvNorm {
    /// Canonical names: `resnet.conv1` and `resnet.bn1`.
    names: [String; 2],
    code: Code,
}

/// The code that computes both. A kernel has its own copy of the weights, in its own layout, and no other copy is kept.
#[derive(Debug, Clone)]
enum Code {
    Kernel(Arc<kernels::Conv2d>),
    Expression(Expression),
}

/// Convolution and norm as operations of candle.
#[derive(Debug, Clone)]
struct Expression {
    /// `[out, in, kernel, kernel]`.
    weight: Tensor,
    stride: usize,
    norm: BatchNorm2d,
    /// Whether the norm only adds the bias of the convolution.
    folded: bool,
}

impl ConvNorm {
    /// Reads both from `vb` by their canonical names, convolution first. `folded`: there is no norm.
    pub(crate) fn load(
        names: [String; 2],
        stride: usize,
        folded: bool,
        kernels: Kernels,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let weight = vb.pp(&names[0]).get_unchecked("weight")?;
        let norm = match folded {
            false => BatchNorm2d::load(kernels, &vb.pp(&names[1]))?,
            true => BatchNorm2d::only_shift(&vb.pp(&names[0]))?,
        };
        let code = match kernels.instructions(vb.dtype(), vb.device()) {
            None => Code::Expression(Expression {
                weight,
                stride,
                norm,
                folded,
            }),
            Some(instructions) => {
                let (scale, shift) = (values(&norm.scale)?, values(&norm.shift)?);
                let (outputs, inputs, kernel, _) = weight.dims4()?;
                let size = [outputs, inputs, kernel];
                // The rows of an image in memory are frames.
                let packed = with_values(&weight.transpose(2, 3)?, |weight| {
                    kernels::Conv2d::new(instructions, size, stride, weight, &scale, &shift)
                })?;
                Code::Kernel(Arc::new(packed))
            }
        };
        Ok(Self { names, code })
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`, rounded up.
    pub(crate) fn forward(&self, x: &FeatureMaps, probe: &mut dyn Probe) -> Result<FeatureMaps> {
        match &self.code {
            Code::Kernel(kernel) => {
                by_kernel(kernel, x, None, false)?.observe(&self.names[1], probe)
            }
            Code::Expression(both) => both.forward(x, &self.names, probe).map(FeatureMaps::Tensor),
        }
    }

    /// As [`Self::forward`], then a ReLU.
    pub(crate) fn forward_relu(
        &self,
        x: &FeatureMaps,
        probe: &mut dyn Probe,
    ) -> Result<FeatureMaps> {
        let out = match &self.code {
            Code::Kernel(kernel) => by_kernel(kernel, x, None, true)?,
            Code::Expression(both) => {
                FeatureMaps::Tensor(relu(&both.forward(x, &self.names, probe)?)?)
            }
        };
        out.observe(&format!("{}.relu", self.names[1]), probe)
    }

    /// As [`Self::forward`], then the sum with the result of `shortcut`, then a ReLU: the end of the block `name`.
    pub(crate) fn forward_residual(
        &self,
        x: &FeatureMaps,
        shortcut: impl FnOnce(&mut dyn Probe) -> Result<FeatureMaps>,
        name: &str,
        probe: &mut dyn Probe,
    ) -> Result<FeatureMaps> {
        let out = match &self.code {
            Code::Kernel(kernel) => {
                let residual = shortcut(probe)?;
                by_kernel(kernel, x, Some(residual.as_images()?), true)?
            }
            Code::Expression(both) => {
                let out = both.forward(x, &self.names, probe)?;
                let sum = (out + shortcut(probe)?.tensor()?)?;
                FeatureMaps::Tensor(relu(&probe.observe(&format!("{name}.add"), sum)?)?)
            }
        };
        out.observe(name, probe)
    }

    /// The kernel that computes both, if there is one.
    pub(crate) fn kernel(&self) -> Option<&Arc<kernels::Conv2d>> {
        match &self.code {
            Code::Kernel(kernel) => Some(kernel),
            Code::Expression(_) => None,
        }
    }
}

impl Expression {
    /// Computes the convolution, then the norm, and hands both to `probe`.
    fn forward(
        &self,
        x: &FeatureMaps,
        names: &[String; 2],
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let padding = self.weight.dim(3)? / 2;
        let out = in_wide_enough([x.tensor()?, &self.weight], |[x, weight]| {
            x.conv2d(weight, padding, self.stride, 1, 1)
        })?;
        let out = match self.folded {
            false => probe.observe(&names[0], out)?,
            true => out,
        };
        probe.observe(&names[1], self.norm.forward(&out)?)
    }
}

/// Computes convolution and norm in one pass, then optionally the sum with `residual` and a ReLU.
fn by_kernel(
    kernel: &kernels::Conv2d,
    x: &FeatureMaps,
    residual: Option<&kernels::Images>,
    relu: bool,
) -> Result<FeatureMaps> {
    let out = kernel.forward(x.as_images()?, residual, relu);
    Ok(FeatureMaps::Images(Arc::new(out)))
}
