//! Faults of the residual network.

use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{conv2d, leaky, replicated},
    edit::{flip, one, rows_zeroed, swapped, transpose, zero},
    fault,
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
        fault("time-and-band-swapped")
            .text("the kernel of the first convolution has time and band swapped")
            .seen_in("MLX FINAL_STATUS: axes")
            .weights(CONV1, |edit| {
                edit.each("resnet.conv1.weight", |w| swapped(&w, 2, 3))
            })
            .named(Cause::KernelTransposed),
        fault("conv2d-kernel-flipped")
            .text("the kernel of a convolution is turned round")
            .seen_in("mlx-audio #715")
            .weights(BLOCK_CONV, |edit| {
                edit.each("resnet.layer1.0.conv1.weight", |w| flip(&flip(&w, 2), 3))
            })
            .named(Cause::KernelFlipped),
        fault("conv2d-in-and-out-swapped")
            .text("inputs and outputs of a convolution are swapped")
            .seen_in("mlx-vlm #1743, #1545")
            .weights(BLOCK_CONV, |edit| {
                edit.each("resnet.layer1.0.conv1.weight", transpose)
            })
            .named(Cause::InAndOutSwapped),
        fault("conv2d-edges-replicated")
            .text("a convolution pads with its edge in place of zeros")
            .seen_in("SpeechBrain pads by reflection")
            .stage(BLOCK_CONV, |call| conv2d(call, replicated))
            .named(Cause::EdgesReplicated),
        fault("conv2d-causal")
            .text("a convolution pads before its input only")
            .seen_in("CrispASR: causal against symmetric")
            .stage(BLOCK_CONV, |call| {
                conv2d(call, |x, axis| x.pad_with_zeros(axis, 2, 0))
            })
            .named(Cause::CausalPadding),
        fault("stride-one-off")
            .text("a convolution with a stride starts one value late")
            .seen_in("TensorFlow's SAME with a stride")
            .stage(&["resnet.layer2.0.conv1"], |call| {
                conv2d(call, |x, axis| x.pad_with_zeros(axis, 0, 2))
            })
            .named(Cause::StrideOneLate),
        fault("conv2d-filters-zeroed")
            .text("four filters of a convolution are zero")
            .seen_in("CrispASR OmniVoice #254")
            .weights(&["resnet.layer1.1.conv2"], |edit| {
                edit.each("resnet.layer1.1.conv2.weight", rows_zeroed)
            }),
        fault("bn-eps-1e-3")
            .text("batch norms have an epsilon of 1e-3")
            .seen_in("CrispASR #334: eps by position (cosine .810)")
            .batch_norm(NORMS, |variance| (variance + 1e-3)?.sqrt())
            .named(Cause::Eps(1e-3)),
        fault("bn-eps-1e-6")
            .text("batch norms have an epsilon of 1e-6")
            .seen_in("CrispASR #334, a variant")
            .batch_norm(NORMS, |variance| (variance + 1e-6)?.sqrt())
            .named(Cause::Eps(1e-6)),
        fault("bn-eps-outside")
            .text("the epsilon of the batch norms is added to the deviation")
            .seen_in("norms written by hand")
            .batch_norm(NORMS, |variance| variance.sqrt()? + 1e-5)
            .named(Cause::EpsOutsideTheRoot),
        fault("bn-variance-for-deviation")
            .text("the first batch norm divides by the variance")
            .seen_in("norms written by hand")
            .batch_norm(FIRST_NORM, |variance| variance + 1e-5)
            .named(Cause::VarianceForDeviation),
        fault("bn-statistics-not-loaded")
            .text("running means and variances are 0 and 1")
            .seen_in("MLX FINAL_STATUS: norm 2.4 against .78")
            .weights(NORMS, |edit| {
                edit.each("*.running_mean", zero);
                edit.each("*.running_var", one);
            })
            .named(Cause::StatisticsLeftOut),
        fault("bn-affine-missing")
            .text("weights and biases of the first batch norm are not loaded")
            .seen_in("CrispASR #334")
            .weights(FIRST_NORM, |edit| edit.without_affine("resnet.bn1"))
            .named(Cause::AffineLeftOut),
        fault("bn-bias-lost")
            .text("the bias of a batch norm is lost when it is folded")
            .seen_in("CrispASR #334 (cosine .737); canary")
            .weights(&["resnet.layer1.0.bn2"], |edit| {
                edit.each("resnet.layer1.0.bn2.bias", zero)
            })
            .named(Cause::BiasLeftOut),
        fault("bn-in-training")
            .text("the first batch norm takes the statistics of its input")
            .seen_in("models left in training mode")
            .stage(FIRST_NORM, |call| {
                let x = call.input()?;
                let mean = x.mean_keepdim(3)?.mean_keepdim(2)?;
                let centred = x.broadcast_sub(&mean)?;
                let variance = centred.sqr()?.mean_keepdim(3)?.mean_keepdim(2)?;
                centred
                    .broadcast_div(&(variance + 1e-5)?.sqrt()?)?
                    .broadcast_mul(&call.channels("weight")?)?
                    .broadcast_add(&call.channels("bias")?)
            })
            .named(Cause::StatisticsOfTheInput),
        fault("relu-missing")
            .text("no ReLU within a block")
            .seen_in("CrispASR Silero LID: missing activations")
            .left_out(&["resnet.layer1.0.bn1.relu"])
            .named(Cause::ActivationLeftOut),
        fault("leaky-for-relu")
            .text("LeakyReLU(0.01) in place of ReLU")
            .seen_in("the mistake of an MLX port the other way round")
            .stage(&["resnet.bn1.relu"], |call| leaky(call, 0.01))
            .named(Cause::Slope(0.01)),
        fault("residual-missing")
            .text("a block does not add its input")
            .seen_in("CrispASR Jasper mout")
            .left_out(ADD)
            .named(Cause::ShortcutLeftOut),
        fault("residual-twice")
            .text("a block adds its input twice")
            .seen_in("sums written by hand")
            .stage(ADD, |call| &call.value + call.operand(1)?)
            .named(Cause::ShortcutTwice),
        fault("relu-before-the-sum")
            .text("a block adds its input after the ReLU")
            .seen_in("pre-activation blocks")
            .left_out(BLOCK)
            .named(Cause::ActivationLeftOut),
        fault("shortcut-norm-missing")
            .text("the shortcut has no batch norm")
            .seen_in("CrispASR Jasper")
            .left_out(&["resnet.layer2.0.shortcut.1"])
            .named(Cause::NormLeftOut),
    ]
}
