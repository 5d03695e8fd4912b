//! Stages without a mistake.

use soundalike_network::{Op, SincFilters};
use tch::Tensor;

use super::{Site, not_here};
use crate::{
    Result,
    libtorch::enabled::{
        layers::{MIN_LOW_HZ, convolve, max_pool1d, sinc_filters},
        weights::Weights,
    },
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

/// The filters of the first convolution.
pub(super) fn filters(site: &Site<'_>) -> Result<Tensor> {
    match site.stage.op {
        Op::SincFilters {
            filters: SincFilters::Parametrised,
            ..
        } => filters_from(site, MIN_LOW_HZ),
        _ => site.tensor(&site.stage.name),
    }
}

/// The filters of the first convolution from their frequencies, the lowest `min_low` Hz.
pub(super) fn filters_from(site: &Site<'_>, min_low: f64) -> Result<Tensor> {
    let Op::SincFilters { sample_rate, .. } = site.stage.op else {
        return Err(not_here("operands", site.operands.len()));
    };
    let name = &site.stage.name;
    let bank = name.strip_suffix("filters").unwrap_or(name);
    let weights = Weights::new(site.bundle, site.precision.into());
    sinc_filters(&format!("{bank}filterbank"), sample_rate, min_low, &weights)
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
