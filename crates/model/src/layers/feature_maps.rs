//! What flows through a residual network.

use std::sync::Arc;

use candle_core::{Device, Error, Result, Tensor};
use soundalike_kernels::{Cascade, Images, Pool};

use super::frames::{replaced, values};
use crate::Probe;

/// Channels of a two-dimensional network, in the layout of the kernels that compute it.
#[derive(Debug, Clone)]
pub(crate) enum FeatureMaps {
    /// `[batch, channel, band, frame]`.
    Tensor(Tensor),
    /// The channels of a pixel side by side; a row is a frame, a column a band.
    Images(Arc<Images>),
}

impl FeatureMaps {
    /// Shows the stage `name` to `probe`, where it looks at it, and returns what to go on with. Only what is
    /// looked at is brought into the layout of a tensor, and only what was replaced is brought back.
    pub(super) fn see(self, name: &str, probe: &mut dyn Probe) -> Result<Self> {
        match &self {
            Self::Tensor(tensor) => probe.see(name, tensor.clone()).map(Self::Tensor),
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

    /// Brings `tensor` `[batch, channel, band, frame]` into the layout of the kernels, in memory of `pool`.
    pub(crate) fn images(pool: &Pool, tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.transpose(2, 3)?;
        let shape = tensor.dims4()?.into();
        let images = Images::from_planes(pool, shape, &values(&tensor)?);
        Ok(Self::Images(Arc::new(images)))
    }

    /// Through `cascade`, which is made of kernels.
    pub(crate) fn cascade(&self, cascade: &Cascade) -> Result<Self> {
        Ok(Self::Images(Arc::new(cascade.forward(self.as_images()?))))
    }

    /// `[batch, channel, band, frame]`.
    pub(crate) fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Images(images) => to_tensor(&images),
        }
    }

    /// The tensor of a layer that has no kernel.
    pub(super) fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Images(_) => Err(Error::Msg("images came to a layer without a kernel".into())),
        }
    }

    /// The images of a layer that has a kernel.
    pub(super) fn as_images(&self) -> Result<&Images> {
        match self {
            Self::Images(images) => Ok(images),
            Self::Tensor(_) => Err(Error::Msg("a tensor came to a kernel for images".into())),
        }
    }
}

fn to_tensor(images: &Images) -> Result<Tensor> {
    let shape = images.shape().to_vec();
    let frames_first = Tensor::from_vec(images.to_planes(), shape, &Device::Cpu)?;
    frames_first.transpose(2, 3)?.contiguous()
}
