//! Equivalent mutants: changes that must not be reported.

use super::super::{Fault, fault};

const CENTRED: &[&str] = &["fbank.centred"];
const NORMS: &[&str] = &[
    "resnet.bn1",
    "resnet.layer?.*.bn?",
    "resnet.layer?.*.shortcut.1",
];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        fault("bn-folded")
            .text("batch norms as one scale and one shift")
            .seen_in("every runtime")
            .stage(NORMS, |call| {
                let deviation = (call.channels("running_var")? + 1e-5)?.sqrt()?;
                let scale = (call.channels("weight")? / deviation)?;
                let shift = (call.channels("bias")? - (call.channels("running_mean")? * &scale)?)?;
                call.input()?.broadcast_mul(&scale)?.broadcast_add(&shift)
            })
            .equivalent("w (x - m) / d + b = (w / d) x + (b - m w / d)"),
        fault("centring-twice")
            .text("the features are centred twice")
            .seen_in("wespeaker #416")
            .stage(CENTRED, |call| {
                call.value.broadcast_sub(&call.value.mean_keepdim(1)?)
            })
            .equivalent("the mean of centred features is 0"),
        fault("sum-the-other-way")
            .text("a block adds its branch to its input")
            .seen_in("most ports")
            .stage(&["resnet.layer?.*.add"], |call| {
                call.operand(1)? + call.operand(0)?
            })
            .equivalent("sums commute"),
    ]
}
