//! Mistakes in the trunk and in the pooling of a speaker embedding network.

use soundalike_network::{Cause, Op};
use tch::{Kind, Tensor};

use super::{Known, Site, Title, hypothesis, segmentation::left_out};
use crate::{
    Result,
    libtorch::enabled::{
        layers::{interpolate_nearest, stats_pool},
        tensor::{mean, sum},
    },
};

/// Added to the variance by `torch.nn.BatchNorm2d`.
const EPS: f64 = 1e-5;

// The stages without a mistake.

/// Stride and padding of a convolution.
fn sizes(site: &Site<'_>) -> ([i64; 2], [i64; 2]) {
    match site.stage.op {
        Op::Conv2d {
            stride, padding, ..
        } => ([stride as i64; 2], [padding as i64; 2]),
        _ => ([1; 2], [0; 2]),
    }
}

pub(super) fn rectified(site: &Site<'_>) -> Result<Tensor> {
    Ok(site.x()?.f_relu()?)
}

pub(super) fn added(site: &Site<'_>) -> Result<Tensor> {
    Ok(site.x()?.f_add(site.operand(1)?)?)
}

pub(super) fn convolved(site: &Site<'_>) -> Result<Tensor> {
    with_kernel(site, &site.weight("weight")?)
}

fn with_kernel(site: &Site<'_>, weight: &Tensor) -> Result<Tensor> {
    // The first convolution transposes its input: [batch, frame, band] to [batch, 1, band, frame].
    let x = operand(site)?;
    let (stride, padding) = sizes(site);
    Ok(x.f_conv2d(weight, None::<&Tensor>, stride, padding, [1, 1], 1)?)
}

fn operand(site: &Site<'_>) -> Result<Tensor> {
    let x = site.x()?;
    Ok(if x.size().len() == 3 {
        x.f_permute([0, 2, 1])?.f_unsqueeze(1)?
    } else {
        x.shallow_clone()
    })
}

/// The convolution with another padding.
fn padded(site: &Site<'_>, padding: [i64; 4], mode: &str) -> Result<Tensor> {
    let (stride, _) = sizes(site);
    let weight = site.weight("weight")?;
    let value = (mode == "constant").then_some(0.0);
    let x = operand(site)?.f_pad(padding, mode, value)?;
    Ok(x.f_conv2d(&weight, None::<&Tensor>, stride, [0, 0], [1, 1], 1)?)
}

pub(super) fn normalised(site: &Site<'_>) -> Result<Tensor> {
    batch_norm(site, EPS)
}

pub(super) fn batch_norm(site: &Site<'_>, eps: f64) -> Result<Tensor> {
    Ok(site.x()?.f_batch_norm(
        Some(&site.weight("weight")?),
        Some(&site.weight("bias")?),
        Some(&site.weight("running_mean")?),
        Some(&site.weight("running_var")?),
        false,
        0.1,
        eps,
        true,
    )?)
}

pub(super) fn resampled(site: &Site<'_>) -> Result<Tensor> {
    let frames = site.x()?.size().last().map_or(0, |frames| *frames as usize);
    interpolate_nearest(site.operand(1)?, frames)
}

pub(super) fn pooled(site: &Site<'_>) -> Result<Tensor> {
    stats_pool(&sequences(site)?, site.operands.get(1))
}

fn sequences(site: &Site<'_>) -> Result<Tensor> {
    Ok(site.x()?.f_flatten(1, 2)?)
}

// The stages with a mistake.

pub(super) fn relus() -> Vec<Known> {
    vec![
        left_out(),
        hypothesis(Cause::AbsForRelu)
            .text("the absolute value in place of ReLU")
            .of_input(|x| x.f_abs()),
        hypothesis(Cause::Gelu)
            .text("GELU in place of ReLU")
            .of_input(|x| x.f_gelu("none")),
        hypothesis(Cause::Silu)
            .text("SiLU in place of ReLU")
            .of_input(|x| x.f_silu()),
        hypothesis(Cause::Relu6)
            .text("ReLU6 in place of ReLU")
            .of_input(|x| x.f_clamp(0.0, 6.0)),
    ]
}

pub(super) fn sums() -> Vec<Known> {
    vec![
        hypothesis(Cause::ShortcutLeftOut)
            .text("a block that does not add its input")
            .left_out(),
        hypothesis(Cause::ShortcutTwice)
            .text("a block that adds its input twice")
            .by(|site| Ok(site.x()?.f_add(&site.operand(1)?.f_mul_scalar(2.0)?)?)),
        hypothesis(Cause::BranchLeftOut)
            .text("a block that is its input alone")
            .by(|site| Ok(site.operand(1)?.shallow_clone())),
    ]
}

pub(super) fn convs() -> Vec<Known> {
    vec![
        hypothesis(Cause::KernelFlipped)
            .text("a kernel turned round")
            .by(|site| with_kernel(site, &site.weight("weight")?.f_flip([2, 3])?)),
        hypothesis(Cause::KernelTransposed)
            .text("a kernel with time and band swapped")
            .by(|site| with_kernel(site, &site.weight("weight")?.f_transpose(2, 3)?)),
        hypothesis(Cause::InAndOutSwapped)
            .text("inputs and outputs swapped in a kernel")
            .by(|site| with_kernel(site, &site.weight("weight")?.f_transpose(0, 1)?)),
        hypothesis(Cause::WeightsInF16)
            .text("weights in 16 bits")
            .by(|site| with_kernel(site, &site.half_weight()?)),
        hypothesis(Cause::EdgesReplicated)
            .text("edges replicated in place of zeros")
            .by(|site| padded(site, [1, 1, 1, 1], "replicate")),
        hypothesis(Cause::EdgesReflected)
            .text("edges reflected in place of zeros")
            .by(|site| padded(site, [1, 1, 1, 1], "reflect")),
        hypothesis(Cause::CausalPadding)
            .text("padding before the input only")
            .by(|site| padded(site, [2, 0, 2, 0], "constant")),
        hypothesis(Cause::StrideOneLate)
            .text("padding after the input only")
            .by(|site| padded(site, [0, 2, 0, 2], "constant")),
    ]
}

pub(super) fn norms() -> Vec<Known> {
    /// A batch norm from elementary operations that divides by `deviation`.
    fn by_hand(site: &Site<'_>, deviation: &Tensor) -> Result<Tensor> {
        Ok(site
            .x()?
            .f_sub(&site.channels("running_mean", 4)?)?
            .f_div(deviation)?
            .f_mul(&site.channels("weight", 4)?)?
            .f_add(&site.channels("bias", 4)?)?)
    }
    vec![
        hypothesis(Cause::NormLeftOut)
            .text("a norm that is left out")
            .left_out(),
        hypothesis(Cause::EpsOutsideTheRoot)
            .text("an epsilon added to the deviation")
            .by(|site| {
                let deviation = site.channels("running_var", 4)?.f_sqrt()?;
                by_hand(site, &deviation.f_add_scalar(EPS)?)
            }),
        hypothesis(Cause::VarianceForDeviation)
            .text("a norm that divides by the variance")
            .by(|site| by_hand(site, &site.channels("running_var", 4)?.f_add_scalar(EPS)?)),
        hypothesis(Cause::StatisticsLeftOut)
            .text("running statistics that were not loaded")
            .by(|site| {
                let (weight, bias) = (site.channels("weight", 4)?, site.channels("bias", 4)?);
                let scale = weight.f_div_scalar((1.0 + EPS).sqrt())?;
                Ok(site.x()?.f_mul(&scale)?.f_add(&bias)?)
            }),
        hypothesis(Cause::StatisticsOfTheInput)
            .text("a norm in training mode")
            .by(|site| {
                let x = site.x()?;
                let centred = x.f_sub(&mean(x, &[0, 2, 3])?)?;
                let variance = mean(&centred.f_mul(&centred)?, &[0, 2, 3])?;
                Ok(centred
                    .f_div(&variance.f_add_scalar(EPS)?.f_sqrt()?)?
                    .f_mul(&site.channels("weight", 4)?)?
                    .f_add(&site.channels("bias", 4)?)?)
            }),
        hypothesis(Cause::AffineLeftOut)
            .text("a norm whose weight and bias were not loaded")
            .by(|site| {
                let (weight, bias) = (site.channels("weight", 4)?, site.channels("bias", 4)?);
                Ok(normalised(site)?.f_sub(&bias)?.f_div(&weight)?)
            }),
        hypothesis(Cause::BiasLeftOut)
            .text("a norm without its bias")
            .by(|site| Ok(normalised(site)?.f_sub(&site.channels("bias", 4)?)?)),
    ]
}

pub(super) fn masks() -> Vec<Known> {
    vec![
        hypothesis(Cause::MasksInverted)
            .text("masks of everybody else")
            .by(|site| Ok(resampled(site)?.f_neg()?.f_add_scalar(1.0)?)),
    ]
}

/// Mean and variance of each feature over all frames, or over those of each mask.
fn statistics(site: &Site<'_>, biased: bool) -> Result<(Tensor, Tensor)> {
    let x = sequences(site)?;
    let Some(masks) = site.operands.get(1) else {
        let mean = x.f_mean_dim(-1, false, None::<Kind>)?;
        let variance = x.f_var_correction(-1, if biased { 0 } else { 1 }, false)?;
        return Ok((mean, variance));
    };
    let pooled = stats_pool(&x, Some(masks))?;
    let parts = pooled.f_chunk(2, -1)?;
    let mut variance = parts[1].f_mul(&parts[1])?;
    if biased {
        // As the official layer: 1e-8 keeps a silent speaker's 0 / 0 from being NaN. pyannote.audio `StatsPool`.
        let count = sum(masks, -1)?.f_add_scalar(1e-8)?;
        let squares = sum(&masks.f_mul(masks)?, -1)?;
        let unbiased = count.f_sub(&squares.f_div(&count)?)?.f_add_scalar(1e-8)?;
        variance = variance.f_mul(&unbiased)?.f_div(&count)?;
    }
    Ok((parts[0].shallow_clone(), variance))
}

/// The pooling with `eps` added to the variance.
pub(super) fn pooled_with_eps(site: &Site<'_>, eps: f64) -> Result<Tensor> {
    let (mean, variance) = statistics(site, false)?;
    Ok(Tensor::f_cat(
        &[mean, variance.f_add_scalar(eps)?.f_sqrt()?],
        -1,
    )?)
}

impl Title {
    /// Concatenates functions of the mean and of the variance.
    fn statistics(self, biased: bool, join: fn(Tensor, Tensor) -> Result<[Tensor; 2]>) -> Known {
        self.by(move |site| {
            let (mean, variance) = statistics(site, biased)?;
            Ok(Tensor::f_cat(&join(mean, variance)?, -1)?)
        })
    }
}

pub(super) fn pool() -> Vec<Known> {
    vec![
        hypothesis(Cause::BiasedDeviation)
            .text("a deviation divided by n in place of n - 1")
            .statistics(true, |mean, variance| Ok([mean, variance.f_sqrt()?])),
        hypothesis(Cause::VarianceForDeviation)
            .text("variances in place of deviations")
            .statistics(false, |mean, variance| Ok([mean, variance])),
        hypothesis(Cause::DeviationFirst)
            .text("deviations before means")
            .statistics(false, |mean, variance| Ok([variance.f_sqrt()?, mean])),
        hypothesis(Cause::FlattenedOtherwise)
            .text("bands and channels flattened in the other order")
            .by(|site| {
                let turned = site.x()?.f_transpose(1, 2)?.f_contiguous()?;
                stats_pool(&turned.f_flatten(1, 2)?, site.operands.get(1))
            }),
        hypothesis(Cause::MasksIgnored)
            .text("statistics of the whole window for every mask")
            .by(|site| {
                let pooled = stats_pool(&sequences(site)?, None)?;
                let Some(masks) = site.operands.get(1) else {
                    return Ok(pooled);
                };
                let size = [pooled.size()[0], masks.size()[1], pooled.size()[1]];
                let same = pooled.f_unsqueeze(1)?.f_expand(size, false)?;
                Ok(same.f_contiguous()?)
            }),
    ]
}
