//! Faults of the residual network.

use ndarray::Axis;
use soundalike_model::Tensor;
use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{batch_norm, causal, conv2d, leaky, replicated},
    edit::{flip, one, transpose, zero},
    stage, weights,
};

const NORMS: &[&str] = &[
    "resnet.bn1",
    "resnet.layer?.*.bn?",
    "resnet.layer?.*.shortcut.1",
];
const FIRST_NORM: &[&str] = &["resnet.bn1"];
const CONV1: &[&str] = &["resnet.conv1"];
const BLOCK_CONV: &[&str] = &["resnet.layer1.0.conv1"];
const ADD: &[&str] = &["resnet.layer2.1.add"];
const BLOCK: &[&str] = &["resnet.layer2.1"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        weights(
            "time-and-band-swapped",
            "the kernel of the first convolution has time and band swapped",
            "MLX FINAL_STATUS: axes",
            CONV1,
            |edit| {
                edit.each("resnet.conv1.weight", |w| {
                    let mut view = w.view();
                    view.swap_axes(2, 3);
                    view.as_standard_layout().to_owned()
                });
            },
        )
        .named(Cause::KernelTransposed),
        weights(
            "conv2d-kernel-flipped",
            "the kernel of a convolution is turned round",
            "mlx-audio #715",
            BLOCK_CONV,
            |edit| edit.each("resnet.layer1.0.conv1.weight", |w| flip(&flip(&w, 2), 3)),
        )
        .named(Cause::KernelFlipped),
        weights(
            "conv2d-in-and-out-swapped",
            "inputs and outputs of a convolution are swapped",
            "mlx-vlm #1743, #1545",
            BLOCK_CONV,
            |edit| edit.each("resnet.layer1.0.conv1.weight", transpose),
        )
        .named(Cause::InAndOutSwapped),
        stage(
            "conv2d-edges-replicated",
            "a convolution pads with its edge in place of zeros",
            "SpeechBrain pads by reflection",
            BLOCK_CONV,
            |call| conv2d(call, replicated),
        )
        .named(Cause::EdgesReplicated),
        stage(
            "conv2d-causal",
            "a convolution pads before its input only",
            "CrispASR: causal against symmetric",
            BLOCK_CONV,
            |call| conv2d(call, causal),
        )
        .named(Cause::CausalPadding),
        stage(
            "stride-one-off",
            "a convolution with a stride starts one value late",
            "TensorFlow's SAME with a stride",
            &["resnet.layer2.0.conv1"],
            |call| {
                let edge = |x: &Tensor, axis| x.pad_with_zeros(axis, 0, 2);
                conv2d(call, edge)
            },
        )
        .named(Cause::StrideOneLate),
        weights(
            "conv2d-filters-zeroed",
            "four filters of a convolution are zero",
            "CrispASR OmniVoice #254",
            &["resnet.layer1.1.conv2"],
            |edit| {
                edit.each("resnet.layer1.1.conv2.weight", |mut w| {
                    w.slice_axis_mut(Axis(0), ndarray::Slice::from(..4))
                        .fill(0.0);
                    w
                });
            },
        ),
        stage(
            "bn-eps-1e-3",
            "batch norms have an epsilon of 1e-3",
            "CrispASR #334: eps by position (cosine .810)",
            NORMS,
            |call| batch_norm(call, |variance| (variance + 1e-3)?.sqrt()),
        )
        .named(Cause::Eps1e3),
        stage(
            "bn-eps-1e-6",
            "batch norms have an epsilon of 1e-6",
            "CrispASR #334, a variant",
            NORMS,
            |call| batch_norm(call, |variance| (variance + 1e-6)?.sqrt()),
        )
        .named(Cause::Eps1e6),
        stage(
            "bn-eps-outside",
            "the epsilon of the batch norms is added to the deviation",
            "norms written by hand",
            NORMS,
            |call| batch_norm(call, |variance| variance.sqrt()? + 1e-5),
        )
        .named(Cause::EpsOutsideTheRoot),
        stage(
            "bn-variance-for-deviation",
            "the first batch norm divides by the variance",
            "norms written by hand",
            FIRST_NORM,
            |call| batch_norm(call, |variance| variance + 1e-5),
        )
        .named(Cause::VarianceForDeviation),
        weights(
            "bn-statistics-not-loaded",
            "running means and variances are 0 and 1",
            "MLX FINAL_STATUS: norm 2.4 against .78",
            NORMS,
            |edit| {
                edit.each("*.running_mean", zero);
                edit.each("*.running_var", one);
            },
        )
        .named(Cause::StatisticsLeftOut),
        weights(
            "bn-affine-missing",
            "weights and biases of the first batch norm are not loaded",
            "CrispASR #334",
            FIRST_NORM,
            |edit| edit.without_affine("resnet.bn1"),
        )
        .named(Cause::AffineLeftOut),
        weights(
            "bn-bias-lost",
            "the bias of a batch norm is lost when it is folded",
            "CrispASR #334 (cosine .737); canary",
            &["resnet.layer1.0.bn2"],
            |edit| edit.each("resnet.layer1.0.bn2.bias", zero),
        )
        .named(Cause::BiasLeftOut),
        stage(
            "bn-in-training",
            "the first batch norm takes the statistics of its input",
            "models left in training mode",
            FIRST_NORM,
            |call| {
                let x = call.input()?;
                let mean = x.mean_keepdim(3)?.mean_keepdim(2)?;
                let centred = x.broadcast_sub(&mean)?;
                let variance = centred.sqr()?.mean_keepdim(3)?.mean_keepdim(2)?;
                centred
                    .broadcast_div(&(variance + 1e-5)?.sqrt()?)?
                    .broadcast_mul(&call.channels("weight")?)?
                    .broadcast_add(&call.channels("bias")?)
            },
        )
        .named(Cause::StatisticsOfTheInput),
        stage(
            "relu-missing",
            "no ReLU within a block",
            "CrispASR Silero LID: missing activations",
            &["resnet.layer1.0.bn1.relu"],
            |call| Ok(call.input()?.clone()),
        )
        .named(Cause::ActivationLeftOut),
        stage(
            "leaky-for-relu",
            "LeakyReLU(0.01) in place of ReLU",
            "the mistake of an MLX port the other way round",
            &["resnet.bn1.relu"],
            |call| leaky(call, 0.01),
        )
        .named(Cause::Slope(0.01)),
        stage(
            "residual-missing",
            "a block does not add its input",
            "CrispASR Jasper mout",
            ADD,
            |call| Ok(call.input()?.clone()),
        )
        .named(Cause::ShortcutLeftOut),
        stage(
            "residual-twice",
            "a block adds its input twice",
            "sums written by hand",
            ADD,
            |call| &call.value + call.operand(1)?,
        )
        .named(Cause::ShortcutTwice),
        stage(
            "relu-before-the-sum",
            "a block adds its input after the ReLU",
            "pre-activation blocks",
            BLOCK,
            |call| Ok(call.input()?.clone()),
        )
        .named(Cause::ActivationLeftOut),
        stage(
            "shortcut-norm-missing",
            "the shortcut has no batch norm",
            "CrispASR Jasper",
            &["resnet.layer2.0.shortcut.1"],
            |call| Ok(call.input()?.clone()),
        )
        .named(Cause::NormLeftOut),
    ]
}
