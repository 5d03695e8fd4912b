//! The stages of a segmentation network without a mistake.

use soundalike_convert::{Activation, Architecture};
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

pub(super) fn as_stored(site: &Site<'_>) -> Result<Tensor> {
    site.tensor(site.name)
}

pub(super) fn filtered(site: &Site<'_>) -> Result<Tensor> {
    with_stride(site, 0)
}

pub(super) fn with_stride(site: &Site<'_>, less: usize) -> Result<Tensor> {
    let stride = match site.bundle.architecture() {
        Architecture::PyanNet(config) => config.sincnet.stride - less,
        _ => 1,
    };
    convolve(
        site.x()?,
        site.operand(1)?,
        None,
        stride,
        site.precision.into(),
    )
}

pub(super) fn convolved(site: &Site<'_>) -> Result<Tensor> {
    with_kernel(site, &site.weight("weight")?)
}

pub(super) fn with_kernel(site: &Site<'_>, weight: &Tensor) -> Result<Tensor> {
    convolve(
        site.x()?,
        weight,
        Some(&site.weight("bias")?),
        1,
        site.precision.into(),
    )
}

pub(super) fn pooled(site: &Site<'_>) -> Result<Tensor> {
    max_pool1d(site.x()?, 3)
}

pub(super) fn linear(site: &Site<'_>) -> Result<Tensor> {
    Ok(site
        .x()?
        .f_linear(&site.weight("weight")?, Some(&site.weight("bias")?))?)
}

pub(super) fn activated(site: &Site<'_>) -> Result<Tensor> {
    Ok(match site.bundle.architecture() {
        Architecture::PyanNet(config) if config.activation == Activation::Sigmoid => {
            site.x()?.f_sigmoid()?
        }
        _ => site.x()?.f_log_softmax(-1, None)?,
    })
}
