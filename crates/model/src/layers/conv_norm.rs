//! Convolution and norm, which are one where there is a kernel.

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

/// A convolution and the batch norm after it, with what follows them in a residual network.
///
/// The convolution is `torch.nn.Conv2d(bias=False)`, square in kernel and stride, with zeros around the image: half the
/// kernel on every side.
#[derive(Debug, Clone)]
pub(crate) struct ConvNorm {
    /// Canonical names: `resnet.conv1` and `resnet.bn1`.
    names: [String; 2],
    code: Code,
}

/// By what both are computed. A kernel has the weights in a layout of its own, beside which they are not kept.
#[derive(Debug, Clone)]
enum Code {
    Kernel(Arc<kernels::Conv2d>),
    Expression(Expression),
}

/// Both as operations of candle.
#[derive(Debug, Clone)]
struct Expression {
    /// `[out, in, kernel, kernel]`.
    weight: Tensor,
    stride: usize,
    norm: BatchNorm2d,
}

impl ConvNorm {
    /// Reads both from `vb`, by their canonical names.
    pub(crate) fn load(
        names: [String; 2],
        stride: usize,
        kernels: Kernels,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let weight = vb.pp(&names[0]).get_unchecked("weight")?;
        let norm = BatchNorm2d::load(kernels, &vb.pp(&names[1]))?;
        let code = match kernels.instructions(vb.dtype(), vb.device()) {
            None => Code::Expression(Expression {
                weight,
                stride,
                norm,
            }),
            Some(instructions) => {
                let (scale, shift) = (values(&norm.scale)?, values(&norm.shift)?);
                let (outputs, inputs, kernel, _) = weight.dims4()?;
                let size = [outputs, inputs, kernel];
                // Rows of the images are frames.
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
            Code::Kernel(kernel) => by_kernel(kernel, x, None, false)?.see(&self.names[1], probe),
            Code::Expression(both) => both.forward(x, &self.names, probe).map(FeatureMaps::Tensor),
        }
    }

    /// As [`Self::forward`], and a ReLU.
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
        out.see(&format!("{}.relu", self.names[1]), probe)
    }

    /// As [`Self::forward`], the sum with what `shortcut` gives, and a ReLU: the end of the block `name`.
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
                FeatureMaps::Tensor(relu(&probe.see(&format!("{name}.add"), sum)?)?)
            }
        };
        out.see(name, probe)
    }

    /// What computes both in one, if there is a kernel.
    pub(crate) fn kernel(&self) -> Option<&Arc<kernels::Conv2d>> {
        match &self.code {
            Code::Kernel(kernel) => Some(kernel),
            Code::Expression(_) => None,
        }
    }
}

impl Expression {
    /// Convolution and norm, one after the other.
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
        let out = probe.see(&names[0], out)?;
        probe.see(&names[1], self.norm.forward(&out)?)
    }
}

/// Convolution and norm in one, with the sum with `residual` and a ReLU where they are wanted.
fn by_kernel(
    kernel: &kernels::Conv2d,
    x: &FeatureMaps,
    residual: Option<&kernels::Images>,
    relu: bool,
) -> Result<FeatureMaps> {
    let out = kernel.forward(x.as_images()?, residual, relu);
    Ok(FeatureMaps::Images(Arc::new(out)))
}
