//! Mistakes in a segmentation network, except in its recurrent layers.

use std::f64::consts::PI;

use soundalike_network::Cause;
use tch::Tensor;

use super::{
    Known, Site, Title, hypothesis, not_here,
    right::{self, EPS, conv_stride, linear, normalised, pool_size, with_kernel, with_stride},
};
use crate::{
    Result,
    libtorch::enabled::{
        layers::{convolve, max_pool1d},
        tensor::{kind, mean, sum},
    },
};

/// An instance norm from elementary operations.
struct Norm {
    eps: f64,
    /// Added to the deviation.
    outside: f64,
    /// Subtracted from the number of values.
    correction: f64,
    centred: bool,
    axis: i64,
}

const NORM: Norm = Norm {
    eps: EPS,
    outside: 0.0,
    correction: 0.0,
    centred: true,
    axis: -1,
};

/// The norm with another epsilon.
pub(super) fn with_eps(site: &Site<'_>, eps: f64) -> Result<Tensor> {
    by_hand(site, &Norm { eps, ..NORM })
}

fn by_hand(site: &Site<'_>, norm: &Norm) -> Result<Tensor> {
    let x = site.x()?;
    let mean = mean(x, &[norm.axis])?;
    let centred = x.f_sub(&mean)?;
    let count = x.numel() as f64 / mean.numel() as f64 - norm.correction;
    let variance = sum(&centred.f_mul(&centred)?, norm.axis)?.f_div_scalar(count)?;
    let deviation = variance.f_add_scalar(norm.eps)?.f_sqrt()?;
    let from = if norm.centred { &centred } else { x };
    Ok(from
        .f_div(&deviation.f_add_scalar(norm.outside)?)?
        .f_mul(&site.channels("weight", 3)?)?
        .f_add(&site.channels("bias", 3)?)?)
}

impl Title {
    /// An instance norm with changed options.
    fn norm(self, change: fn(&mut Norm)) -> Known {
        let mut norm = NORM;
        change(&mut norm);
        self.by(move |site| by_hand(site, &norm))
    }
}

pub(super) fn norm() -> Vec<Known> {
    vec![
        hypothesis(Cause::NormLeftOut)
            .text("a norm that is left out")
            .left_out(),
        hypothesis(Cause::AffineLeftOut)
            .text("a norm whose weight and bias were not loaded")
            .by(|site| {
                let scale = site.channels("weight", 3)?;
                Ok(normalised(site)?
                    .f_sub(&site.channels("bias", 3)?)?
                    .f_div(&scale)?)
            }),
        hypothesis(Cause::WeightLeftOut)
            .text("a norm whose weight was not loaded")
            .by(|site| {
                let (scale, shift) = (site.channels("weight", 3)?, site.channels("bias", 3)?);
                Ok(normalised(site)?
                    .f_sub(&shift)?
                    .f_div(&scale)?
                    .f_add(&shift)?)
            }),
        hypothesis(Cause::BiasLeftOut)
            .text("a norm without its bias")
            .by(|site| Ok(normalised(site)?.f_sub(&site.channels("bias", 3)?)?)),
        hypothesis(Cause::Eps(0.0))
            .text("a norm without an epsilon, or a waveform in 16-bit units")
            .norm(|norm| norm.eps = 0.0),
        // In a norm of one channel, an estimated epsilon could be any gain: only usual values are named.
        hypothesis(Cause::Eps(1e-3))
            .text("an epsilon of 1e-3 in place of 1e-5")
            .norm(|norm| norm.eps = 1e-3),
        hypothesis(Cause::Eps(1e-6))
            .text("an epsilon of 1e-6 in place of 1e-5")
            .norm(|norm| norm.eps = 1e-6),
        hypothesis(Cause::EpsOutsideTheRoot)
            .text("an epsilon added to the deviation")
            .norm(|norm| (norm.eps, norm.outside) = (0.0, EPS)),
        hypothesis(Cause::UnbiasedVariance)
            .text("a variance divided by n - 1 in place of n")
            .norm(|norm| norm.correction = 1.0),
        hypothesis(Cause::MeanKept)
            .text("a norm that leaves the mean")
            .norm(|norm| norm.centred = false),
        hypothesis(Cause::NormalisedOverChannels)
            .text("a norm over channels in place of time")
            .norm(|norm| norm.axis = 1),
    ]
}

impl Title {
    /// Computes the filters from the two halves of the stored ones, cosines and sines.
    fn halves(self, change: fn(Tensor, Tensor) -> Result<Tensor>) -> Known {
        self.by(move |site| {
            let filters = right::filters(site)?;
            let pairs = filters.size()[0] / 2;
            change(
                filters.f_narrow(0, 0, pairs)?,
                filters.f_narrow(0, pairs, pairs)?,
            )
        })
    }

    /// Multiplies the value `n` of each filter by `ratio` of `n` and the number of values.
    fn windowed(self, ratio: fn(f64, f64) -> f64) -> Known {
        self.by(move |site| {
            let filters = right::filters(site)?;
            let size = filters.size()[2];
            let ratios: Vec<f64> = (0..size).map(|n| ratio(n as f64, size as f64)).collect();
            let ratios = Tensor::f_from_slice(&ratios)?.f_to_kind(kind(site.precision))?;
            Ok(filters.f_mul(&ratios)?)
        })
    }
}

/// A Hamming window of period `size` at the sample `n`.
fn hamming(n: f64, size: f64) -> f64 {
    0.54 - 0.46 * (2.0 * PI * n / size).cos()
}

pub(super) fn filters() -> Vec<Known> {
    vec![
        hypothesis(Cause::SineNegated)
            .text("sine filters of the other sign, negated or turned round")
            .halves(|cosines, sines| Ok(Tensor::f_cat(&[cosines, sines.f_neg()?], 0)?)),
        hypothesis(Cause::CosineTwice)
            .text("pairs of f and -f in place of cosine and sine")
            .halves(|cosines, _| {
                let negated = cosines.f_neg()?;
                Ok(Tensor::f_cat(&[cosines, negated], 0)?)
            }),
        hypothesis(Cause::FiltersInterleaved)
            .text("cosine and sine filters that take turns")
            .halves(|cosines, sines| Ok(Tensor::f_stack(&[cosines, sines], 1)?.f_flatten(0, 1)?)),
        hypothesis(Cause::FiltersNormalised)
            .text("filters divided by their length")
            .by(|site| {
                let filters = right::filters(site)?;
                Ok(filters.f_div(&sum(&filters.f_mul(&filters)?, -1)?.f_sqrt()?)?)
            }),
        hypothesis(Cause::SineWithoutMinus)
            .text("sine filters mirrored without a minus")
            .halves(|cosines, sines| {
                let half = sines.size()[2] / 2;
                let left = sines.f_narrow(2, 0, half + 1)?;
                let right = sines.f_narrow(2, half + 1, half)?.f_neg()?;
                let sines = Tensor::f_cat(&[left, right], 2)?;
                Ok(Tensor::f_cat(&[cosines, sines], 0)?)
            }),
        hypothesis(Cause::HannWindow)
            .text("a Hann window in place of a Hamming window")
            .windowed(|n, size| {
                let hann = 0.5 - 0.5 * (2.0 * PI * n / (size - 1.0)).cos();
                hann / hamming(n, size - 1.0)
            }),
        hypothesis(Cause::NoWindow)
            .text("no window on the filters")
            .windowed(|n, size| 1.0 / hamming(n, size - 1.0)),
        hypothesis(Cause::PeriodicWindow)
            .text("a periodic window in place of a symmetric one")
            .windowed(|n, size| hamming(n, size) / hamming(n, size - 1.0)),
        hypothesis(Cause::WeightsInF16)
            .text("weights in 16 bits")
            .by(|site| site.half(&site.stage.name)),
    ]
}

pub(super) fn sinc() -> Vec<Known> {
    vec![
        hypothesis(Cause::StrideLessOne)
            .text("a stride of one sample less")
            .by(|site| with_stride(site, 1)),
        hypothesis(Cause::KernelFlipped)
            .text("filters turned round")
            .by(|site| {
                let flipped = site.operand(1)?.f_flip([2])?;
                let stride = conv_stride(site);
                convolve(site.x()?, &flipped, None, stride, site.precision.into())
            }),
    ]
}

pub(super) fn absolute() -> Vec<Known> {
    vec![
        left_out(),
        hypothesis(Cause::ReluForAbs)
            .text("ReLU in place of the absolute value")
            .of_input(|x| x.f_relu()),
        hypothesis(Cause::SquareForAbs)
            .text("the square in place of the absolute value")
            .of_input(|x| x.f_mul(x)),
    ]
}

/// A missing activation.
pub(super) fn left_out() -> Known {
    hypothesis(Cause::ActivationLeftOut)
        .text("an activation that is left out")
        .left_out()
}

pub(super) fn conv() -> Vec<Known> {
    vec![
        hypothesis(Cause::BiasLeftOut)
            .text("a convolution without its bias")
            .by(|site| {
                let (weight, stride) = (site.weight("weight")?, conv_stride(site));
                convolve(site.x()?, &weight, None, stride, site.precision.into())
            }),
        hypothesis(Cause::KernelFlipped)
            .text("a kernel turned round")
            .by(|site| with_kernel(site, &site.weight("weight")?.f_flip([2])?)),
        hypothesis(Cause::InAndOutSwapped)
            .text("inputs and outputs swapped in a kernel")
            .by(|site| with_kernel(site, &site.weight("weight")?.f_transpose(0, 1)?)),
        hypothesis(Cause::WeightsInF16)
            .text("weights in 16 bits")
            .by(|site| with_kernel(site, &site.half_weight()?)),
    ]
}

pub(super) fn pool() -> Vec<Known> {
    vec![
        hypothesis(Cause::AveragePool)
            .text("an average in place of the maximum")
            .by(|site| {
                let size = pool_size(site) as i64;
                Ok(site.x()?.f_avg_pool1d(size, size, 0, false, true)?)
            }),
        hypothesis(Cause::MinimumPool)
            .text("a minimum in place of the maximum")
            .by(|site| Ok(max_pool1d(&site.x()?.f_neg()?, pool_size(site))?.f_neg()?)),
        hypothesis(Cause::PoolOneLate)
            .text("pools that start one value late")
            .by(|site| {
                let x = site.x()?;
                let length = x.size()[2];
                let padded = Tensor::f_cat(&[x.shallow_clone(), x.f_narrow(2, length - 1, 1)?], 2)?;
                let size = pool_size(site);
                let whole = length / size as i64 * size as i64;
                max_pool1d(&padded.f_narrow(2, 1, whole)?, size)
            }),
        hypothesis(Cause::PoolRoundedUp)
            .text("a pool of what is left over at the end (ceil_mode)")
            .by(|site| {
                let size = pool_size(site) as i64;
                Ok(site.x()?.f_max_pool1d(size, size, 0, 1, true)?)
            }),
    ]
}

pub(super) fn leaky_relu() -> Vec<Known> {
    vec![
        left_out(),
        hypothesis(Cause::ReluForLeakyRelu)
            .text("ReLU in place of LeakyReLU(0.01)")
            .of_input(|x| x.f_relu()),
        hypothesis(Cause::Tanh)
            .text("tanh in place of LeakyReLU")
            .of_input(|x| x.f_tanh()),
        hypothesis(Cause::Gelu)
            .text("GELU in place of LeakyReLU")
            .of_input(|x| x.f_gelu("none")),
        hypothesis(Cause::Elu)
            .text("ELU in place of LeakyReLU")
            .of_input(|x| x.f_elu()),
        hypothesis(Cause::Silu)
            .text("SiLU in place of LeakyReLU")
            .of_input(|x| x.f_silu()),
    ]
}

/// A leaky ReLU of this slope.
pub(super) fn sloped(x: &Tensor, slope: f64) -> Result<Tensor> {
    let above = x.f_relu()?;
    Ok(above.f_add(&x.f_sub(&above)?.f_mul_scalar(slope)?)?)
}

/// Largest number of outputs for which every pair is swapped.
const MOST_SWAPPED: i64 = 16;

pub(super) fn linear_mistakes() -> Vec<Known> {
    fn with_weight(site: &Site<'_>, weight: &Tensor) -> Result<Tensor> {
        Ok(site.x()?.f_linear(weight, Some(&site.weight("bias")?))?)
    }
    let mut known = vec![
        hypothesis(Cause::BiasLeftOut)
            .text("a layer without its bias")
            .by(|site| {
                let weight = site.weight("weight")?;
                Ok(site.x()?.f_linear(&weight, None::<&Tensor>)?)
            }),
        hypothesis(Cause::BiasTwice)
            .text("a bias that is added twice")
            .by(|site| Ok(linear(site)?.f_add(&site.weight("bias")?)?)),
        hypothesis(Cause::InAndOutSwapped)
            .text("a transposed matrix")
            .by(|site| with_weight(site, &site.weight("weight")?.f_transpose(0, 1)?)),
        hypothesis(Cause::WeightsInF16)
            .text("weights in 16 bits")
            .by(|site| with_weight(site, &site.half_weight()?)),
    ];
    for first in 0..MOST_SWAPPED {
        for second in first + 1..MOST_SWAPPED {
            known.push(
                hypothesis(Cause::TwoOutputsSwapped)
                    .text(format!("outputs {first} and {second} swapped"))
                    .by(move |site| {
                        let right = linear(site)?;
                        let mut order: Vec<i64> = (0..*right.size().last().unwrap_or(&0)).collect();
                        if second as usize >= order.len() || order.len() > MOST_SWAPPED as usize {
                            return Err(not_here("outputs", order.len()));
                        }
                        order.swap(first as usize, second as usize);
                        Ok(right.f_index_select(-1, &Tensor::f_from_slice(&order)?)?)
                    }),
            );
        }
    }
    known
}

pub(super) fn activation() -> Vec<Known> {
    vec![
        left_out(),
        hypothesis(Cause::SoftmaxOverFrames)
            .text("a softmax over frames in place of classes")
            .of_input(|x| x.f_log_softmax(1, None)),
        hypothesis(Cause::Sigmoid)
            .text("a sigmoid in place of log-softmax")
            .of_input(|x| x.f_sigmoid()),
        hypothesis(Cause::LogSigmoid)
            .text("a log-sigmoid in place of log-softmax")
            .of_input(|x| x.f_log_sigmoid()),
    ]
}
