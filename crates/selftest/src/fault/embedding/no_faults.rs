//! Changes that are none.

use super::super::{Fault, stage};

const CENTRED: &[&str] = &["fbank.centred"];
const NORMS: &[&str] = &[
    "resnet.bn1",
    "resnet.layer?.*.bn?",
    "resnet.layer?.*.shortcut.1",
];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        stage(
            "bn-folded",
            "batch norms as one scale and one shift",
            "every runtime",
            NORMS,
            |call| {
                let deviation = (call.channels("running_var")? + 1e-5)?.sqrt()?;
                let scale = (call.channels("weight")? / deviation)?;
                let shift = (call.channels("bias")? - (call.channels("running_mean")? * &scale)?)?;
                call.input()?.broadcast_mul(&scale)?.broadcast_add(&shift)
            },
        )
        .equivalent("w (x - m) / d + b = (w / d) x + (b - m w / d)"),
        stage(
            "centring-twice",
            "the features are centred twice",
            "wespeaker #416",
            CENTRED,
            |call| call.value.broadcast_sub(&call.value.mean_keepdim(1)?),
        )
        .equivalent("the mean of centred features is 0"),
        stage(
            "sum-the-other-way",
            "a block adds its branch to its input",
            "most ports",
            &["resnet.layer?.*.add"],
            |call| call.operand(1)? + call.operand(0)?,
        )
        .equivalent("sums commute"),
    ]
}
