//! Mistakes in the trunk and in the pooling of a speaker embedding network.

use soundalike_convert::{Architecture, Block, WeSpeakerResNet as Config};
use tch::{Kind, Tensor};

use super::{
    Known, Right, Site, mistake,
    segmentation::{left_out, sloped},
};
use crate::{
    Result,
    libtorch::enabled::layers::{interpolate_nearest, stats_pool},
};

/// Added to the variance by `torch.nn.BatchNorm2d`.
const EPS: f64 = 1e-5;

/// Mistakes at a stage of the trunk, and the stage without one.
pub(super) fn trunk(site: &Site<'_>) -> (Vec<Known>, Option<Right>) {
    let last = site.name.rsplit('.').next().unwrap_or_default();
    match last {
        "relu" => (relus(), Some(|site| Ok(site.x()?.f_relu()?))),
        "add" => (sums(), Some(|site| Ok(site.x()?.f_add(site.operand(1)?)?))),
        _ if last.starts_with("conv") || site.name.ends_with("shortcut.0") => {
            (convs(), Some(convolved))
        }
        _ if last.starts_with("bn") || site.name.ends_with("shortcut.1") => {
            (norms(), Some(normalised))
        }
        // A block: what comes after its sum.
        _ => (relus(), Some(|site| Ok(site.x()?.f_relu()?))),
    }
}

// The stages as they are.

/// Stride of a convolution: that of its layer where it is the one that has it, in the first block.
fn stride(site: &Site<'_>) -> i64 {
    let mut parts = site.name.split('.').skip(1);
    let (layer, block, part) = (parts.next(), parts.next(), parts.next());
    let Architecture::WeSpeakerResNet(config) = site.bundle.architecture() else {
        return 1;
    };
    let strided = match config.block {
        Block::Basic => "conv1",
        Block::Bottleneck => "conv2",
    };
    let layer = layer.and_then(|layer| layer.strip_prefix("layer")?.parse::<usize>().ok());
    match (layer, block, part) {
        (Some(layer), Some("0"), Some(part)) if part == strided || part == "shortcut" => {
            Config::STRIDES
                .get(layer.wrapping_sub(1))
                .map_or(1, |stride| *stride as i64)
        }
        _ => 1,
    }
}

fn convolved(site: &Site<'_>) -> Result<Tensor> {
    with_kernel(site, &site.weight("weight")?)
}

fn with_kernel(site: &Site<'_>, weight: &Tensor) -> Result<Tensor> {
    // What the first convolution is fed is turned round on the way: [batch, frame, band] to [batch, 1, band, frame].
    let x = operand(site)?;
    let padding = weight.size()[3] / 2;
    let stride = stride(site);
    Ok(x.f_conv2d(
        weight,
        None::<&Tensor>,
        [stride; 2],
        [padding; 2],
        [1, 1],
        1,
    )?)
}

fn operand(site: &Site<'_>) -> Result<Tensor> {
    let x = site.x()?;
    Ok(if x.size().len() == 3 {
        x.f_permute([0, 2, 1])?.f_unsqueeze(1)?
    } else {
        x.shallow_clone()
    })
}

/// Without the padding of its own.
fn padded(site: &Site<'_>, padding: [i64; 4], mode: &str) -> Result<Tensor> {
    let stride = stride(site);
    let weight = site.weight("weight")?;
    let value = (mode == "constant").then_some(0.0);
    let x = operand(site)?.f_pad(padding, mode, value)?;
    Ok(x.f_conv2d(&weight, None::<&Tensor>, [stride; 2], [0, 0], [1, 1], 1)?)
}

fn normalised(site: &Site<'_>) -> Result<Tensor> {
    batch_norm(site, false, EPS)
}

fn batch_norm(site: &Site<'_>, training: bool, eps: f64) -> Result<Tensor> {
    Ok(site.x()?.f_batch_norm(
        Some(&site.weight("weight")?),
        Some(&site.weight("bias")?),
        Some(&site.weight("running_mean")?),
        Some(&site.weight("running_var")?),
        training,
        0.1,
        eps,
        true,
    )?)
}

pub(super) fn resampled(site: &Site<'_>) -> Result<Tensor> {
    let frames = site.operand(1)?.size();
    interpolate_nearest(
        site.x()?,
        frames.last().map_or(0, |frames| *frames as usize),
    )
}

pub(super) fn pooled(site: &Site<'_>) -> Result<Tensor> {
    stats_pool(&sequences(site)?, site.inputs.get(1))
}

fn sequences(site: &Site<'_>) -> Result<Tensor> {
    Ok(site.x()?.f_flatten(1, 2)?)
}

// And with mistakes.

fn relus() -> Vec<Known> {
    vec![
        left_out(),
        mistake("slope-0.01", "LeakyReLU(0.01) in place of ReLU", |site| {
            sloped(site, 0.01)
        }),
        mistake(
            "abs-for-relu",
            "the absolute value in place of ReLU",
            |site| Ok(site.x()?.f_abs()?),
        ),
        mistake("gelu", "GELU in place of ReLU", |site| {
            Ok(site.x()?.f_gelu("none")?)
        }),
        mistake("silu", "SiLU in place of ReLU", |site| {
            Ok(site.x()?.f_silu()?)
        }),
        mistake("relu6", "ReLU6 in place of ReLU", |site| {
            Ok(site.x()?.f_clamp(0.0, 6.0)?)
        }),
    ]
}

fn sums() -> Vec<Known> {
    vec![
        mistake(
            "shortcut-left-out",
            "a block that does not add its input",
            |site| Ok(site.x()?.shallow_clone()),
        ),
        mistake(
            "shortcut-twice",
            "a block that adds its input twice",
            |site| Ok(site.x()?.f_add(&site.operand(1)?.f_mul_scalar(2.0)?)?),
        ),
        mistake(
            "branch-left-out",
            "a block that is its input alone",
            |site| Ok(site.operand(1)?.shallow_clone()),
        ),
    ]
}

fn convs() -> Vec<Known> {
    vec![
        mistake("kernel-flipped", "a kernel turned round", |site| {
            with_kernel(site, &site.weight("weight")?.f_flip([2, 3])?)
        }),
        mistake(
            "kernel-transposed",
            "a kernel with time and band swapped",
            |site| with_kernel(site, &site.weight("weight")?.f_transpose(2, 3)?),
        ),
        mistake(
            "in-and-out-swapped",
            "inputs and outputs swapped in a kernel",
            |site| with_kernel(site, &site.weight("weight")?.f_transpose(0, 1)?),
        ),
        mistake("weights-in-f16", "weights in 16 bits", |site| {
            with_kernel(site, &site.half(&format!("{}.weight", site.name))?)
        }),
        mistake(
            "edges-replicated",
            "edges replicated in place of zeros",
            |site| padded(site, [1, 1, 1, 1], "replicate"),
        ),
        mistake(
            "edges-reflected",
            "edges reflected in place of zeros",
            |site| padded(site, [1, 1, 1, 1], "reflect"),
        ),
        mistake("causal-padding", "padding before the input only", |site| {
            padded(site, [2, 0, 2, 0], "constant")
        }),
        mistake("stride-one-late", "padding after the input only", |site| {
            padded(site, [0, 2, 0, 2], "constant")
        }),
    ]
}

fn norms() -> Vec<Known> {
    let eps = |cause: &str, text: &str, eps: f64| {
        mistake(cause, text, move |site| batch_norm(site, false, eps))
    };
    /// From elementary operations, what is divided by aside.
    fn by_hand(site: &Site<'_>, deviation: &Tensor) -> Result<Tensor> {
        Ok(site
            .x()?
            .f_sub(&site.channels("running_mean", 4)?)?
            .f_div(deviation)?
            .f_mul(&site.channels("weight", 4)?)?
            .f_add(&site.channels("bias", 4)?)?)
    }
    vec![
        mistake("norm-left-out", "a norm that is left out", |site| {
            Ok(site.x()?.shallow_clone())
        }),
        eps("eps-1e-3", "an epsilon of 1e-3 in place of 1e-5", 1e-3),
        eps("eps-1e-6", "an epsilon of 1e-6 in place of 1e-5", 1e-6),
        eps("eps-0", "a norm without an epsilon", 0.0),
        mistake(
            "eps-outside-the-root",
            "an epsilon added to the deviation",
            |site| {
                let deviation = site.channels("running_var", 4)?.f_sqrt()?;
                by_hand(site, &deviation.f_add_scalar(EPS)?)
            },
        ),
        mistake(
            "variance-for-deviation",
            "a norm that divides by the variance",
            |site| by_hand(site, &site.channels("running_var", 4)?.f_add_scalar(EPS)?),
        ),
        mistake(
            "statistics-left-out",
            "running statistics that were not loaded",
            |site| {
                let scale = site
                    .channels("weight", 4)?
                    .f_div_scalar((1.0 + EPS).sqrt())?;
                Ok(site.x()?.f_mul(&scale)?.f_add(&site.channels("bias", 4)?)?)
            },
        ),
        mistake(
            "statistics-of-the-input",
            "a norm in training mode",
            |site| {
                let x = site.x()?;
                let axes = [0i64, 2, 3];
                let mean = x.f_mean_dim(axes.as_slice(), true, None::<Kind>)?;
                let centred = x.f_sub(&mean)?;
                let variance =
                    centred
                        .f_mul(&centred)?
                        .f_mean_dim(axes.as_slice(), true, None::<Kind>)?;
                Ok(centred
                    .f_div(&variance.f_add_scalar(EPS)?.f_sqrt()?)?
                    .f_mul(&site.channels("weight", 4)?)?
                    .f_add(&site.channels("bias", 4)?)?)
            },
        ),
        mistake(
            "affine-left-out",
            "a norm whose weight and bias were not loaded",
            |site| {
                let bias = site.channels("bias", 4)?;
                Ok(normalised(site)?
                    .f_sub(&bias)?
                    .f_div(&site.channels("weight", 4)?)?)
            },
        ),
        mistake("bias-left-out", "a norm without its bias", |site| {
            Ok(normalised(site)?.f_sub(&site.channels("bias", 4)?)?)
        }),
    ]
}

pub(super) fn masks() -> Vec<Known> {
    vec![mistake(
        "masks-inverted",
        "masks of everybody else",
        |site| Ok(resampled(site)?.f_neg()?.f_add_scalar(1.0)?),
    )]
}

pub(super) fn pool() -> Vec<Known> {
    /// Mean and variance of each feature over all frames, or where each mask is.
    fn statistics(site: &Site<'_>, biased: bool) -> Result<(Tensor, Tensor)> {
        let x = sequences(site)?;
        let Some(masks) = site.inputs.get(1) else {
            let mean = x.f_mean_dim([-1i64].as_slice(), false, None::<Kind>)?;
            let variance = x.f_var_correction(-1, if biased { 0 } else { 1 }, false)?;
            return Ok((mean, variance));
        };
        let pooled = stats_pool(&x, Some(masks))?;
        let parts = pooled.f_chunk(2, -1)?;
        let mut variance = parts[1].f_mul(&parts[1])?;
        if biased {
            let count = masks.f_sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>)?;
            variance = variance.f_mul(&count.f_sub_scalar(1.0)?)?.f_div(&count)?;
        }
        Ok((parts[0].shallow_clone(), variance))
    }
    let join = |mean: &Tensor, second: &Tensor| -> Result<Tensor> {
        Ok(Tensor::f_cat(&[mean, second], -1)?)
    };
    let eps = move |cause: &str, text: &str, eps: f64| {
        mistake(cause, text, move |site| {
            let (mean, variance) = statistics(site, false)?;
            join(&mean, &variance.f_add_scalar(eps)?.f_sqrt()?)
        })
    };
    vec![
        mistake(
            "biased-deviation",
            "a deviation divided by n in place of n - 1",
            move |site| {
                let (mean, variance) = statistics(site, true)?;
                join(&mean, &variance.f_sqrt()?)
            },
        ),
        eps("eps-1e-7", "1e-7 added to the variance", 1e-7),
        eps("eps-1e-5", "1e-5 added to the variance", 1e-5),
        mistake(
            "variance-for-deviation",
            "variances in place of deviations",
            move |site| {
                let (mean, variance) = statistics(site, false)?;
                join(&mean, &variance)
            },
        ),
        mistake("deviation-first", "deviations before means", move |site| {
            let (mean, variance) = statistics(site, false)?;
            join(&variance.f_sqrt()?, &mean)
        }),
        mistake(
            "flattened-otherwise",
            "bands and channels flattened in the other order",
            |site| {
                let turned = site.x()?.f_transpose(1, 2)?.f_contiguous()?;
                stats_pool(&turned.f_flatten(1, 2)?, site.inputs.get(1))
            },
        ),
        mistake(
            "masks-ignored",
            "statistics of the whole window for every mask",
            |site| {
                let pooled = stats_pool(&sequences(site)?, None)?;
                let Some(masks) = site.inputs.get(1) else {
                    return Ok(pooled);
                };
                let size = [pooled.size()[0], masks.size()[1], pooled.size()[1]];
                Ok(pooled
                    .f_unsqueeze(1)?
                    .f_expand(size, false)?
                    .f_contiguous()?)
            },
        ),
    ]
}

pub(super) fn last() -> Vec<Known> {
    super::segmentation::linear_mistakes()
}
