//! Convolution and norm, which are one where there is a kernel.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use soundalike_kernels as kernels;

use super::{BatchNorm2d, Conv2d, FeatureMaps, relu};
use crate::{Kernels, Probe};

/// A convolution and the batch norm after it, with what follows them in a residual network.
#[derive(Debug, Clone)]
pub(crate) struct ConvNorm {
    /// Canonical names: `resnet.conv1` and `resnet.bn1`.
    names: [String; 2],
    conv: Conv2d,
    norm: BatchNorm2d,
    kernel: Option<Arc<kernels::Conv2d>>,
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
        let kernel = kernels
            .instructions(vb.dtype(), vb.device())
            .map(|instructions| {
                Ok::<_, candle_core::Error>(Arc::new(kernels::Conv2d::new(
                    instructions,
                    [outputs, inputs, kernel],
                    stride,
                    // Rows of the images are frames.
                    &values(&conv.weight().transpose(2, 3)?)?,
                    &values(norm.scale())?,
                    &values(norm.shift())?,
                )))
            })
            .transpose()?;
        Ok(Self {
            names,
            conv,
            norm,
            kernel,
        })
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`, rounded up.
    pub(crate) fn forward(&self, x: &FeatureMaps, probe: &mut dyn Probe) -> Result<FeatureMaps> {
        match (&self.kernel, x) {
            (Some(kernel), FeatureMaps::Images(images)) => {
                let out = kernel.forward(images, None, false);
                FeatureMaps::Images(Arc::new(out)).see(&self.names[1], probe)
            }
            _ => self.expression(x, probe).map(FeatureMaps::Tensor),
        }
    }

    /// As [`Self::forward`], and a ReLU.
    pub(crate) fn forward_relu(
        &self,
        x: &FeatureMaps,
        probe: &mut dyn Probe,
    ) -> Result<FeatureMaps> {
        let name = format!("{}.relu", self.names[1]);
        let out = match (&self.kernel, x) {
            (Some(kernel), FeatureMaps::Images(images)) => {
                FeatureMaps::Images(Arc::new(kernel.forward(images, None, true)))
            }
            _ => FeatureMaps::Tensor(relu(&self.expression(x, probe)?)?),
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
        let out = match (&self.kernel, x) {
            (Some(kernel), FeatureMaps::Images(images)) => {
                let FeatureMaps::Images(residual) = shortcut(probe)? else {
                    candle_core::bail!("{name}: a shortcut without a kernel");
                };
                let out = kernel.forward(images, Some(&residual), true);
                FeatureMaps::Images(Arc::new(out))
            }
            _ => {
                let out = self.expression(x, probe)?;
                let sum = (out + shortcut(probe)?.tensor()?)?;
                FeatureMaps::Tensor(relu(&probe.see(&format!("{name}.add"), sum)?)?)
            }
        };
        out.see(name, probe)
    }

    /// What computes both in one, if there is a kernel.
    pub(crate) fn kernel(&self) -> Option<&Arc<kernels::Conv2d>> {
        self.kernel.as_ref()
    }

    /// Whether `probe` looks at any stage of it.
    pub(crate) fn is_watched(&self, probe: &dyn Probe) -> bool {
        let [conv, norm] = &self.names;
        probe.looks_at(conv) || probe.looks_at(norm) || probe.looks_at(&format!("{norm}.relu"))
    }

    /// Convolution and norm, one after the other.
    fn expression(&self, x: &FeatureMaps, probe: &mut dyn Probe) -> Result<Tensor> {
        let [conv, norm] = &self.names;
        let x = probe.see(conv, self.conv.forward(x.tensor()?)?)?;
        probe.see(norm, self.norm.forward(&x)?)
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
