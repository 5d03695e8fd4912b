//! Convolution and pooling over time.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use soundalike_kernels::{self as kernels, InstructionSet};

use super::{
    Signal,
    frames::{by_kernel, with_values},
    precision::in_wide_enough,
};
use crate::Probe;

/// `torch.nn.Conv1d` without padding, optional absolute values, and `torch.nn.MaxPool1d`: a layer of SincNet without its
/// norm. A kernel computes it in one pass.
#[derive(Debug, Clone)]
pub(crate) struct ConvPool {
    /// N in `sincnet.conv1d.N`.
    index: usize,
    /// `[out, in, kernel]`. The filters of the first convolution are a stage of their own, because they may be built from
    /// frequencies.
    weight: Tensor,
    /// `[out]`. The first convolution has none.
    bias: Option<Tensor>,
    after: kernels::Conv1dOptions,
    kernel: Option<(InstructionSet, Arc<kernels::Conv1d>)>,
}

impl ConvPool {
    /// The convolution `index` of SincNet from its weight and bias.
    pub(crate) fn new(
        index: usize,
        weight: Tensor,
        bias: Option<Tensor>,
        after: kernels::Conv1dOptions,
        instructions: Option<InstructionSet>,
    ) -> Result<Self> {
        let kernel = instructions
            .map(|instructions| {
                pack(instructions, &weight, bias.as_ref(), after)
                    .map(|kernel| (instructions, kernel))
            })
            .transpose()?;
        Ok(Self {
            index,
            weight,
            bias,
            after,
            kernel,
        })
    }

    /// `[batch, in, time]` to `[batch, out, ((time - kernel) / stride + 1) / pool]`, rounded down.
    pub(crate) fn forward(&self, x: &Signal, probe: &mut dyn Probe) -> Result<Signal> {
        let name = format!("sincnet.conv1d.{}", self.index);
        let mut weight = self.weight.clone();
        if self.index == 0 {
            weight = probe.observe(&format!("{name}.filters"), weight)?;
        }
        let pooled = match (&self.kernel, x) {
            (Some((instructions, kernel)), Signal::Frames(x)) => {
                let kernel = match weight.id() == self.weight.id() {
                    true => kernel.clone(),
                    false => pack(*instructions, &weight, self.bias.as_ref(), self.after)?,
                };
                let outputs = weight.dim(0)?;
                let out = by_kernel(x, outputs, |x, batch| kernel.forward(x, batch))?;
                Signal::Frames(out)
            }
            _ => {
                let mut out = in_wide_enough([&x.channels()?, &weight], |[x, filters]| {
                    x.conv1d(filters, 0, self.after.stride, 1, 1)
                })?;
                if let Some(bias) = &self.bias {
                    out = out.broadcast_add(&bias.reshape((1, bias.elem_count(), 1))?)?;
                }
                out = probe.observe(&name, out)?;
                if self.after.abs {
                    out = probe.observe(&format!("{name}.abs"), out.abs()?)?;
                }
                Signal::Channels(max_pool1d(&out, self.after.pool)?)
            }
        };
        pooled.observe(&format!("sincnet.pool1d.{}", self.index), probe)
    }
}

/// The kernel for the weights `[out, in, kernel]`, in its own layout. `None` as bias: 0.
pub(super) fn pack(
    instructions: InstructionSet,
    weight: &Tensor,
    bias: Option<&Tensor>,
    after: kernels::Conv1dOptions,
) -> Result<Arc<kernels::Conv1d>> {
    let shape: [usize; 3] = weight.dims3()?.into();
    let bias = match bias {
        Some(bias) => bias.to_vec1::<f32>()?,
        None => vec![0.0; shape[0]],
    };
    with_values(weight, |weight| {
        let kernel = kernels::Conv1d::new(instructions, shape, weight, &bias, after);
        Arc::new(kernel)
    })
}

/// `torch.nn.MaxPool1d(size)`: `[batch, channel, time]` to `[batch, channel, time / size]`. An incomplete window at the end
/// is dropped (`ceil_mode=False`).
fn max_pool1d(x: &Tensor, size: usize) -> Result<Tensor> {
    x.unsqueeze(2)?.max_pool2d((1, size))?.squeeze(2)
}
