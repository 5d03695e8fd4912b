//! Faults of the linear layers, the classifier and the activation.

use ndarray::Axis;
use soundalike_model::Tensor;
use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{leaky, log_softmax, shorter},
    edit::{select, transpose, zero},
    lstm::{self},
    stage, weights,
};

const HEAD_RELU: &[&str] = &["linear.?.leaky_relu"];
const CLASSIFIER: &[&str] = &["classifier"];
const ACTIVATION: &[&str] = &["activation"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        weights(
            "linear-bias-missing",
            "the first linear layer has no bias",
            "CrispASR ECAPA",
            &["linear.0"],
            |edit| edit.each("linear.0.bias", zero),
        )
        .named(Cause::BiasLeftOut),
        weights(
            "linear-transposed",
            "the second linear layer is transposed",
            "mlx-audio #657: transposed twice",
            &["linear.1"],
            |edit| edit.each("linear.1.weight", transpose),
        )
        .named(Cause::InAndOutSwapped),
        stage(
            "relu-for-leaky-relu",
            "ReLU in place of LeakyReLU(0.01) after the linear layers",
            "an MLX port, src/models.py: took its 88.6 % of correlation for rounding",
            HEAD_RELU,
            |call| leaky(call, 0.0),
        )
        .named(Cause::ReluForLeakyRelu),
        stage(
            "head-slope-0.1",
            "a slope of 0.1 in place of 0.01 after the linear layers",
            "CrispASR HiFT: .01 against .1",
            HEAD_RELU,
            |call| leaky(call, 0.1),
        )
        .named(Cause::Slope(0.1)),
        stage(
            "head-slope-one-digit-off",
            "a slope of 0.0100001 in place of 0.01 after the linear layers",
            "constants copied by hand",
            HEAD_RELU,
            |call| leaky(call, 0.010_000_1),
        ),
        stage(
            "head-activation-missing",
            "no activation after the linear layers",
            "CrispASR Silero LID: missing activations",
            HEAD_RELU,
            |call| Ok(call.input()?.clone()),
        )
        .named(Cause::ActivationLeftOut),
        stage(
            "head-tanh",
            "tanh in place of LeakyReLU after the linear layers",
            "PyanNet of pyannote.audio 1",
            HEAD_RELU,
            |call| call.input()?.tanh(),
        )
        .named(Cause::Tanh),
        weights(
            "classifier-bias-missing",
            "the classifier has no bias",
            "CrispASR ECAPA",
            CLASSIFIER,
            |edit| edit.each("classifier.bias", zero),
        )
        .named(Cause::BiasLeftOut),
        weights(
            "powerset-order",
            "two sets of speakers are swapped",
            "FluidAudio #523; eliza #9460",
            CLASSIFIER,
            |edit| {
                let swap = |w: ndarray::ArrayD<f32>| {
                    let mut order: Vec<usize> = (0..w.len_of(Axis(0))).collect();
                    let last = order.len() - 2;
                    order.swap(last - 1, last);
                    select(&w, 0, &order)
                };
                edit.each("classifier.weight", swap);
                edit.each("classifier.bias", swap);
            },
        )
        .named(Cause::TwoOutputsSwapped),
        stage(
            "classes-and-frames-mixed",
            "[class, frame] is read as [frame, class]",
            "pyannote-ggml, taken for 16-bit rounding of the LSTM",
            CLASSIFIER,
            |call| {
                let value = call.value.transpose(1, 2)?.contiguous()?;
                value.reshape(call.value.dims())
            },
        )
        .named(Cause::LayoutReadAcross),
        stage(
            "classifier-activated",
            "a leaky ReLU follows the classifier",
            "CrispASR Silero LID: extra activations",
            CLASSIFIER,
            |call| {
                let x = &call.value;
                x.relu()? + ((x - x.relu()?)? * 0.01)?
            },
        )
        .named(Cause::LeakyReluAfter),
        stage(
            "log-softmax-missing",
            "the scores are left as they are",
            "an MLX port, test_log_softmax",
            ACTIVATION,
            |call| Ok(call.input()?.clone()),
        )
        .named(Cause::ActivationLeftOut),
        stage(
            "softmax-without-log",
            "softmax in place of log-softmax",
            "an MLX port, test_log_softmax; CrispASR joint",
            ACTIVATION,
            |call| call.value.exp(),
        )
        .named(Cause::Exponential),
        stage(
            "log-softmax-over-frames",
            "log-softmax over frames in place of classes",
            "CrispASR joint log_softmax",
            ACTIVATION,
            |call| log_softmax(call.input()?, 1),
        )
        .named(Cause::SoftmaxOverFrames),
        stage(
            "sigmoid-for-softmax",
            "the sigmoid of the older models in place of log-softmax",
            "pyannote 2 pipelines with newer weights",
            ACTIVATION,
            |call| lstm::sigmoid(call.input()?),
        )
        .named(Cause::Sigmoid),
        stage(
            "log-in-base-10",
            "logarithms of base 10",
            "decibels in other front ends",
            ACTIVATION,
            |call| call.value.clone() / std::f64::consts::LN_10,
        )
        .named(Cause::Base10),
        stage(
            "output-one-frame-late",
            "the output is one frame late",
            "CrispASR TitaNet; FluidAudio #807 (17 ms a call)",
            ACTIVATION,
            |call| {
                let first = call.value.narrow(1, 0, 1)?;
                let rest = call.value.narrow(1, 0, call.value.dim(1)? - 1)?;
                Tensor::cat(&[first, rest], 1)
            },
        ),
        stage(
            "output-one-frame-short",
            "the last frame is lost",
            "speech-core #111: 10x56 = 560 of 589 frames",
            ACTIVATION,
            |call| shorter(&call.value, 1),
        )
        .named(Cause::OneFrameLess),
        weights(
            "classifier-shifted",
            "all classes get the same constant",
            "score offsets in beam decoders",
            CLASSIFIER,
            |edit| edit.each("classifier.bias", |w| w + 1.0),
        )
        .void("log-softmax takes off what all classes have in common"),
    ]
}
