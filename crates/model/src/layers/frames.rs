//! Activations over time, in the layout of the kernels.

use candle_core::{Device, Error, Result, Storage, Tensor};

use crate::Probe;

/// What flows through an encoder: a few channels over time.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    /// `[batch, channel, frame]`.
    Channels(Tensor),
    /// `[batch, frame, channel]`, as kernels have it.
    Frames(Tensor),
}

impl Signal {
    /// Shows the stage `name` to `probe` as `[batch, channel, frame]`, and returns what to go on with.
    pub(super) fn see(self, name: &str, probe: &mut dyn Probe) -> Result<Self> {
        match &self {
            Self::Channels(x) => probe.see(name, x.clone()).map(Self::Channels),
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

/// Shows the stage `name`, as the tensor that `show` makes, to `probe` where it looks at it. What it was replaced by; `None`
/// where it was not.
pub(super) fn replaced(
    name: &str,
    probe: &mut dyn Probe,
    show: impl FnOnce() -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    if !probe.looks_at(name) {
        return Ok(None);
    }
    let shown = show()?;
    let shown_id = shown.id();
    let value = probe.see(name, shown)?;
    Ok((value.id() != shown_id).then_some(value))
}

/// What `kernel` makes of the values of `x` `[batch, frame, feature]`, given with the batch:
/// `[batch, frame, features]` again.
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

/// What `take` makes of the values of `x`, which are lent where they lie in order.
pub(super) fn with_values<T>(x: &Tensor, take: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
    else {
        return Err(Error::Msg("a kernel needs values on the CPU".into()));
    };
    Ok(take(&storage.as_slice::<f32>()?[start..end]))
}

/// The values of `x`, of f32, in order.
pub(super) fn values(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all()?.to_vec1()
}
