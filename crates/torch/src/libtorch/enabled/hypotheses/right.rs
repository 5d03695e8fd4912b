//! Stages without a mistake.

use soundalike_network::Op;
use tch::Tensor;

use super::Site;
use crate::{
    Result,
    libtorch::enabled::layers::{convolve, max_pool1d},
};

/// Added to the variance by `torch.nn.InstanceNorm1d`.
pub(super) const EPS: f64 = 1e-5;

pub(super) fn normalised(site: &Site<'_>) -> Result<Tensor> {
    Ok(site.x()?.f_instance_norm(
        Some(&site.weight("weight")?),
        Some(&site.weight("bias")?),
        None::<&Tensor>,
        None::<&Tensor>,
        true,
        0.1,
        EPS,
        true,
    )?)
}

pub(super) fn absolute(site: &Site<'_>) -> Result<Tensor> {
    Ok(site.x()?.f_abs()?)
}

pub(super) fn leaky_relu(site: &Site<'_>) -> Result<Tensor> {
    Ok(site.x()?.f_leaky_relu()?)
}

pub(super) fn as_stored(site: &Site<'_>) -> Result<Tensor> {
    site.tensor(&site.stage.name)
}

pub(super) fn filtered(site: &Site<'_>) -> Result<Tensor> {
    with_stride(site, 0)
}

/// A convolution by its second operand, with a stride smaller by `less`.
pub(super) fn with_stride(site: &Site<'_>, less: usize) -> Result<Tensor> {
    let stride = conv_stride(site).saturating_sub(less).max(1);
    let filters = site.operand(1)?;
    convolve(site.x()?, filters, None, stride, site.precision.into())
}

/// The stride of the convolution.
pub(super) fn conv_stride(site: &Site<'_>) -> usize {
    match site.stage.op {
        Op::Conv1d { stride, .. } => stride,
        _ => 1,
    }
}

pub(super) fn convolved(site: &Site<'_>) -> Result<Tensor> {
    with_kernel(site, &site.weight("weight")?)
}

pub(super) fn with_kernel(site: &Site<'_>, weight: &Tensor) -> Result<Tensor> {
    convolve(
        site.x()?,
        weight,
        Some(&site.weight("bias")?),
        conv_stride(site),
        site.precision.into(),
    )
}

pub(super) fn pooled(site: &Site<'_>) -> Result<Tensor> {
    max_pool1d(site.x()?, pool_size(site))
}

/// Values per maximum.
pub(super) fn pool_size(site: &Site<'_>) -> usize {
    match site.stage.op {
        Op::MaxPool { size } => size,
        _ => 1,
    }
}

pub(super) fn linear(site: &Site<'_>) -> Result<Tensor> {
    Ok(site
        .x()?
        .f_linear(&site.weight("weight")?, Some(&site.weight("bias")?))?)
}

pub(super) fn activated(site: &Site<'_>) -> Result<Tensor> {
    Ok(match site.stage.op {
        Op::Sigmoid => site.x()?.f_sigmoid()?,
        _ => site.x()?.f_log_softmax(-1, None)?,
    })
}
