//! Mistakes in a segmentation network, its recurrent layers aside.

use std::f64::consts::PI;

use soundalike_network::Cause;
use tch::{Kind, Tensor};

use super::{
    Known, Site, hypothesis,
    right::{EPS, as_stored, conv_stride, linear, normalised, pool_size, with_kernel, with_stride},
};
use crate::{
    Error, Result,
    libtorch::enabled::{
        layers::{convolve, max_pool1d},
        tensor::kind,
    },
};

/// An instance norm from elementary operations.
struct Norm {
    eps: f64,
    /// Added to the deviation.
    outside: f64,
    /// Taken off the number of values.
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

fn by_hand(site: &Site<'_>, norm: &Norm) -> Result<Tensor> {
    let x = site.x()?;
    let axis = [norm.axis];
    let mean = x.f_mean_dim(axis.as_slice(), true, None::<Kind>)?;
    let centred = x.f_sub(&mean)?;
    let count = x.numel() as f64 / mean.numel() as f64 - norm.correction;
    let squares =
        centred
            .f_mul(&centred)?
            .f_sum_dim_intlist(axis.as_slice(), true, None::<Kind>)?;
    let deviation = squares
        .f_div_scalar(count)?
        .f_add_scalar(norm.eps)?
        .f_sqrt()?;
    let from = if norm.centred { &centred } else { x };
    Ok(from
        .f_div(&deviation.f_add_scalar(norm.outside)?)?
        .f_mul(&site.channels("weight", 3)?)?
        .f_add(&site.channels("bias", 3)?)?)
}

pub(super) fn norm() -> Vec<Known> {
    let eps = |cause: Cause, text: &str, eps: f64| {
        hypothesis(cause, text, move |site| {
            by_hand(site, &Norm { eps, ..NORM })
        })
    };
    vec![
        hypothesis(Cause::NormLeftOut, "a norm that is left out", |site| {
            Ok(site.x()?.shallow_clone())
        }),
        hypothesis(
            Cause::AffineLeftOut,
            "a norm whose weight and bias were not loaded",
            |site| {
                let scale = site.channels("weight", 3)?;
                Ok(normalised(site)?
                    .f_sub(&site.channels("bias", 3)?)?
                    .f_div(&scale)?)
            },
        ),
        hypothesis(
            Cause::WeightLeftOut,
            "a norm whose weight was not loaded",
            |site| {
                let (scale, shift) = (site.channels("weight", 3)?, site.channels("bias", 3)?);
                Ok(normalised(site)?
                    .f_sub(&shift)?
                    .f_div(&scale)?
                    .f_add(&shift)?)
            },
        ),
        hypothesis(Cause::BiasLeftOut, "a norm without its bias", |site| {
            Ok(normalised(site)?.f_sub(&site.channels("bias", 3)?)?)
        }),
        eps(
            Cause::Eps0,
            "a norm without an epsilon, or a waveform in 16-bit units",
            0.0,
        ),
        eps(Cause::Eps1e3, "an epsilon of 1e-3 in place of 1e-5", 1e-3),
        eps(Cause::Eps1e6, "an epsilon of 1e-6 in place of 1e-5", 1e-6),
        hypothesis(
            Cause::EpsOutsideTheRoot,
            "an epsilon added to the deviation",
            |site| {
                by_hand(
                    site,
                    &Norm {
                        eps: 0.0,
                        outside: EPS,
                        ..NORM
                    },
                )
            },
        ),
        hypothesis(
            Cause::UnbiasedVariance,
            "a variance divided by n - 1 in place of n",
            |site| {
                by_hand(
                    site,
                    &Norm {
                        correction: 1.0,
                        ..NORM
                    },
                )
            },
        ),
        hypothesis(Cause::MeanKept, "a norm that leaves the mean", |site| {
            by_hand(
                site,
                &Norm {
                    centred: false,
                    ..NORM
                },
            )
        }),
        hypothesis(
            Cause::NormalisedOverChannels,
            "a norm over channels in place of time",
            |site| by_hand(site, &Norm { axis: 1, ..NORM }),
        ),
    ]
}

pub(super) fn filters() -> Vec<Known> {
    /// The filters, the cosines and the sines.
    fn halves(site: &Site<'_>) -> Result<(Tensor, Tensor, i64)> {
        let filters = as_stored(site)?;
        let pairs = filters.size()[0] / 2;
        Ok((
            filters.f_narrow(0, 0, pairs)?,
            filters.f_narrow(0, pairs, pairs)?,
            pairs,
        ))
    }
    fn windowed(site: &Site<'_>, ratio: impl Fn(f64, f64) -> f64) -> Result<Tensor> {
        let filters = as_stored(site)?;
        let size = filters.size()[2];
        let ratios: Vec<f64> = (0..size).map(|n| ratio(n as f64, size as f64)).collect();
        let ratios = Tensor::f_from_slice(&ratios)?.f_to_kind(kind(site.precision))?;
        Ok(filters.f_mul(&ratios)?)
    }
    fn hamming(n: f64, turn: f64) -> f64 {
        0.54 - 0.46 * (2.0 * PI * n / turn).cos()
    }
    vec![
        hypothesis(
            Cause::SineNegated,
            "sine filters of the other sign, negated or turned round",
            |site| {
                let (cosines, sines, _) = halves(site)?;
                Ok(Tensor::f_cat(&[cosines, sines.f_neg()?], 0)?)
            },
        ),
        hypothesis(
            Cause::CosineTwice,
            "pairs of f and -f in place of cosine and sine",
            |site| {
                let (cosines, _, _) = halves(site)?;
                Ok(Tensor::f_cat(
                    &[cosines.f_neg()?.f_neg()?, cosines.f_neg()?],
                    0,
                )?)
            },
        ),
        hypothesis(
            Cause::FiltersInterleaved,
            "cosine and sine filters that take turns",
            |site| {
                let (cosines, sines, _) = halves(site)?;
                let shape = as_stored(site)?.size();
                Ok(Tensor::f_stack(&[cosines, sines], 1)?.f_reshape(shape)?)
            },
        ),
        hypothesis(
            Cause::FiltersNormalised,
            "filters divided by their length",
            |site| {
                let filters = as_stored(site)?;
                let squares = filters.f_mul(&filters)?;
                let length = squares.f_sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>)?;
                Ok(filters.f_div(&length.f_sqrt()?)?)
            },
        ),
        hypothesis(
            Cause::SineWithoutMinus,
            "sine filters mirrored without a minus",
            |site| {
                let (cosines, sines, _) = halves(site)?;
                let half = sines.size()[2] / 2;
                let left = sines.f_narrow(2, 0, half + 1)?;
                let right = sines.f_narrow(2, half + 1, half)?.f_neg()?;
                Ok(Tensor::f_cat(
                    &[cosines, Tensor::f_cat(&[left, right], 2)?],
                    0,
                )?)
            },
        ),
        hypothesis(
            Cause::HannWindow,
            "a Hann window in place of a Hamming window",
            |site| {
                windowed(site, |n, size| {
                    (0.5 - 0.5 * (2.0 * PI * n / (size - 1.0)).cos()) / hamming(n, size - 1.0)
                })
            },
        ),
        hypothesis(Cause::NoWindow, "no window on the filters", |site| {
            windowed(site, |n, size| 1.0 / hamming(n, size - 1.0))
        }),
        hypothesis(
            Cause::PeriodicWindow,
            "a periodic window in place of a symmetric one",
            |site| windowed(site, |n, size| hamming(n, size) / hamming(n, size - 1.0)),
        ),
        hypothesis(Cause::WeightsInF16, "weights in 16 bits", |site| {
            site.half(&site.stage.name)
        }),
    ]
}

pub(super) fn sinc() -> Vec<Known> {
    vec![
        hypothesis(
            Cause::StrideLessOne,
            "a stride of one sample less",
            |site| with_stride(site, 1),
        ),
        hypothesis(Cause::KernelFlipped, "filters turned round", |site| {
            let flipped = site.operand(1)?.f_flip([2])?;
            let stride = conv_stride(site);
            convolve(site.x()?, &flipped, None, stride, site.precision.into())
        }),
    ]
}

pub(super) fn absolute() -> Vec<Known> {
    vec![
        left_out(),
        hypothesis(
            Cause::ReluForAbs,
            "ReLU in place of the absolute value",
            |site| Ok(site.x()?.f_relu()?),
        ),
        hypothesis(
            Cause::SquareForAbs,
            "the square in place of the absolute value",
            |site| Ok(site.x()?.f_mul(site.x()?)?),
        ),
    ]
}

/// The stage as if it were not there.
pub(super) fn left_out() -> Known {
    hypothesis(
        Cause::ActivationLeftOut,
        "an activation that is left out",
        |site| Ok(site.x()?.shallow_clone()),
    )
}

pub(super) fn conv() -> Vec<Known> {
    vec![
        hypothesis(
            Cause::BiasLeftOut,
            "a convolution without its bias",
            |site| {
                convolve(
                    site.x()?,
                    &site.weight("weight")?,
                    None,
                    conv_stride(site),
                    site.precision.into(),
                )
            },
        ),
        hypothesis(Cause::KernelFlipped, "a kernel turned round", |site| {
            with_kernel(site, &site.weight("weight")?.f_flip([2])?)
        }),
        hypothesis(
            Cause::InAndOutSwapped,
            "inputs and outputs swapped in a kernel",
            |site| with_kernel(site, &site.weight("weight")?.f_transpose(0, 1)?),
        ),
        hypothesis(Cause::WeightsInF16, "weights in 16 bits", |site| {
            with_kernel(site, &site.half(&format!("{}.weight", site.stage.name))?)
        }),
    ]
}

pub(super) fn pool() -> Vec<Known> {
    vec![
        hypothesis(
            Cause::AveragePool,
            "an average in place of the maximum",
            |site| {
                let size = pool_size(site) as i64;
                Ok(site.x()?.f_avg_pool1d(size, size, 0, false, true)?)
            },
        ),
        hypothesis(
            Cause::MinimumPool,
            "a minimum in place of the maximum",
            |site| Ok(max_pool1d(&site.x()?.f_neg()?, pool_size(site))?.f_neg()?),
        ),
        hypothesis(
            Cause::PoolOneLate,
            "pools that start one value late",
            |site| {
                let x = site.x()?;
                let length = x.size()[2];
                let padded = Tensor::f_cat(&[x.shallow_clone(), x.f_narrow(2, length - 1, 1)?], 2)?;
                let size = pool_size(site);
                let whole = length / size as i64 * size as i64;
                max_pool1d(&padded.f_narrow(2, 1, whole)?, size)
            },
        ),
        hypothesis(
            Cause::PoolRoundedUp,
            "a pool of what is left over at the end (ceil_mode)",
            |site| {
                let size = pool_size(site) as i64;
                Ok(site.x()?.f_max_pool1d(size, size, 0, 1, true)?)
            },
        ),
    ]
}

pub(super) fn leaky_relu() -> Vec<Known> {
    let slope = |slope: f64| {
        hypothesis(
            Cause::Slope(slope),
            format!("a slope of {slope} in place of 0.01"),
            move |site| sloped(site, slope),
        )
    };
    vec![
        left_out(),
        hypothesis(
            Cause::ReluForLeakyRelu,
            "ReLU in place of LeakyReLU(0.01)",
            |site| Ok(site.x()?.f_relu()?),
        ),
        slope(0.1),
        slope(0.2),
        slope(0.3),
        slope(0.001),
        hypothesis(Cause::Tanh, "tanh in place of LeakyReLU", |site| {
            Ok(site.x()?.f_tanh()?)
        }),
        hypothesis(Cause::Gelu, "GELU in place of LeakyReLU", |site| {
            Ok(site.x()?.f_gelu("none")?)
        }),
        hypothesis(Cause::Elu, "ELU in place of LeakyReLU", |site| {
            Ok(site.x()?.f_elu()?)
        }),
        hypothesis(Cause::Silu, "SiLU in place of LeakyReLU", |site| {
            Ok(site.x()?.f_silu()?)
        }),
    ]
}

/// A leaky ReLU of this slope.
pub(super) fn sloped(site: &Site<'_>, slope: f64) -> Result<Tensor> {
    let x = site.x()?;
    let above = x.f_relu()?;
    Ok(above.f_add(&x.f_sub(&above)?.f_mul_scalar(slope)?)?)
}

/// Most outputs of a layer for which each pair is tried in the other order.
const MOST_SWAPPED: i64 = 16;

pub(super) fn linear_mistakes() -> Vec<Known> {
    fn with_weight(site: &Site<'_>, weight: &Tensor) -> Result<Tensor> {
        Ok(site.x()?.f_linear(weight, Some(&site.weight("bias")?))?)
    }
    let mut known = vec![
        hypothesis(Cause::BiasLeftOut, "a layer without its bias", |site| {
            Ok(site
                .x()?
                .f_linear(&site.weight("weight")?, None::<&Tensor>)?)
        }),
        hypothesis(Cause::BiasTwice, "a bias that is added twice", |site| {
            Ok(linear(site)?.f_add(&site.weight("bias")?)?)
        }),
        hypothesis(Cause::InAndOutSwapped, "a transposed matrix", |site| {
            with_weight(site, &site.weight("weight")?.f_transpose(0, 1)?)
        }),
        hypothesis(Cause::WeightsInF16, "weights in 16 bits", |site| {
            with_weight(site, &site.half(&format!("{}.weight", site.stage.name))?)
        }),
    ];
    for first in 0..MOST_SWAPPED {
        for second in first + 1..MOST_SWAPPED {
            known.push(hypothesis(
                Cause::TwoOutputsSwapped,
                format!("outputs {first} and {second} swapped"),
                move |site| {
                    let right = linear(site)?;
                    let mut order: Vec<i64> = (0..*right.size().last().unwrap_or(&0)).collect();
                    if second as usize >= order.len() || order.len() > MOST_SWAPPED as usize {
                        return Err(not_here("outputs", order.len()));
                    }
                    order.swap(first as usize, second as usize);
                    Ok(right.f_index_select(-1, &Tensor::f_from_slice(&order)?)?)
                },
            ));
        }
    }
    known
}

/// A hypothesis that cannot be made at this stage.
pub(super) fn not_here(what: &'static str, found: usize) -> Error {
    Error::Shape {
        what,
        found: vec![found],
        expected: "others for this hypothesis".into(),
    }
}

pub(super) fn activation() -> Vec<Known> {
    vec![
        left_out(),
        hypothesis(
            Cause::SoftmaxOverFrames,
            "a softmax over frames in place of classes",
            |site| Ok(site.x()?.f_log_softmax(1, None)?),
        ),
        hypothesis(
            Cause::Sigmoid,
            "a sigmoid in place of log-softmax",
            |site| Ok(site.x()?.f_sigmoid()?),
        ),
        hypothesis(
            Cause::LogSigmoid,
            "a log-sigmoid in place of log-softmax",
            |site| Ok(site.x()?.f_log_sigmoid()?),
        ),
    ]
}
