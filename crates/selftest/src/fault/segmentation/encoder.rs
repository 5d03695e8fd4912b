//! Faults of what follows the sinc filters: pools, norms, activations and convolutions.

use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{NORM, NormOptions, instance_norm, late, leaky, pool, shorter},
    edit::{flip, transpose, zero},
    stage, weights,
};

const POOLS: &[&str] = &["sincnet.pool1d.?"];
const NORMS: &[&str] = &["sincnet.norm1d.?"];
const SINCNET_RELU: &[&str] = &["sincnet.norm1d.?.leaky_relu"];
const CONV1: &[&str] = &["sincnet.conv1d.1"];
const CONV2: &[&str] = &["sincnet.conv1d.2"];
const CONVS: &[&str] = &["sincnet.conv1d.[12]"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        stage(
            "average-for-max-pool",
            "average in place of maximum",
            "CrispASR CAM++",
            POOLS,
            |call| pool(call.input()?, 0, |a, b| a + b)? / 3.0,
        )
        .named(Cause::AveragePool),
        stage(
            "minimum-for-max-pool",
            "minimum in place of maximum",
            "sign slips in pools written by hand",
            POOLS,
            |call| pool(call.input()?, 0, |a, b| a.minimum(b)),
        )
        .named(Cause::MinimumPool),
        stage(
            "pool-one-off",
            "pools start one value late",
            "Silero stride (T-1)/2+1",
            POOLS,
            |call| pool(call.input()?, 1, |a, b| a.maximum(b)),
        )
        .named(Cause::PoolOneLate),
        stage(
            "pool-loses-a-frame",
            "the first pool gives one frame less",
            "CrispASR CAM++ ceil_mode, cosine .268; speech-core #111",
            &["sincnet.pool1d.0"],
            |call| shorter(&call.value, 2),
        )
        .named(Cause::OneFrameLess),
        stage(
            "norm-unbiased",
            "norms divide by n - 1",
            "Pocket-TTS variance",
            NORMS,
            |call| {
                instance_norm(
                    call,
                    &NormOptions {
                        correction: 1.0,
                        ..NORM
                    },
                )
            },
        )
        .named(Cause::UnbiasedVariance),
        stage(
            "norm-eps-1e-3",
            "norms have an epsilon of 1e-3",
            "NeMo eps 1e-3; BN eps .01 by position (cosine .810)",
            NORMS,
            |call| instance_norm(call, &NormOptions { eps: 1e-3, ..NORM }),
        )
        .named(Cause::Eps1e3),
        stage(
            "norm0-eps-1e-6",
            "the first norm has an epsilon of 1e-6",
            "NeMo eps, a variant",
            &["sincnet.norm1d.0"],
            |call| instance_norm(call, &NormOptions { eps: 1e-6, ..NORM }),
        )
        .named(Cause::Eps1e6),
        stage(
            "norm1-eps-1e-6",
            "the second norm has an epsilon of 1e-6",
            "NeMo eps, a variant",
            &["sincnet.norm1d.1"],
            |call| instance_norm(call, &NormOptions { eps: 1e-6, ..NORM }),
        )
        .named(Cause::Eps1e6),
        stage(
            "norm2-eps-1e-6",
            "the third norm has an epsilon of 1e-6",
            "NeMo eps, a variant",
            &["sincnet.norm1d.2"],
            |call| instance_norm(call, &NormOptions { eps: 1e-6, ..NORM }),
        )
        .named(Cause::Eps1e6),
        weights(
            "norm-affine-missing",
            "weights and biases of the norms are not loaded",
            "InstanceNorm1d without affine in several ports",
            NORMS,
            |edit| edit.without_affine("sincnet.norm1d.*"),
        )
        .named(Cause::AffineLeftOut),
        weights(
            "norm-bias-missing",
            "biases of the norms are not loaded",
            "CrispASR #334, of batch norms",
            NORMS,
            |edit| edit.each("sincnet.norm1d.*.bias", zero),
        )
        .named(Cause::BiasLeftOut),
        stage(
            "norm-over-channels",
            "the norms are taken over channels in place of time",
            "layouts [time, channel] in MLX ports",
            NORMS,
            |call| instance_norm(call, &NormOptions { axis: 1, ..NORM }),
        )
        .named(Cause::NormalisedOverChannels),
        stage(
            "sincnet-relu",
            "ReLU in place of LeakyReLU(0.01) in SincNet",
            "as in the head of an MLX port",
            SINCNET_RELU,
            |call| leaky(call, 0.0),
        )
        .named(Cause::ReluForLeakyRelu),
        stage(
            "sincnet-slope-0.1",
            "a slope of 0.1 in place of 0.01 in SincNet",
            "CrispASR HiFT: .01 against .1",
            SINCNET_RELU,
            |call| leaky(call, 0.1),
        )
        .named(Cause::Slope(0.1)),
        stage(
            "sincnet-slope-0.2",
            "a slope of 0.2 in place of 0.01 in SincNet",
            "CrispASR HiFT, a variant",
            SINCNET_RELU,
            |call| leaky(call, 0.2),
        )
        .named(Cause::Slope(0.2)),
        stage(
            "sincnet-activation-missing",
            "no activation in SincNet",
            "CrispASR Silero LID: missing activations",
            SINCNET_RELU,
            |call| Ok(call.input()?.clone()),
        )
        .named(Cause::ActivationLeftOut),
        weights(
            "conv-kernel-flipped",
            "the kernel of the second convolution is turned round",
            "mlx-audio #715, #657: transposes too many",
            CONV1,
            |edit| edit.each("sincnet.conv1d.1.weight", |w| flip(&w, 2)),
        )
        .named(Cause::KernelFlipped),
        weights(
            "conv-in-and-out-swapped",
            "inputs and outputs of the third convolution are swapped",
            "mlx-vlm #1743; mlxcel #428",
            CONV2,
            |edit| edit.each("sincnet.conv1d.2.weight", transpose),
        )
        .named(Cause::InAndOutSwapped),
        weights(
            "conv-bias-missing",
            "the convolutions have no bias",
            "CrispASR #334: lost when folding",
            CONVS,
            |edit| edit.each("sincnet.conv1d.[12].bias", zero),
        )
        .named(Cause::BiasLeftOut)
        .void("the maximum keeps a constant, and the norm after it takes it off"),
        stage(
            "conv-one-frame-late",
            "the second convolution is one frame late",
            "mlx-audio #858: misaligned by one frame",
            CONV1,
            |call| late(&call.value, 2),
        )
        .named(Cause::OneFrameLate),
    ]
}
