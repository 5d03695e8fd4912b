//! Convolution and pooling over time.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use soundalike_kernels::{self as kernels, InstructionSet};

use super::{Signal, frames::by_kernel, precision::in_wide_enough};
use crate::Probe;

/// `torch.nn.Conv1d` without padding, absolute values where wanted, and `torch.nn.MaxPool1d`: a stage of SincNet
/// without its norm. In one pass where there is a kernel.
#[derive(Debug, Clone)]
pub(crate) struct ConvPool {
    /// Which of the convolutions: `sincnet.conv1d.N`.
    index: usize,
    /// `[out, in, kernel]`. Of the first convolution a stage of its own, because it may be made of parameters.
    weight: Tensor,
    /// `[out]`; the first has none.
    bias: Option<Tensor>,
    after: kernels::After,
    kernel: Option<(InstructionSet, Arc<kernels::Conv1d>)>,
}

impl ConvPool {
    /// The convolution `index` of an encoder from its weight and bias.
    pub(crate) fn new(
        index: usize,
        weight: Tensor,
        bias: Option<Tensor>,
        after: kernels::After,
        instructions: Option<InstructionSet>,
    ) -> Result<Self> {
        let kernel = instructions
            .map(|instructions| {
                let kernel = pack(instructions, &weight, bias.as_ref(), after)?;
                Ok::<_, candle_core::Error>((instructions, Arc::new(kernel)))
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
        let weight = if self.index == 0 {
            probe.see(&format!("{name}.filters"), self.weight.clone())?
        } else {
            self.weight.clone()
        };
        let pooled = match (&self.kernel, x) {
            (Some((instructions, kernel)), Signal::Frames(x)) => {
                let outputs = weight.dim(0)?;
                let run = |kernel: &kernels::Conv1d| {
                    by_kernel(x, outputs, |x, batch| kernel.forward(x, batch))
                };
                Signal::Frames(if weight.id() == self.weight.id() {
                    run(kernel)?
                } else {
                    let bias = self.bias.as_ref();
                    run(&pack(*instructions, &weight, bias, self.after)?)?
                })
            }
            _ => {
                let mut out = convolve(&x.channels()?, &weight, self.after.stride)?;
                if let Some(bias) = &self.bias {
                    out = out.broadcast_add(&bias.reshape((1, bias.elem_count(), 1))?)?;
                }
                out = probe.see(&name, out)?;
                if self.after.abs {
                    out = probe.see(&format!("{name}.abs"), out.abs()?)?;
                }
                Signal::Channels(max_pool1d(&out, self.after.pool)?)
            }
        };
        pooled.see(&format!("sincnet.pool1d.{}", self.index), probe)
    }
}

/// Weights as the kernel wants them.
fn pack(
    instructions: InstructionSet,
    weight: &Tensor,
    bias: Option<&Tensor>,
    after: kernels::After,
) -> Result<kernels::Conv1d> {
    let shape: [usize; 3] = weight.dims3()?.into();
    let values = weight.flatten_all()?.to_vec1::<f32>()?;
    let bias = match bias {
        Some(bias) => bias.to_vec1::<f32>()?,
        None => vec![0.0; shape[0]],
    };
    Ok(kernels::Conv1d::new(
        instructions,
        shape,
        &values,
        &bias,
        after,
    ))
}

/// Cross-correlation without padding or bias: `[batch, in, time]` with filters `[out, in, kernel]`.
fn convolve(x: &Tensor, filters: &Tensor, stride: usize) -> Result<Tensor> {
    in_wide_enough([x, filters], |[x, filters]| {
        x.conv1d(filters, 0, stride, 1, 1)
    })
}

/// `torch.nn.MaxPool1d(size)`: `[batch, channel, time]` to `[batch, channel, time / size]`; what is left
/// over at the end is dropped (`ceil_mode=False`).
fn max_pool1d(x: &Tensor, size: usize) -> Result<Tensor> {
    x.unsqueeze(2)?.max_pool2d((1, size))?.squeeze(2)
}
