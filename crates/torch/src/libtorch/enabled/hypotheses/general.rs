//! Mistakes that can be made at any stage.

use tch::Tensor;

use soundalike_network::Cause;

use super::{Known, Right, Site, hypothesis};
use crate::Result;

/// Those in time and layout.
pub(super) fn moved(right: Right) -> Vec<Known> {
    vec![
        hypothesis(
            Cause::OneFrameLate,
            "the output one frame late",
            move |site| {
                let x = right(site)?;
                let axis = frames(site);
                let rest = x.f_narrow(axis, 0, x.size()[axis as usize] - 1)?;
                Ok(Tensor::f_cat(
                    &[x.f_narrow(axis, 0, 1)?.f_zeros_like()?, rest],
                    axis,
                )?)
            },
        ),
        hypothesis(
            Cause::OneFrameEarly,
            "the output one frame early",
            move |site| {
                let x = right(site)?;
                let axis = frames(site);
                let length = x.size()[axis as usize];
                let rest = x.f_narrow(axis, 1, length - 1)?;
                let last = x.f_narrow(axis, length - 1, 1)?.f_zeros_like()?;
                Ok(Tensor::f_cat(&[rest, last], axis)?)
            },
        ),
        hypothesis(Cause::OneFrameLess, "the last frame lost", move |site| {
            let x = right(site)?;
            let axis = frames(site);
            Ok(x.f_narrow(axis, 0, x.size()[axis as usize] - 1)?)
        }),
        hypothesis(
            Cause::TurnedRound,
            "the output turned round in time",
            move |site| {
                let x = right(site)?;
                let axis = frames(site);
                Ok(x.f_flip([axis])?)
            },
        ),
        hypothesis(Cause::Negated, "the other sign", move |site| {
            Ok(right(site)?.f_neg()?)
        }),
        hypothesis(
            Cause::LayoutReadAcross,
            "the last two dimensions written one way round and read the other",
            move |site| {
                let x = right(site)?;
                across(&x)
            },
        ),
    ]
}

/// Those after the sums of a layer.
pub(super) fn after(right: Right) -> Vec<Known> {
    vec![
        hypothesis(
            Cause::Exponential,
            "an exponential after the stage (no logarithm taken)",
            move |site| Ok(right(site)?.f_exp()?),
        ),
        hypothesis(Cause::Base10, "logarithms of base 10", move |site| {
            Ok(right(site)?.f_div_scalar(std::f64::consts::LN_10)?)
        }),
        hypothesis(Cause::Base2, "logarithms of base 2", move |site| {
            Ok(right(site)?.f_div_scalar(std::f64::consts::LN_2)?)
        }),
        hypothesis(
            Cause::AbsAfter,
            "an absolute value after the stage",
            move |site| Ok(right(site)?.f_abs()?),
        ),
        hypothesis(Cause::ReluAfter, "a ReLU after the stage", move |site| {
            Ok(right(site)?.f_relu()?)
        }),
        hypothesis(
            Cause::LeakyReluAfter,
            "a leaky ReLU after the stage",
            move |site| Ok(right(site)?.f_leaky_relu()?),
        ),
        hypothesis(
            Cause::Length1,
            "the output divided by its length",
            move |site| {
                let x = right(site)?;
                let length = x
                    .f_mul(&x)?
                    .f_sum_dim_intlist([-1i64].as_slice(), true, None)?;
                Ok(x.f_div(&length.f_sqrt()?)?)
            },
        ),
    ]
}

/// `x` with its last two dimensions written one way round and read the other.
pub(super) fn across(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_transpose(-1, -2)?.f_contiguous()?.f_reshape(x.size())?)
}

/// The dimension of frames; of what has none, that of the batch.
fn frames(site: &Site<'_>) -> i64 {
    site.stage.axes.frame().unwrap_or(0) as i64
}
