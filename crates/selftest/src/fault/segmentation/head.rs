//! Faults of the linear layers, the classifier and the activation.

use std::f64::consts::LN_10;

use ndarray::{ArrayD, Axis};
use soundalike_model::Tensor;
use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{leaky, log_softmax, shorter, sloped},
    edit::{transpose, zero},
    fault,
    lstm::sigmoid,
};

const HEAD_RELU: &[&str] = &["linear.?.leaky_relu"];
const CLASSIFIER: &[&str] = &["classifier"];
const ACTIVATION: &[&str] = &["activation"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        fault("linear-bias-missing")
            .text("the first linear layer has no bias")
            .seen_in("CrispASR ECAPA")
            .weights(&["linear.0"], |edit| edit.each("linear.0.bias", zero))
            .named(Cause::BiasLeftOut),
        fault("linear-transposed")
            .text("the second linear layer is transposed")
            .seen_in("mlx-audio #657: transposed twice")
            .weights(&["linear.1"], |edit| {
                edit.each("linear.1.weight", transpose)
            })
            .named(Cause::InAndOutSwapped),
        fault("relu-for-leaky-relu")
            .text("ReLU in place of LeakyReLU(0.01) after the linear layers")
            .seen_in("an MLX port, src/models.py: took its 88.6 % of correlation for rounding")
            .stage(HEAD_RELU, |call| leaky(call, 0.0))
            .named(Cause::ReluForLeakyRelu),
        fault("head-slope-0.1")
            .text("a slope of 0.1 in place of 0.01 after the linear layers")
            .seen_in("CrispASR HiFT: .01 against .1")
            .stage(HEAD_RELU, |call| leaky(call, 0.1))
            .named(Cause::Slope(0.1)),
        fault("head-slope-one-digit-off")
            .text("a slope of 0.0100001 in place of 0.01 after the linear layers")
            .seen_in("constants copied by hand")
            .stage(HEAD_RELU, |call| leaky(call, 0.010_000_1))
            .named(Cause::Slope(0.010_000_1)),
        fault("head-activation-missing")
            .text("no activation after the linear layers")
            .seen_in("CrispASR Silero LID: missing activations")
            .left_out(HEAD_RELU)
            .named(Cause::ActivationLeftOut),
        fault("head-tanh")
            .text("tanh in place of LeakyReLU after the linear layers")
            .seen_in("PyanNet of pyannote.audio 1")
            .stage(HEAD_RELU, |call| call.input()?.tanh())
            .named(Cause::Tanh),
        fault("classifier-bias-missing")
            .text("the classifier has no bias")
            .seen_in("CrispASR ECAPA")
            .weights(CLASSIFIER, |edit| edit.each("classifier.bias", zero))
            .named(Cause::BiasLeftOut),
        fault("powerset-order")
            .text("two sets of speakers are swapped")
            .seen_in("FluidAudio #523; eliza #9460")
            .weights(CLASSIFIER, |edit| {
                let swap = |w: ArrayD<f32>| {
                    let mut order: Vec<usize> = (0..w.len_of(Axis(0))).collect();
                    let last = order.len() - 2;
                    order.swap(last - 1, last);
                    w.select(Axis(0), &order)
                };
                edit.each("classifier.weight", swap);
                edit.each("classifier.bias", swap);
            })
            .named(Cause::TwoOutputsSwapped),
        fault("classes-and-frames-mixed")
            .text("[class, frame] is read as [frame, class]")
            .seen_in("pyannote-ggml, taken for 16-bit rounding of the LSTM")
            .stage(CLASSIFIER, |call| {
                let value = call.value.transpose(1, 2)?.contiguous()?;
                value.reshape(call.value.dims())
            })
            .named(Cause::LayoutReadAcross),
        fault("classifier-activated")
            .text("a leaky ReLU follows the classifier")
            .seen_in("CrispASR Silero LID: extra activations")
            .stage(CLASSIFIER, |call| sloped(&call.value, 0.01))
            .named(Cause::LeakyReluAfter),
        fault("log-softmax-missing")
            .text("the scores are left as they are")
            .seen_in("an MLX port, test_log_softmax")
            .left_out(ACTIVATION)
            .named(Cause::ActivationLeftOut),
        fault("softmax-without-log")
            .text("softmax in place of log-softmax")
            .seen_in("an MLX port, test_log_softmax; CrispASR joint")
            .stage(ACTIVATION, |call| call.value.exp())
            .named(Cause::Exponential),
        fault("log-softmax-over-frames")
            .text("log-softmax over frames in place of classes")
            .seen_in("CrispASR joint log_softmax")
            .stage(ACTIVATION, |call| log_softmax(call.input()?, 1))
            .named(Cause::SoftmaxOverFrames),
        fault("sigmoid-for-softmax")
            .text("the sigmoid of the older models in place of log-softmax")
            .seen_in("pyannote 2 pipelines with newer weights")
            .stage(ACTIVATION, |call| sigmoid(call.input()?))
            .named(Cause::Sigmoid),
        fault("log-in-base-10")
            .text("logarithms of base 10")
            .seen_in("decibels in other front ends")
            .stage(ACTIVATION, |call| call.value.clone() / LN_10)
            .named(Cause::Base10),
        fault("output-one-frame-late")
            .text("the output is one frame late")
            .seen_in("CrispASR TitaNet; FluidAudio #807 (17 ms a call)")
            .stage(ACTIVATION, |call| {
                let first = call.value.narrow(1, 0, 1)?;
                let rest = call.value.narrow(1, 0, call.value.dim(1)? - 1)?;
                Tensor::cat(&[first, rest], 1)
            })
            .named(Cause::FrameRepeated),
        fault("output-frame-repeated")
            .text("one frame of the output is repeated in place of the next")
            .seen_in("joints between blocks of a stream")
            .stage(ACTIVATION, |call| {
                let (frames, half) = (call.value.dim(1)?, call.value.dim(1)? / 2);
                let before = call.value.narrow(1, 0, half)?;
                let repeated = call.value.narrow(1, half - 1, 1)?;
                let after = call.value.narrow(1, half + 1, frames - half - 1)?;
                Tensor::cat(&[before, repeated, after], 1)
            })
            .named(Cause::FrameRepeated),
        fault("output-one-frame-short")
            .text("the last frame is lost")
            .seen_in("speech-core #111: 10x56 = 560 of 589 frames")
            .stage(ACTIVATION, |call| shorter(&call.value, 1))
            .named(Cause::OneFrameLess),
        fault("classifier-shifted")
            .text("all classes get the same constant")
            .seen_in("score offsets in beam decoders")
            .weights(CLASSIFIER, |edit| edit.each("classifier.bias", |w| w + 1.0))
            .void("log-softmax takes off what all classes have in common"),
    ]
}
