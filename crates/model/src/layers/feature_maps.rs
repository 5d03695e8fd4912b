//! The activations of a residual network.

use std::sync::Arc;

use candle_core::{Device, Error, Result, Tensor};
use soundalike_kernels::{ConvChain, Images, Pool};

use super::frames::{replaced, values};
use crate::Probe;

/// Images of several channels, in candle's layout or in that of the kernels.
#[derive(Debug, Clone)]
pub(crate) enum FeatureMaps {
    /// `[batch, channel, band, frame]`.
    Tensor(Tensor),
    /// The layout of the kernels: the channels of a pixel are adjacent, rows are frames, columns are bands.
    Images(Arc<Images>),
}

impl FeatureMaps {
    /// Hands the stage `name` to `probe` and returns the value with which to continue. Images are converted to a tensor only
    /// if the probe needs the stage, and a tensor to images only if the probe replaced it.
    pub(super) fn observe(self, name: &str, probe: &mut dyn Probe) -> Result<Self> {
        match &self {
            Self::Tensor(tensor) => probe.observe(name, tensor.clone()).map(Self::Tensor),
            Self::Images(images) => {
                let Some(value) = replaced(name, probe, || to_tensor(images))? else {
                    return Ok(self);
                };
                let [batch, channels, frames, bands] = images.shape();
                let expected = [batch, channels, bands, frames];
                if value.dims() != expected {
                    candle_core::bail!(
                        "{name} was replaced by a tensor of shape {:?}, expected {expected:?}",
                        value.dims()
                    );
                }
                Self::images(images.pool(), &value)
            }
        }
    }

    /// Converts `tensor` `[batch, channel, band, frame]` to the layout of the kernels, in memory of `pool`.
    pub(crate) fn images(pool: &Pool, tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.transpose(2, 3)?;
        let shape = tensor.dims4()?.into();
        let images = Images::from_planes(pool, shape, &values(&tensor)?);
        Ok(Self::Images(Arc::new(images)))
    }

    /// Runs `chain`, which consists of kernels.
    pub(crate) fn through(&self, chain: &ConvChain) -> Result<Self> {
        Ok(Self::Images(Arc::new(chain.forward(self.as_images()?))))
    }

    /// `[batch, channel, band, frame]`.
    pub(crate) fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Images(images) => to_tensor(&images),
        }
    }

    /// The input of a layer without a kernel.
    pub(super) fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Images(_) => Err(Error::Msg(
                "a layer without a kernel cannot read images".into(),
            )),
        }
    }

    /// The input of a layer with a kernel.
    pub(super) fn as_images(&self) -> Result<&Images> {
        match self {
            Self::Images(images) => Ok(images),
            Self::Tensor(_) => Err(Error::Msg(
                "a kernel for images cannot read a tensor".into(),
            )),
        }
    }
}

fn to_tensor(images: &Images) -> Result<Tensor> {
    let shape = images.shape().to_vec();
    let frames_first = Tensor::from_vec(images.to_planes(), shape, &Device::Cpu)?;
    frames_first.transpose(2, 3)?.contiguous()
}
