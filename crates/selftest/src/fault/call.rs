//! What takes the place of a stage: mistakes as functions of its operands, in f64.

use soundalike_convert::Bundle;
use soundalike_model::{Device, Result, Tensor, TensorError};
use soundalike_network::{Graph, Op, Stage};

use super::{Draft, Fault};

/// A stage that is being replaced.
pub(super) struct Call<'a> {
    pub(super) stage: &'a Stage,
    pub(super) graph: &'a Graph,
    /// What it was fed.
    pub(super) operands: Vec<Tensor>,
    /// What it made of that.
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

    /// Values from one output of the convolution to the next.
    pub(super) fn stride(&self) -> usize {
        match self.stage.op {
            Op::Conv1d { stride, .. } | Op::Conv2d { stride, .. } => stride,
            _ => 1,
        }
    }
}

/// What an instance norm can have otherwise.
pub(super) struct NormOptions {
    pub(super) eps: f64,
    /// Taken off the number of values that the variance is divided by.
    pub(super) correction: f64,
    /// Whether the mean is taken off.
    pub(super) centred: bool,
    /// The axis over which it is taken.
    pub(super) axis: usize,
}

/// As it should be.
const NORM: NormOptions = NormOptions {
    eps: 1e-5,
    correction: 0.0,
    centred: true,
    axis: 2,
};

impl Draft {
    /// Puts an instance norm with changed options in the place of `stages`.
    pub(super) fn norm(
        self,
        stages: &'static [&'static str],
        change: fn(&mut NormOptions),
    ) -> Fault {
        let mut options = NORM;
        change(&mut options);
        self.stage(stages, move |call| instance_norm(call, &options))
    }

    /// Puts a batch norm in the place of `stages` that divides by `deviation` of the variances in the file.
    pub(super) fn batch_norm(
        self,
        stages: &'static [&'static str],
        deviation: fn(Tensor) -> Result<Tensor>,
    ) -> Fault {
        self.stage(stages, move |call| {
            call.input()?
                .broadcast_sub(&call.channels("running_mean")?)?
                .broadcast_div(&deviation(call.channels("running_var")?)?)?
                .broadcast_mul(&call.channels("weight")?)?
                .broadcast_add(&call.channels("bias")?)
        })
    }

    /// Pools over time with changed options.
    pub(super) fn stats_pool(self, change: fn(&mut PoolOptions)) -> Fault {
        let mut options = POOL;
        change(&mut options);
        self.stage(POOLED, move |call| stats_pool(call, &options))
    }
}

/// An instance norm of `[batch, channel, time]` that has something otherwise.
fn instance_norm(call: &Call<'_>, norm: &NormOptions) -> Result<Tensor> {
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

/// A leaky ReLU of the input with another slope.
pub(super) fn leaky(call: &Call<'_>, slope: f64) -> Result<Tensor> {
    sloped(call.input()?, slope)
}

/// `x`, its negative values times `slope`.
pub(super) fn sloped(x: &Tensor, slope: f64) -> Result<Tensor> {
    let below = (x - x.relu()?)?;
    x.relu()? + (below * slope)?
}

/// `x` moved by one frame along `axis`, the first one silent.
pub(super) fn late(x: &Tensor, axis: usize) -> Result<Tensor> {
    let first = x.narrow(axis, 0, 1)?.zeros_like()?;
    Tensor::cat(&[first, x.narrow(axis, 0, x.dim(axis)? - 1)?], axis)
}

/// `x` without its last frame along `axis`.
pub(super) fn shorter(x: &Tensor, axis: usize) -> Result<Tensor> {
    x.narrow(axis, 0, x.dim(axis)? - 1)
}

/// `x` turned round along `axis`.
pub(super) fn reversed(x: &Tensor, axis: usize) -> Result<Tensor> {
    let length = x.dim(axis)? as u32;
    let order = Tensor::from_iter((0..length).rev(), &Device::Cpu)?;
    x.contiguous()?.index_select(&order, axis)
}

/// The two halves of the last axis swapped.
pub(super) fn halves_swapped(x: &Tensor) -> Result<Tensor> {
    let (axis, half) = (x.rank() - 1, x.dim(x.rank() - 1)? / 2);
    Tensor::cat(
        &[x.narrow(axis, half, half)?, x.narrow(axis, 0, half)?],
        axis,
    )
}

/// A pool of three that combines its values by `combine`, whose first window starts at `start`.
pub(super) fn pool(
    x: &Tensor,
    start: usize,
    combine: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (batch, channels, length) = x.dims3()?;
    let frames = length / 3;
    // The last value again, where a window reaches over the end.
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

/// A convolution of `[batch, channel, band, frame]` whose padding is `edge` in place of zeros.
pub(super) fn conv2d(
    call: &Call<'_>,
    edge: fn(&Tensor, usize) -> Result<Tensor>,
) -> Result<Tensor> {
    let weight = call.tensor(&format!("{}.weight", call.stage.name))?;
    let padded = edge(&edge(call.input()?, 2)?, 3)?;
    padded.conv2d(&weight, 0, call.stride(), 1, 1)
}

/// `x` with the value at either end of `axis` once more.
pub(super) fn replicated(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.dim(axis)? - 1;
    Tensor::cat(
        &[x.narrow(axis, 0, 1)?, x.clone(), x.narrow(axis, last, 1)?],
        axis,
    )
}

/// The pool over time.
pub(super) const POOLED: &[&str] = &["resnet.pool"];

/// What a pool over time can have otherwise.
pub(super) struct PoolOptions {
    /// Taken off the number of frames that the variance is divided by.
    pub(super) correction: f64,
    /// Added to the variance.
    pub(super) eps: f64,
    /// Whether the variance stands for the deviation.
    pub(super) variance: bool,
    /// Frames that are left out at the start.
    pub(super) skipped: usize,
}

/// As it should be.
pub(super) const POOL: PoolOptions = PoolOptions {
    correction: 1.0,
    eps: 0.0,
    variance: false,
    skipped: 0,
};

/// Statistics over the whole window with something otherwise, `[batch, 2 features]`. Those of masks stay as they are.
pub(super) fn stats_pool(call: &Call<'_>, pool: &PoolOptions) -> Result<Tensor> {
    let (mean, deviation) = statistics(call, pool)?;
    Ok(whole_window(call, Tensor::cat(&[mean, deviation], 1)?))
}

/// Mean and deviation of each feature, `[batch, feature]`.
pub(super) fn statistics(call: &Call<'_>, pool: &PoolOptions) -> Result<(Tensor, Tensor)> {
    let x = call.input()?.flatten(1, 2)?;
    let frames = x.dim(2)? - pool.skipped;
    let x = x.narrow(2, pool.skipped, frames)?;
    let mean = x.mean_keepdim(2)?;
    let squares = x.broadcast_sub(&mean)?.sqr()?.sum(2)?;
    let variance = ((squares / (frames as f64 - pool.correction))? + pool.eps)?;
    let deviation = if pool.variance {
        variance
    } else {
        variance.sqrt()?
    };
    Ok((mean.squeeze(2)?, deviation))
}

/// `pooled` `[batch, value]` where the whole window is pooled; what masks give stays as it is.
pub(super) fn whole_window(call: &Call<'_>, pooled: Tensor) -> Tensor {
    match call.value.rank() {
        2 => pooled,
        _ => call.value.clone(),
    }
}
