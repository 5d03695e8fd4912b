//! Faults after the sinc filters: pools, norms, activations and convolutions.

use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{late, leaky, pool, shorter},
    edit::{flip, transpose, zero},
    fault,
};

const POOLS: &[&str] = &["sincnet.pool1d.?"];
const NORMS: &[&str] = &["sincnet.norm1d.?"];
const SINCNET_RELU: &[&str] = &["sincnet.norm1d.?.leaky_relu"];
const CONV1: &[&str] = &["sincnet.conv1d.1"];
const CONV2: &[&str] = &["sincnet.conv1d.2"];
const CONVS: &[&str] = &["sincnet.conv1d.[12]"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        fault("average-for-max-pool")
            .text("average in place of maximum")
            .seen_in("CrispASR CAM++")
            .stage(POOLS, |call| pool(call.input()?, 0, |a, b| a + b)? / 3.0)
            .named(Cause::AveragePool),
        fault("minimum-for-max-pool")
            .text("minimum in place of maximum")
            .seen_in("sign slips in pools written by hand")
            .stage(POOLS, |call| pool(call.input()?, 0, |a, b| a.minimum(b)))
            .named(Cause::MinimumPool),
        fault("pool-one-off")
            .text("pools start one value late")
            .seen_in("Silero stride (T-1)/2+1")
            .stage(POOLS, |call| pool(call.input()?, 1, |a, b| a.maximum(b)))
            .named(Cause::PoolOneLate),
        fault("pool-loses-a-frame")
            .text("the first pool gives one frame less")
            .seen_in("CrispASR CAM++ ceil_mode, cosine .268; speech-core #111")
            .stage(&["sincnet.pool1d.0"], |call| shorter(&call.value, 2))
            .named(Cause::OneFrameLess),
        fault("norm-unbiased")
            .text("norms divide by n - 1")
            .seen_in("Pocket-TTS variance")
            .norm(NORMS, |norm| norm.correction = 1.0)
            .named(Cause::UnbiasedVariance),
        fault("norm-eps-1e-3")
            .text("norms have an epsilon of 1e-3")
            .seen_in("NeMo eps 1e-3; BN eps .01 by position (cosine .810)")
            .norm(NORMS, |norm| norm.eps = 1e-3)
            .named(Cause::Eps(1e-3)),
        fault("norm0-eps-1e-6")
            .text("the first norm has an epsilon of 1e-6")
            .seen_in("NeMo eps, a variant")
            .norm(&["sincnet.norm1d.0"], |norm| norm.eps = 1e-6)
            .named(Cause::Eps(1e-6)),
        fault("norm1-eps-1e-6")
            .text("the second norm has an epsilon of 1e-6")
            .seen_in("NeMo eps, a variant")
            .norm(&["sincnet.norm1d.1"], |norm| norm.eps = 1e-6)
            .named(Cause::Eps(1e-6)),
        fault("norm2-eps-1e-6")
            .text("the third norm has an epsilon of 1e-6")
            .seen_in("NeMo eps, a variant")
            .norm(&["sincnet.norm1d.2"], |norm| norm.eps = 1e-6)
            .named(Cause::Eps(1e-6)),
        fault("norm-affine-missing")
            .text("weights and biases of the norms are not loaded")
            .seen_in("InstanceNorm1d without affine in several ports")
            .weights(NORMS, |edit| edit.without_affine("sincnet.norm1d.*"))
            .named(Cause::AffineLeftOut),
        fault("norm-bias-missing")
            .text("biases of the norms are not loaded")
            .seen_in("CrispASR #334, of batch norms")
            .weights(NORMS, |edit| edit.each("sincnet.norm1d.*.bias", zero))
            .named(Cause::BiasLeftOut),
        fault("norm-over-channels")
            .text("the norms are taken over channels in place of time")
            .seen_in("layouts [time, channel] in MLX ports")
            .norm(NORMS, |norm| norm.axis = 1)
            .named(Cause::NormalisedOverChannels),
        fault("sincnet-relu")
            .text("ReLU in place of LeakyReLU(0.01) in SincNet")
            .seen_in("as in the head of an MLX port")
            .stage(SINCNET_RELU, |call| leaky(call, 0.0))
            .named(Cause::ReluForLeakyRelu),
        fault("sincnet-slope-0.1")
            .text("a slope of 0.1 in place of 0.01 in SincNet")
            .seen_in("CrispASR HiFT: .01 against .1")
            .stage(SINCNET_RELU, |call| leaky(call, 0.1))
            .named(Cause::Slope(0.1)),
        fault("sincnet-slope-0.2")
            .text("a slope of 0.2 in place of 0.01 in SincNet")
            .seen_in("CrispASR HiFT, a variant")
            .stage(SINCNET_RELU, |call| leaky(call, 0.2))
            .named(Cause::Slope(0.2)),
        fault("sincnet-activation-missing")
            .text("no activation in SincNet")
            .seen_in("CrispASR Silero LID: missing activations")
            .left_out(SINCNET_RELU)
            .named(Cause::ActivationLeftOut),
        fault("conv-kernel-flipped")
            .text("the kernel of the second convolution is turned round")
            .seen_in("mlx-audio #715, #657: transposes too many")
            .weights(CONV1, |edit| {
                edit.each("sincnet.conv1d.1.weight", |w| flip(&w, 2))
            })
            .named(Cause::KernelFlipped),
        fault("conv-in-and-out-swapped")
            .text("inputs and outputs of the third convolution are swapped")
            .seen_in("mlx-vlm #1743; mlxcel #428")
            .weights(CONV2, |edit| {
                edit.each("sincnet.conv1d.2.weight", transpose)
            })
            .named(Cause::InAndOutSwapped),
        fault("conv-bias-missing")
            .text("the convolutions have no bias")
            .seen_in("CrispASR #334: lost when folding")
            .weights(CONVS, |edit| edit.each("sincnet.conv1d.[12].bias", zero))
            .named(Cause::BiasLeftOut)
            .void("the maximum keeps a constant, and the norm after it takes it off"),
        fault("conv-one-frame-late")
            .text("the second convolution is one frame late")
            .seen_in("mlx-audio #858: misaligned by one frame")
            .stage(CONV1, |call| late(&call.value, 2))
            .named(Cause::OneFrameLate),
    ]
}
