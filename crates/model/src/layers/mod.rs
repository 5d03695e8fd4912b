//! Layers that candle lacks, or that it computes less exactly than PyTorch.

mod batch_norm;
mod conv1d;
mod conv_norm;
mod fbank;
mod feature_maps;
mod frames;
mod instance_norm;
mod linear;
mod lstm;
mod precision;
mod sinc;
mod stats_pool;

use batch_norm::BatchNorm2d;
use candle_core::{Result, Tensor};
pub(crate) use conv_norm::ConvNorm;
pub(crate) use conv1d::ConvPool;
pub(crate) use fbank::Fbank;
pub(crate) use feature_maps::FeatureMaps;
pub(crate) use frames::Signal;
pub(crate) use instance_norm::InstanceNorm1d;
pub(crate) use linear::Linear;
pub(crate) use lstm::BiLstm;
pub(crate) use precision::at_least_f32;
pub(crate) use sinc::sinc_filters;
pub(crate) use stats_pool::{interpolate_nearest, stats_pool};

/// Slope of `torch.nn.functional.leaky_relu` for negative input: PyTorch's default, which pyannote keeps.
const LEAKY_SLOPE: f64 = 0.01;

/// `torch.nn.functional.leaky_relu(x)`, any shape.
pub(crate) fn leaky_relu(x: &Tensor) -> Result<Tensor> {
    candle_nn::ops::leaky_relu(x, LEAKY_SLOPE)
}

/// As [`leaky_relu`] of `[batch, frame, feature]` in f32 on the CPU, in one pass over memory; candle needs six.
pub(crate) fn leaky_relu_in_one_pass(x: &Tensor) -> Result<Tensor> {
    let slope = LEAKY_SLOPE as f32;
    let leaky = |x: &f32| if *x < 0.0 { slope * x } else { *x };
    frames::by_kernel(x, x.dim(2)?, |x, _| x.iter().map(leaky).collect())
}

/// `torch.nn.functional.relu(x)`, any shape. NaN stays NaN; candle's own turns it into 0.
fn relu(x: &Tensor) -> Result<Tensor> {
    x.lt(0.0)?.where_cond(&x.zeros_like()?, x)
}
