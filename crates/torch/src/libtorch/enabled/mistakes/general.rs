//! Mistakes that can be made at any stage.

use tch::Tensor;

use super::{Known, Right, mistake};
use crate::Result;

/// Those in time and layout.
pub(super) fn moved(right: Right) -> Vec<Known> {
    vec![
        mistake("one-frame-late", "the output one frame late", move |site| {
            let x = right(site)?;
            let axis = frames(site.name, &x);
            let rest = x.f_narrow(axis, 0, x.size()[axis as usize] - 1)?;
            Ok(Tensor::f_cat(
                &[x.f_narrow(axis, 0, 1)?.f_zeros_like()?, rest],
                axis,
            )?)
        }),
        mistake(
            "one-frame-early",
            "the output one frame early",
            move |site| {
                let x = right(site)?;
                let axis = frames(site.name, &x);
                let length = x.size()[axis as usize];
                let rest = x.f_narrow(axis, 1, length - 1)?;
                let last = x.f_narrow(axis, length - 1, 1)?.f_zeros_like()?;
                Ok(Tensor::f_cat(&[rest, last], axis)?)
            },
        ),
        mistake("one-frame-less", "the last frame lost", move |site| {
            let x = right(site)?;
            let axis = frames(site.name, &x);
            Ok(x.f_narrow(axis, 0, x.size()[axis as usize] - 1)?)
        }),
        mistake(
            "turned-round",
            "the output turned round in time",
            move |site| {
                let x = right(site)?;
                let axis = frames(site.name, &x);
                Ok(x.f_flip([axis])?)
            },
        ),
        mistake("negated", "the other sign", move |site| {
            Ok(right(site)?.f_neg()?)
        }),
        mistake(
            "layout-read-across",
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
        mistake(
            "exponential",
            "an exponential after the stage (no logarithm taken)",
            move |site| Ok(right(site)?.f_exp()?),
        ),
        mistake("base-10", "logarithms of base 10", move |site| {
            Ok(right(site)?.f_div_scalar(std::f64::consts::LN_10)?)
        }),
        mistake("base-2", "logarithms of base 2", move |site| {
            Ok(right(site)?.f_div_scalar(std::f64::consts::LN_2)?)
        }),
        mistake(
            "abs-after",
            "an absolute value after the stage",
            move |site| Ok(right(site)?.f_abs()?),
        ),
        mistake("relu-after", "a ReLU after the stage", move |site| {
            Ok(right(site)?.f_relu()?)
        }),
        mistake(
            "leaky-relu-after",
            "a leaky ReLU after the stage",
            move |site| Ok(right(site)?.f_leaky_relu()?),
        ),
        mistake(
            "length-1",
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

/// The dimension of frames.
fn frames(name: &str, x: &Tensor) -> i64 {
    let last = x.size().len() as i64 - 1;
    let time_last = name.starts_with("sincnet.") || name == "weights" || last == 3;
    if time_last { last } else { (last - 1).max(0) }
}
