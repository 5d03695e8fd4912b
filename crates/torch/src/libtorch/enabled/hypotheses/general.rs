//! Mistakes that are possible at any stage.

use std::f64::consts::{LN_2, LN_10};

use soundalike_network::Cause;
use tch::Tensor;

use super::{Known, Right, Title, hypothesis};
use crate::{Result, libtorch::enabled::tensor::sum};

/// The output one frame late, the first frame zero.
pub(super) fn one_frame_late(right: Right) -> Known {
    hypothesis(Cause::OneFrameLate)
        .text("the output one frame late")
        .in_time(right, |x, axis| {
            let first = x.f_narrow(axis, 0, 1)?.f_zeros_like()?;
            let rest = x.f_narrow(axis, 0, x.size()[axis as usize] - 1)?;
            Ok(Tensor::f_cat(&[first, rest], axis)?)
        })
}

/// Mistakes in time and layout.
pub(super) fn moved(right: Right) -> Vec<Known> {
    vec![
        one_frame_late(right),
        hypothesis(Cause::OneFrameEarly)
            .text("the output one frame early")
            .in_time(right, |x, axis| {
                let length = x.size()[axis as usize];
                let rest = x.f_narrow(axis, 1, length - 1)?;
                let last = x.f_narrow(axis, length - 1, 1)?.f_zeros_like()?;
                Ok(Tensor::f_cat(&[rest, last], axis)?)
            }),
        hypothesis(Cause::OneFrameLess)
            .text("the last frame lost")
            .in_time(right, |x, axis| {
                Ok(x.f_narrow(axis, 0, x.size()[axis as usize] - 1)?)
            }),
        hypothesis(Cause::TurnedRound)
            .text("the output turned round in time")
            .in_time(right, |x, axis| Ok(x.f_flip([axis])?)),
        hypothesis(Cause::Negated)
            .text("the other sign")
            .of_output(right, |y| y.f_neg()),
        hypothesis(Cause::LayoutReadAcross)
            .text("the last two dimensions written one way round and read the other")
            .of_output(right, across),
    ]
}

impl Title {
    /// Applies a function to the correct output and its axis of frames. Without frames it is the batch axis.
    fn in_time(self, right: Right, change: fn(&Tensor, i64) -> Result<Tensor>) -> Known {
        self.by(move |site| change(&right(site)?, site.stage.axes.frame().unwrap_or(0) as i64))
    }
}

/// Extra or missing functions after the sums of a layer.
pub(super) fn after(right: Right) -> Vec<Known> {
    vec![
        hypothesis(Cause::Exponential)
            .text("an exponential after the stage (no logarithm taken)")
            .of_output(right, |y| y.f_exp()),
        hypothesis(Cause::Base10)
            .text("logarithms of base 10")
            .of_output(right, |y| y.f_div_scalar(LN_10)),
        hypothesis(Cause::Base2)
            .text("logarithms of base 2")
            .of_output(right, |y| y.f_div_scalar(LN_2)),
        hypothesis(Cause::AbsAfter)
            .text("an absolute value after the stage")
            .of_output(right, |y| y.f_abs()),
        hypothesis(Cause::ReluAfter)
            .text("a ReLU after the stage")
            .of_output(right, |y| y.f_relu()),
        hypothesis(Cause::LeakyReluAfter)
            .text("a leaky ReLU after the stage")
            .of_output(right, |y| y.f_leaky_relu()),
        hypothesis(Cause::Length1)
            .text("the output divided by its length")
            .of_output(right, |y| -> Result<Tensor> {
                Ok(y.f_div(&sum(&y.f_mul(y)?, -1)?.f_sqrt()?)?)
            }),
    ]
}

/// `x` with its last two dimensions transposed in memory but not in the shape.
pub(super) fn across(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_transpose(-1, -2)?.f_contiguous()?.f_reshape(x.size())?)
}
