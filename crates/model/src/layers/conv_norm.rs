//! Convolution and norm, which are one where there is a kernel.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use soundalike_kernels as kernels;

use super::{BatchNorm2d, Conv2d, FeatureMaps, frames::with_values, relu};
use crate::{Kernels, Probe};

/// A convolution and the batch norm after it, with what follows them in a residual network.
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
    Expression(Conv2d, BatchNorm2d),
}

/// Size of a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
}

impl ConvNorm {
    /// Reads both from `vb`, by their canonical names.
    pub(crate) fn load(
        names: [String; 2],
        shape: ConvShape,
        kernels: Kernels,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let ConvShape {
            inputs,
            outputs,
            kernel,
            stride,
        } = shape;
        let conv = Conv2d::load(inputs, outputs, kernel, stride, vb.pp(&names[0]))?;
        let norm = BatchNorm2d::load(outputs, kernels, vb.pp(&names[1]))?;
        let code = match kernels.instructions(vb.dtype(), vb.device()) {
            None => Code::Expression(conv, norm),
            Some(instructions) => {
                let (scale, shift) = (values(norm.scale())?, values(norm.shift())?);
                let size = [outputs, inputs, kernel];
                // Rows of the images are frames.
                let weight = conv.weight().transpose(2, 3)?;
                let packed = with_values(&weight, |weight| {
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
                let out = kernel.forward(x.as_images()?, None, false);
                FeatureMaps::Images(Arc::new(out)).see(&self.names[1], probe)
            }
            Code::Expression(conv, norm) => {
                let out = self.expression(conv, norm, x, probe)?;
                Ok(FeatureMaps::Tensor(out))
            }
        }
    }

    /// As [`Self::forward`], and a ReLU.
    pub(crate) fn forward_relu(
        &self,
        x: &FeatureMaps,
        probe: &mut dyn Probe,
    ) -> Result<FeatureMaps> {
        let name = format!("{}.relu", self.names[1]);
        let out = match &self.code {
            Code::Kernel(kernel) => {
                let out = kernel.forward(x.as_images()?, None, true);
                FeatureMaps::Images(Arc::new(out))
            }
            Code::Expression(conv, norm) => {
                FeatureMaps::Tensor(relu(&self.expression(conv, norm, x, probe)?)?)
            }
        };
        out.see(&name, probe)
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
                let out = kernel.forward(x.as_images()?, Some(residual.as_images()?), true);
                FeatureMaps::Images(Arc::new(out))
            }
            Code::Expression(conv, norm) => {
                let out = self.expression(conv, norm, x, probe)?;
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
            Code::Expression(..) => None,
        }
    }

    /// Convolution and norm, one after the other.
    fn expression(
        &self,
        conv: &Conv2d,
        norm: &BatchNorm2d,
        x: &FeatureMaps,
        probe: &mut dyn Probe,
    ) -> Result<Tensor> {
        let x = probe.see(&self.names[0], conv.forward(x.tensor()?)?)?;
        probe.see(&self.names[1], norm.forward(&x)?)
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
