//! Activations over time, and running kernels on them.

use candle_core::{Device, Error, Result, Storage, Tensor};

use crate::Probe;

/// The activations of SincNet: a few channels over time.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    /// `[batch, channel, frame]`.
    Channels(Tensor),
    /// `[batch, frame, channel]`, the layout of the kernels.
    Frames(Tensor),
}

impl Signal {
    /// Hands the stage `name` to `probe` as `[batch, channel, frame]`, and returns the signal with which to continue.
    pub(super) fn observe(self, name: &str, probe: &mut dyn Probe) -> Result<Self> {
        match &self {
            Self::Channels(x) => probe.observe(name, x.clone()).map(Self::Channels),
            Self::Frames(_) => match replaced(name, probe, || self.channels())? {
                None => Ok(self),
                Some(value) => Ok(Self::Frames(value.transpose(1, 2)?.contiguous()?)),
            },
        }
    }

    /// `[batch, frame, channel]`.
    pub(crate) fn into_frames(self) -> Result<Tensor> {
        match self {
            Self::Channels(x) => x.transpose(1, 2)?.contiguous(),
            Self::Frames(x) => Ok(x),
        }
    }

    /// `[batch, channel, frame]`.
    pub(super) fn channels(&self) -> Result<Tensor> {
        match self {
            Self::Channels(x) => Ok(x.clone()),
            Self::Frames(x) => x.transpose(1, 2)?.contiguous(),
        }
    }
}

/// Hands the stage `name` to `probe` if the probe needs it, as the tensor that `show` returns. The replacement, or `None` if
/// the probe did not replace it.
pub(super) fn replaced(
    name: &str,
    probe: &mut dyn Probe,
    show: impl FnOnce() -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    if !probe.needs(name) {
        return Ok(None);
    }
    let shown = show()?;
    let shown_id = shown.id();
    let value = probe.observe(name, shown)?;
    Ok((value.id() != shown_id).then_some(value))
}

/// Runs `kernel` on the values of `x` `[batch, frame, feature]` and the number of examples in the batch. Its result is
/// `[batch, frame, features]`.
pub(super) fn by_kernel(
    x: &Tensor,
    features: usize,
    kernel: impl FnOnce(&[f32], usize) -> Vec<f32>,
) -> Result<Tensor> {
    let (batch, ..) = x.dims3()?;
    let out = with_values(x, |values| kernel(values, batch))?;
    let frames = out.len() / (batch * features).max(1);
    Tensor::from_vec(out, (batch, frames, features), &Device::Cpu)
}

/// Calls `take` with the values of `x`, without a copy if `x` is contiguous.
pub(super) fn with_values<T>(x: &Tensor, take: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
    else {
        return Err(Error::Msg("a kernel needs a tensor on the CPU".into()));
    };
    Ok(take(&storage.as_slice::<f32>()?[start..end]))
}

/// A copy of the values of `x`, whose data type is f32.
pub(super) fn values(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all()?.to_vec1()
}
