//! Faulty stages as functions of their operands, in f64.

use soundalike_convert::Bundle;
use soundalike_model::{Device, Result, Tensor, TensorError};
use soundalike_network::{Graph, Op, Stage};

use super::{Draft, Fault, Patterns};

/// A stage in a run, to be replaced.
pub(super) struct Call<'a> {
    pub(super) stage: &'a Stage,
    pub(super) graph: &'a Graph,
    pub(super) operands: Vec<Tensor>,
    /// Its output without the fault.
    pub(super) value: Tensor,
    pub(super) bundle: &'a Bundle,
}

impl Call<'_> {
    /// Its first operand.
    pub(super) fn input(&self) -> Result<&Tensor> {
        self.operand(0)
    }

    pub(super) fn operand(&self, index: usize) -> Result<&Tensor> {
        let missing = || TensorError::msg(format!("{} has no operand {index}", self.stage.name));
        self.operands.get(index).ok_or_else(missing)
    }

    /// A tensor of the network.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor> {
        let missing = || TensorError::msg(format!("no tensor `{name}`"));
        let tensor = self.bundle.tensor(name).ok_or_else(missing)?;
        let values = tensor.to_f64().ok_or_else(missing)?;
        Tensor::from_vec(values, tensor.shape, &Device::Cpu)
    }

    /// A tensor of this stage's module, one value per channel, as `[1, channel, 1, ...]`.
    pub(super) fn channels(&self, kind: &str) -> Result<Tensor> {
        let mut shape = vec![1; self.value.rank()];
        let values = self.tensor(&format!("{}.{kind}", self.stage.name))?;
        shape[1] = values.elem_count();
        values.reshape(shape)
    }

    /// The stride of the convolution.
    pub(super) fn stride(&self) -> usize {
        match self.stage.op {
            Op::Conv1d { stride, .. } | Op::Conv2d { stride, .. } => stride,
            _ => 1,
        }
    }
}

/// The properties of an instance norm that faults change.
pub(super) struct NormOptions {
    pub(super) eps: f64,
    /// Subtracted from the divisor of the variance.
    pub(super) correction: f64,
    /// Whether the mean is subtracted.
    pub(super) centred: bool,
    /// The axis of the statistics.
    pub(super) axis: usize,
}

/// A correct instance norm.
pub(super) const NORM: NormOptions = NormOptions {
    eps: 1e-5,
    correction: 0.0,
    centred: true,
    axis: 2,
};

impl Draft {
    /// Replaces `stages` by an instance norm with changed options.
    pub(super) fn norm(self, stages: Patterns, change: fn(&mut NormOptions)) -> Fault {
        let mut options = NORM;
        change(&mut options);
        self.stage(stages, move |call| instance_norm(call, &options))
    }

    /// Replaces `stages` by a batch norm that divides by `deviation` of the running variances.
    pub(super) fn batch_norm(
        self,
        stages: Patterns,
        deviation: fn(Tensor) -> Result<Tensor>,
    ) -> Fault {
        self.stage(stages, move |call| batch_norm(call, deviation))
    }

    /// Pools over time with changed options.
    pub(super) fn stats_pool(self, change: fn(&mut PoolOptions)) -> Fault {
        let mut options = POOL;
        change(&mut options);
        self.stage(POOLED, move |call| stats_pool(call, &options))
    }
}

/// A batch norm that divides by `deviation` of the running variances.
pub(super) fn batch_norm(
    call: &Call<'_>,
    deviation: impl Fn(Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    call.input()?
        .broadcast_sub(&call.channels("running_mean")?)?
        .broadcast_div(&deviation(call.channels("running_var")?)?)?
        .broadcast_mul(&call.channels("weight")?)?
        .broadcast_add(&call.channels("bias")?)
}

/// An instance norm of `[batch, channel, time]`.
pub(super) fn instance_norm(call: &Call<'_>, norm: &NormOptions) -> Result<Tensor> {
    let x = call.input()?;
    let count = x.dim(norm.axis)? as f64;
    let mean = x.mean_keepdim(norm.axis)?;
    let centred = x.broadcast_sub(&mean)?;
    let squares = centred.sqr()?.sum_keepdim(norm.axis)?;
    let deviation = ((squares / (count - norm.correction))? + norm.eps)?.sqrt()?;
    let centred = if norm.centred { centred } else { x.clone() };
    centred
        .broadcast_div(&deviation)?
        .broadcast_mul(&call.channels("weight")?)?
        .broadcast_add(&call.channels("bias")?)
}

/// A leaky ReLU of the input.
pub(super) fn leaky(call: &Call<'_>, slope: f64) -> Result<Tensor> {
    sloped(call.input()?, slope)
}

/// `x`, its negative values times `slope`.
pub(super) fn sloped(x: &Tensor, slope: f64) -> Result<Tensor> {
    let below = (x - x.relu()?)?;
    x.relu()? + (below * slope)?
}

/// `x` one frame late along `axis`, the first frame zero.
pub(super) fn late(x: &Tensor, axis: usize) -> Result<Tensor> {
    let first = x.narrow(axis, 0, 1)?.zeros_like()?;
    Tensor::cat(&[first, x.narrow(axis, 0, x.dim(axis)? - 1)?], axis)
}

/// `x` without its last frame along `axis`.
pub(super) fn shorter(x: &Tensor, axis: usize) -> Result<Tensor> {
    x.narrow(axis, 0, x.dim(axis)? - 1)
}

/// `x` reversed along `axis`.
pub(super) fn reversed(x: &Tensor, axis: usize) -> Result<Tensor> {
    let length = x.dim(axis)? as u32;
    let order = Tensor::from_iter((0..length).rev(), &Device::Cpu)?;
    x.contiguous()?.index_select(&order, axis)
}

/// `x` with the two halves of its last axis swapped.
pub(super) fn halves_swapped(x: &Tensor) -> Result<Tensor> {
    let (axis, half) = (x.rank() - 1, x.dim(x.rank() - 1)? / 2);
    Tensor::cat(
        &[x.narrow(axis, half, half)?, x.narrow(axis, 0, half)?],
        axis,
    )
}

/// A pool of three values by `combine`, its first window at `start`.
pub(super) fn pool(
    x: &Tensor,
    start: usize,
    combine: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (batch, channels, length) = x.dims3()?;
    let frames = length / 3;
    // Windows that exceed the end repeat the last value.
    let missing = vec![x.narrow(2, length - 1, 1)?; start];
    let padded = Tensor::cat(&[vec![x.clone()], missing].concat(), 2)?;
    let windows = padded
        .narrow(2, start, frames * 3)?
        .reshape((batch, channels, frames, 3))?;
    let place = |index| windows.narrow(3, index, 1)?.squeeze(3);
    combine(&combine(&place(0)?, &place(1)?)?, &place(2)?)
}

/// Log-softmax of the input along `axis`.
pub(super) fn log_softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(axis)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(axis)?.log()?)
}

/// A convolution of `[batch, channel, band, frame]` with the padding `edge` instead of zeros.
pub(super) fn conv2d(
    call: &Call<'_>,
    edge: fn(&Tensor, usize) -> Result<Tensor>,
) -> Result<Tensor> {
    let weight = call.tensor(&format!("{}.weight", call.stage.name))?;
    let padded = edge(&edge(call.input()?, 2)?, 3)?;
    padded.conv2d(&weight, 0, call.stride(), 1, 1)
}

/// `x` with the values at both ends of `axis` repeated.
pub(super) fn replicated(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.dim(axis)? - 1;
    Tensor::cat(
        &[x.narrow(axis, 0, 1)?, x.clone(), x.narrow(axis, last, 1)?],
        axis,
    )
}

/// The pooling over time.
pub(super) const POOLED: &[&str] = &["resnet.pool"];

/// The properties of the pooling over time that faults change.
pub(super) struct PoolOptions {
    /// Subtracted from the divisor of the variance.
    pub(super) correction: f64,
    /// Added to the variance.
    pub(super) eps: f64,
    /// Whether it returns the variance instead of the deviation.
    pub(super) variance: bool,
    /// Frames skipped at the start.
    pub(super) skipped: usize,
}

/// A correct pooling.
pub(super) const POOL: PoolOptions = PoolOptions {
    correction: 1.0,
    eps: 0.0,
    variance: false,
    skipped: 0,
};

/// Statistics of the whole window, `[batch, 2 features]`, or of each mask, `[batch, mask, 2 features]`.
pub(super) fn stats_pool(call: &Call<'_>, pool: &PoolOptions) -> Result<Tensor> {
    let (mean, deviation) = statistics(call, pool)?;
    let last = mean.rank() - 1;
    Tensor::cat(&[mean, deviation], last)
}

/// Mean and deviation of each feature, `[batch, feature]` or `[batch, mask, feature]`.
pub(super) fn statistics(call: &Call<'_>, pool: &PoolOptions) -> Result<(Tensor, Tensor)> {
    let x = call.input()?.flatten(1, 2)?;
    let frames = x.dim(2)? - pool.skipped;
    let x = x.narrow(2, pool.skipped, frames)?;
    let (mean, variance) = match call.operands.get(1) {
        None => {
            let mean = x.mean_keepdim(2)?;
            let squares = x.broadcast_sub(&mean)?.sqr()?.sum(2)?;
            (
                mean.squeeze(2)?,
                (squares / (frames as f64 - pool.correction))?,
            )
        }
        Some(masks) => {
            let masks = masks.narrow(2, pool.skipped, frames)?;
            let of_each =
                (0..masks.dim(1)?).map(|mask| weighted(&x, &masks.narrow(1, mask, 1)?, pool));
            let (means, variances): (Vec<_>, Vec<_>) =
                of_each.collect::<Result<Vec<_>>>()?.into_iter().unzip();
            (Tensor::stack(&means, 1)?, Tensor::stack(&variances, 1)?)
        }
    };
    let variance = (variance + pool.eps)?;
    let deviation = if pool.variance {
        variance
    } else {
        variance.sqrt()?
    };
    Ok((mean, deviation))
}

/// Mean and variance of `x` `[batch, feature, frame]`, weighted by `mask` `[batch, 1, frame]`. pyannote.audio `StatsPool`,
/// whose 1e-8 makes the statistics of a silent speaker 0.
fn weighted(x: &Tensor, mask: &Tensor, pool: &PoolOptions) -> Result<(Tensor, Tensor)> {
    let sum = (mask.sum(2)? + 1e-8)?;
    let mean = x.broadcast_mul(mask)?.sum(2)?.broadcast_div(&sum)?;
    let squares = x.broadcast_sub(&mean.unsqueeze(2)?)?.sqr()?;
    let squares = squares.broadcast_mul(mask)?.sum(2)?;
    let lost = (mask.sqr()?.sum(2)?.div(&sum)? * pool.correction)?;
    let divisor = ((sum - lost)? + 1e-8)?;
    Ok((mean, squares.broadcast_div(&divisor)?))
}
