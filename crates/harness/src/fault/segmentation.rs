//! Faults of segmentation networks.

use ndarray::{Axis, concatenate};
use soundalike_model::{Result, Tensor};

use super::{
    Fault,
    call::{
        Call, NORM, Norm, halves_swapped, instance_norm, late, leaky, log_softmax, pool, reversed,
        shorter,
    },
    edit::{Edit, LSTM_KINDS, Lstm, blocks, flip, half, select, transpose, zero},
    lstm::{self, Habits, LSTM},
    stage, weights,
};

const WAV_NORM: &[&str] = &["sincnet.wav_norm1d"];
const FILTERS: &[&str] = &["sincnet.conv1d.0.filters"];
const SINC: &[&str] = &["sincnet.conv1d.0"];
const ABS: &[&str] = &["sincnet.conv1d.0.abs"];
const POOLS: &[&str] = &["sincnet.pool1d.?"];
const NORMS: &[&str] = &["sincnet.norm1d.?"];
const SINCNET_RELU: &[&str] = &["sincnet.norm1d.?.leaky_relu"];
const HEAD_RELU: &[&str] = &["linear.?.leaky_relu"];
const CONV1: &[&str] = &["sincnet.conv1d.1"];
const CONV2: &[&str] = &["sincnet.conv1d.2"];
const CONVS: &[&str] = &["sincnet.conv1d.[12]"];
const DIRECTIONS: &[&str] = &["lstm.*.forward", "lstm.*.reverse"];
const REVERSE: &[&str] = &["lstm.*.reverse"];
const LSTMS: &[&str] = &["lstm.*"];
const LSTMS_REVERSE: &[&str] = &["lstm.*.reverse", "lstm.?"];
const LSTM0: &[&str] = &["lstm.0", "lstm.0.*"];
const LSTM1: &[&str] = &["lstm.1", "lstm.1.*"];
const LSTM1_REVERSE: &[&str] = &["lstm.1.reverse", "lstm.1"];
const LSTM2: &[&str] = &["lstm.2", "lstm.2.*"];
const LSTM3_REVERSE: &[&str] = &["lstm.3.reverse", "lstm.3"];
const CLASSIFIER: &[&str] = &["classifier"];
const ACTIVATION: &[&str] = &["activation"];

/// By the order of the stages.
pub(super) fn catalogue() -> Vec<Fault> {
    [encoder(), recurrent(), head(), no_faults()].concat()
}

fn encoder() -> Vec<Fault> {
    vec![
        stage(
            "wav-norm-missing",
            "the waveform is not normalised",
            "pyannote-ggml loads this norm separately",
            WAV_NORM,
            |call| Ok(call.input()?.clone()),
        )
        .named("norm-left-out"),
        weights(
            "wav-norm-affine-missing",
            "weight and bias of the waveform norm are not loaded",
            "pyannote-ggml",
            WAV_NORM,
            |edit| {
                edit.each("sincnet.wav_norm1d.weight", |w| w * 0.0 + 1.0);
                edit.each("sincnet.wav_norm1d.bias", zero);
            },
        )
        .named("affine-left-out"),
        stage(
            "wav-norm-eps-0",
            "the waveform norm has no epsilon",
            "pyannote-ggml",
            WAV_NORM,
            |call| instance_norm(call, &Norm { eps: 0.0, ..NORM }),
        )
        .named("eps-0"),
        stage(
            "waveform-in-16-bit-units",
            "the waveform is scaled by 32768 before its norm",
            "CrispASR int16 against float; pyannote-ggml",
            WAV_NORM,
            |call| {
                let eps = 1e-5 / 32768_f64.powi(2);
                instance_norm(call, &Norm { eps, ..NORM })
            },
        )
        .named("eps-0"),
        stage(
            "wav-norm-eps-1e-3",
            "the waveform norm has an epsilon of 1e-3",
            "NeMo eps 1e-3",
            WAV_NORM,
            |call| instance_norm(call, &Norm { eps: 1e-3, ..NORM }),
        )
        .named("eps-1e-3"),
        stage(
            "wav-norm-unbiased",
            "the waveform norm divides by n - 1",
            "Pocket-TTS variance",
            WAV_NORM,
            |call| {
                instance_norm(
                    call,
                    &Norm {
                        correction: 1.0,
                        ..NORM
                    },
                )
            },
        )
        .named("unbiased-variance"),
        stage(
            "wav-norm-keeps-the-mean",
            "the waveform norm divides by the deviation and leaves the mean",
            "Pocket-TTS mean square against variance",
            WAV_NORM,
            |call| {
                instance_norm(
                    call,
                    &Norm {
                        centred: false,
                        ..NORM
                    },
                )
            },
        )
        .named("mean-kept"),
        stage(
            "waveform-one-sample-late",
            "a zero is put before the waveform",
            "FluidAudio #444: padding drifts",
            WAV_NORM,
            |call| late(&call.value, 2),
        )
        .named("one-frame-late"),
        weights(
            "sine-filters-negated",
            "the sine filters have the other sign",
            "pyannote-ggml plan",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    if index < rows.len() / 2 {
                        rows[index].clone()
                    } else {
                        -&rows[index]
                    }
                })
            },
        )
        .named("sine-negated")
        .void("the absolute value follows"),
        weights(
            "sinc-pairs-f-and-minus-f",
            "each pair of filters is f and -f in place of cosine and sine",
            "pyannote-ggml: filters[2i+1] = -bandpass",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    if index < rows.len() / 2 {
                        rows[index].clone()
                    } else {
                        -&rows[index - rows.len() / 2]
                    }
                })
            },
        )
        .named("cosine-twice"),
        weights(
            "sinc-interleaved",
            "cosine and sine filters take turns in place of following each other",
            "asteroid's layout in pyannote-ggml",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    rows[index / 2 + index % 2 * (rows.len() / 2)].clone()
                })
            },
        )
        .named("filters-interleaved"),
        weights(
            "sinc-l2-normalised",
            "each filter is divided by its length",
            "pyannote-ggml: decision L2",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    &rows[index] / (rows[index].mapv(|x| x * x).sum()).sqrt()
                })
            },
        )
        .named("filters-normalised"),
        weights(
            "sine-mirrored-without-minus",
            "the right half of the sine filters is the mirror image of the left",
            "pyannote-ggml",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    let odd = index >= rows.len() / 2;
                    let middle = rows[index].len() / 2;
                    ndarray::Array1::from_shape_fn(rows[index].len(), |n| {
                        if odd && n > middle {
                            -rows[index][n]
                        } else {
                            rows[index][n]
                        }
                    })
                })
            },
        )
        .named("sine-without-minus"),
        weights(
            "sinc-window-hann",
            "the filters have a Hann window in place of a Hamming window",
            "CrispASR: windows of mel filters",
            FILTERS,
            |edit| windowed(edit, |turn| (0.5 - 0.5 * turn.cos()) / hamming(turn)),
        )
        .named("hann-window"),
        weights(
            "sinc-window-none",
            "the filters have no window",
            "CrispASR: windows of mel filters",
            FILTERS,
            |edit| windowed(edit, |turn| 1.0 / hamming(turn)),
        )
        .named("no-window"),
        weights(
            "sinc-window-periodic",
            "the window of the filters is periodic in place of symmetric",
            "CrispASR: periodic against symmetric, cosine .95 of mel features",
            FILTERS,
            |edit| {
                filters(edit, |index, rows| {
                    let length = rows[index].len() as f64;
                    ndarray::Array1::from_shape_fn(rows[index].len(), |n| {
                        let turn = |size: f64| 2.0 * std::f64::consts::PI * n as f64 / size;
                        let ratio = hamming(turn(length)) / hamming(turn(length - 1.0));
                        (f64::from(rows[index][n]) * ratio) as f32
                    })
                });
            },
        )
        .named("periodic-window"),
        weights(
            "sinc-filters-f16",
            "the filters were stored in 16 bits",
            "CrispASR: quantised weights against a float reference",
            FILTERS,
            |edit| edit.each(FILTERS[0], half),
        )
        .named("weights-in-f16"),
        stage(
            "sinc-one-frame-late",
            "the output of the filters is one frame late, as of causal padding",
            "CrispASR: causal against symmetric padding",
            SINC,
            |call| late(&call.value, 2),
        )
        .named("one-frame-late"),
        stage(
            "sinc-stride-wrong",
            "the filters move by one sample less",
            "Silero stride (T-1)/2+1",
            SINC,
            |call| {
                call.input()?
                    .conv1d(call.operand(1)?, 0, call.sinc_stride() - 1, 1, 1)
            },
        )
        .named("stride-less-one"),
        stage(
            "abs-missing",
            "no absolute value after the filters",
            "pyannote-ggml, first trap",
            ABS,
            |call| Ok(call.input()?.clone()),
        )
        .named("activation-left-out"),
        stage(
            "relu-for-abs",
            "ReLU in place of the absolute value",
            "pyannote-ggml, first trap, a variant",
            ABS,
            |call| call.input()?.relu(),
        )
        .named("relu-for-abs"),
        stage(
            "square-for-abs",
            "the square in place of the absolute value",
            "energies in other filter banks",
            ABS,
            |call| call.input()?.sqr(),
        )
        .named("square-for-abs"),
        stage(
            "abs-everywhere",
            "the absolute value after all three convolutions",
            "MLX: abs on the first only",
            CONVS,
            |call| call.value.abs(),
        )
        .named("abs-after"),
        stage(
            "average-for-max-pool",
            "average in place of maximum",
            "CrispASR CAM++",
            POOLS,
            |call| pool(call.input()?, 0, |a, b| a + b)? / 3.0,
        )
        .named("average-pool"),
        stage(
            "minimum-for-max-pool",
            "minimum in place of maximum",
            "sign slips in pools written by hand",
            POOLS,
            |call| pool(call.input()?, 0, |a, b| a.minimum(b)),
        )
        .named("minimum-pool"),
        stage(
            "pool-one-off",
            "pools start one value late",
            "Silero stride (T-1)/2+1",
            POOLS,
            |call| pool(call.input()?, 1, |a, b| a.maximum(b)),
        )
        .named("pool-one-late"),
        stage(
            "pool-loses-a-frame",
            "the first pool gives one frame less",
            "CrispASR CAM++ ceil_mode, cosine .268; speech-core #111",
            &["sincnet.pool1d.0"],
            |call| shorter(&call.value, 2),
        )
        .named("one-frame-less"),
        stage(
            "norm-unbiased",
            "norms divide by n - 1",
            "Pocket-TTS variance",
            NORMS,
            |call| {
                instance_norm(
                    call,
                    &Norm {
                        correction: 1.0,
                        ..NORM
                    },
                )
            },
        )
        .named("unbiased-variance"),
        stage(
            "norm-eps-1e-3",
            "norms have an epsilon of 1e-3",
            "NeMo eps 1e-3; BN eps .01 by position (cosine .810)",
            NORMS,
            |call| instance_norm(call, &Norm { eps: 1e-3, ..NORM }),
        )
        .named("eps-1e-3"),
        stage(
            "norm0-eps-1e-6",
            "the first norm has an epsilon of 1e-6",
            "NeMo eps, a variant",
            &["sincnet.norm1d.0"],
            |call| instance_norm(call, &Norm { eps: 1e-6, ..NORM }),
        )
        .named("eps-1e-6"),
        stage(
            "norm1-eps-1e-6",
            "the second norm has an epsilon of 1e-6",
            "NeMo eps, a variant",
            &["sincnet.norm1d.1"],
            |call| instance_norm(call, &Norm { eps: 1e-6, ..NORM }),
        )
        .named("eps-1e-6"),
        stage(
            "norm2-eps-1e-6",
            "the third norm has an epsilon of 1e-6",
            "NeMo eps, a variant",
            &["sincnet.norm1d.2"],
            |call| instance_norm(call, &Norm { eps: 1e-6, ..NORM }),
        )
        .named("eps-1e-6"),
        weights(
            "norm-affine-missing",
            "weights and biases of the norms are not loaded",
            "InstanceNorm1d without affine in several ports",
            NORMS,
            |edit| {
                edit.each("sincnet.norm1d.*.weight", |w| w * 0.0 + 1.0);
                edit.each("sincnet.norm1d.*.bias", zero);
            },
        )
        .named("affine-left-out"),
        weights(
            "norm-bias-missing",
            "biases of the norms are not loaded",
            "CrispASR #334, of batch norms",
            NORMS,
            |edit| edit.each("sincnet.norm1d.*.bias", zero),
        )
        .named("bias-left-out"),
        stage(
            "norm-over-channels",
            "the norms are taken over channels in place of time",
            "layouts [time, channel] in MLX ports",
            NORMS,
            |call| instance_norm(call, &Norm { axis: 1, ..NORM }),
        )
        .named("normalised-over-channels"),
        stage(
            "sincnet-relu",
            "ReLU in place of LeakyReLU(0.01) in SincNet",
            "as in the head of an MLX port",
            SINCNET_RELU,
            |call| leaky(call, 0.0),
        )
        .named("relu-for-leaky-relu"),
        stage(
            "sincnet-slope-0.1",
            "a slope of 0.1 in place of 0.01 in SincNet",
            "CrispASR HiFT: .01 against .1",
            SINCNET_RELU,
            |call| leaky(call, 0.1),
        )
        .named("slope-0.1"),
        stage(
            "sincnet-slope-0.2",
            "a slope of 0.2 in place of 0.01 in SincNet",
            "CrispASR HiFT, a variant",
            SINCNET_RELU,
            |call| leaky(call, 0.2),
        )
        .named("slope-0.2"),
        stage(
            "sincnet-activation-missing",
            "no activation in SincNet",
            "CrispASR Silero LID: missing activations",
            SINCNET_RELU,
            |call| Ok(call.input()?.clone()),
        )
        .named("activation-left-out"),
        weights(
            "conv-kernel-flipped",
            "the kernel of the second convolution is turned round",
            "mlx-audio #715, #657: transposes too many",
            CONV1,
            |edit| edit.each("sincnet.conv1d.1.weight", |w| flip(&w, 2)),
        )
        .named("kernel-flipped"),
        weights(
            "conv-in-and-out-swapped",
            "inputs and outputs of the third convolution are swapped",
            "mlx-vlm #1743; mlxcel #428",
            CONV2,
            |edit| edit.each("sincnet.conv1d.2.weight", transpose),
        )
        .named("in-and-out-swapped"),
        weights(
            "conv-bias-missing",
            "the convolutions have no bias",
            "CrispASR #334: lost when folding",
            CONVS,
            |edit| edit.each("sincnet.conv1d.[12].bias", zero),
        )
        .named("bias-left-out")
        .void("the maximum keeps a constant, and the norm after it takes it off"),
        stage(
            "conv-one-frame-late",
            "the second convolution is one frame late",
            "mlx-audio #858: misaligned by one frame",
            CONV1,
            |call| late(&call.value, 2),
        )
        .named("one-frame-late"),
    ]
}

fn recurrent() -> Vec<Fault> {
    vec![
        weights(
            "lstm-gates-iofg",
            "LSTM gates in the order of ONNX: i, o, f, g in place of i, f, g, o",
            "CrispASR #102, #106; eliza #9460, #9501, #11377",
            LSTMS,
            |edit| edit.lstm(Lstm::All, &LSTM_KINDS, |w| blocks(&w, &[0, 3, 1, 2])),
        )
        .named("gates-iofg"),
        weights(
            "lstm-gates-ifog",
            "LSTM gates read as i, f, o, g",
            "coremltools #93: i, f, z, o against i, f, o, z",
            LSTMS,
            |edit| edit.lstm(Lstm::All, &LSTM_KINDS, |w| blocks(&w, &[0, 1, 3, 2])),
        )
        .named("gates-ifog"),
        weights(
            "lstm-gates-fiog-one-layer",
            "input and forget gate swapped in one layer",
            "CrispASR #102, a variant",
            LSTM1,
            |edit| edit.lstm(Lstm::Layer(1), &LSTM_KINDS, |w| blocks(&w, &[1, 0, 2, 3])),
        )
        .named("gates-figo"),
        weights(
            "lstm-gates-of-one-direction",
            "output and input gate swapped in the reverse direction of one layer",
            "CrispASR #102, a variant",
            LSTM3_REVERSE,
            |edit| {
                edit.lstm(Lstm::Direction(3, true), &LSTM_KINDS, |w| {
                    blocks(&w, &[3, 1, 2, 0])
                })
            },
        )
        .named("gates-ofgi"),
        weights(
            "lstm-bias-hh-missing",
            "the second bias of the LSTM is dropped",
            "an MLX port, CLAUDE.md pitfall 2",
            LSTMS,
            |edit| edit.lstm(Lstm::All, &["bias_hh"], zero),
        )
        .named("bias-hh-left-out"),
        weights(
            "lstm-bias-hh-missing-once",
            "the second bias of one direction of the last layer is dropped",
            "an MLX port, CLAUDE.md pitfall 2, a variant",
            LSTM3_REVERSE,
            |edit| edit.lstm(Lstm::Direction(3, true), &["bias_hh"], zero),
        )
        .named("bias-hh-left-out"),
        weights(
            "lstm-bias-ih-missing",
            "the first bias of the LSTM is dropped",
            "an MLX port, CLAUDE.md pitfall 2, a variant",
            LSTMS,
            |edit| edit.lstm(Lstm::All, &["bias_ih"], zero),
        )
        .named("bias-ih-left-out"),
        weights(
            "lstm-forget-bias",
            "1 is added to the bias of the forget gate",
            "Keras: unit_forget_bias at the wrong time",
            LSTMS,
            |edit| {
                edit.lstm(Lstm::All, &["bias_ih"], |w| {
                    let hidden = w.len() / 4;
                    let mut w = w;
                    w.iter_mut()
                        .skip(hidden)
                        .take(hidden)
                        .for_each(|x| *x += 1.0);
                    w
                });
            },
        )
        .named("forget-bias-1"),
        stage(
            "lstm-reverse-not-turned-back",
            "the outputs of the reverse directions are not turned back",
            "an MLX port, pitfall 4; pyannote-ggml learnings",
            LSTMS_REVERSE,
            |call| reversed(&call.value, 1),
        )
        .substituting(REVERSE)
        .named("reverse-not-turned-back"),
        stage(
            "lstm-reverse-not-turned-back-once",
            "the outputs of the reverse direction of the last layer are not turned back",
            "an MLX port, pitfall 4",
            LSTM3_REVERSE,
            |call| reversed(&call.value, 1),
        )
        .substituting(&["lstm.3.reverse"])
        .named("reverse-not-turned-back"),
        stage(
            "lstm-reverse-goes-forwards",
            "the reverse direction of a layer goes forwards",
            "burn #1632, #4043",
            LSTM1_REVERSE,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &Habits {
                        forwards: true,
                        ..LSTM
                    },
                )
            },
        )
        .substituting(&["lstm.1.reverse"])
        .named("reverse-goes-forwards"),
        weights(
            "lstm-reverse-has-forward-weights",
            "the reverse direction of a layer has the weights of the forward direction",
            "candle #2351",
            LSTM1_REVERSE,
            |edit| edit.lstm_from((1, true), (1, false)),
        )
        .named("weights-of-the-other-direction"),
        weights(
            "lstm-directions-swapped",
            "the two directions of a layer have each other's weights",
            "burn #4043",
            LSTM2,
            |edit| {
                edit.lstm_from((2, true), (2, false));
                edit.lstm_from((2, false), (2, true));
            },
        )
        .named("weights-of-the-other-direction"),
        weights(
            "lstm-layers-swapped",
            "two layers have each other's weights",
            "lists that are not registered in order",
            &["lstm.1", "lstm.1.*", "lstm.2", "lstm.2.*"],
            |edit| {
                for reverse in [false, true] {
                    edit.lstm_from((1, reverse), (2, reverse));
                    edit.lstm_from((2, reverse), (1, reverse));
                }
            },
        )
        .named("weights-of-another-layer"),
        stage(
            "lstm-halves-swapped",
            "the reverse direction of the last layer comes first",
            "CrispASR LEARNINGS ggml_siglu",
            &["lstm.3"],
            |call| halves_swapped(&call.value),
        )
        .named("halves-swapped"),
        stage(
            "lstm-state-carried",
            "LSTM states are left over from the window before",
            "speakrs 9d43fc0 (DER 8.4 to 39.8 %); speech-core #111",
            LSTMS,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &Habits {
                        carried: true,
                        ..LSTM
                    },
                )
            },
        )
        .substituting(DIRECTIONS)
        .named("state-carried"),
        stage(
            "lstm-first-step-missing",
            "the first layer starts one frame late",
            "CrispASR 2-step SOS, cosine .641",
            LSTM0,
            |call| late(&call.value, 1),
        )
        .substituting(&["lstm.0.*"])
        .named("one-frame-late"),
        stage(
            "lstm-not-transposed",
            "the first layer reads [feature, frame] as [frame, feature]",
            "pyannote-ggml (1,589,60), cosine .0001",
            LSTM0,
            |call| {
                let x = call.input()?;
                let (batch, features, frames) = x.dims3()?;
                lstm::run(
                    call,
                    &x.contiguous()?.reshape((batch, frames, features))?,
                    &LSTM,
                )
            },
        )
        .substituting(&["lstm.0.*"])
        .named("not-transposed"),
        stage(
            "lstm-hard-sigmoid",
            "gates by Keras' hard sigmoid",
            "Keras before 3; ONNX exporters",
            LSTMS,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &Habits {
                        gate: lstm::hard_sigmoid,
                        ..LSTM
                    },
                )
            },
        )
        .substituting(DIRECTIONS)
        .named("hard-sigmoid"),
        stage(
            "lstm-output-without-tanh",
            "the cell leaves the LSTM without a tanh",
            "CrispASR Silero LID: missing tanh",
            LSTM2,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &Habits {
                        output: |x| Ok(x.clone()),
                        ..LSTM
                    },
                )
            },
        )
        .substituting(&["lstm.2.*"])
        .named("cell-without-tanh"),
        stage(
            "lstm-sigmoid-for-tanh",
            "gate g goes through a sigmoid",
            "gate tables with one activation for all",
            LSTM2,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &Habits {
                        candidate: lstm::sigmoid,
                        ..LSTM
                    },
                )
            },
        )
        .substituting(&["lstm.2.*"])
        .named("sigmoid-for-tanh"),
        weights(
            "lstm-recurrent-transposed",
            "the recurrent weights of each gate are transposed",
            "mlx-audio #715: transposes too many",
            LSTM1,
            |edit| {
                edit.lstm(Lstm::Layer(1), &["weight_hh"], |w| {
                    let hidden = w.len_of(Axis(1));
                    let gates: Vec<_> = w
                        .axis_chunks_iter(Axis(0), hidden)
                        .map(|gate| transpose(gate.to_owned()))
                        .collect();
                    let views: Vec<_> = gates.iter().map(|gate| gate.view()).collect();
                    concatenate(Axis(0), &views).unwrap_or(w)
                });
            },
        )
        .named("recurrent-transposed"),
        weights(
            "lstm-rows-zeroed",
            "four rows of the recurrent weights are zero",
            "CrispASR OmniVoice #254",
            &["lstm.2.forward", "lstm.2"],
            |edit| {
                edit.lstm(Lstm::Direction(2, false), &["weight_hh"], |mut w| {
                    w.slice_axis_mut(Axis(0), ndarray::Slice::from(..4))
                        .fill(0.0);
                    w
                });
            },
        ),
        weights(
            "lstm-weights-f16",
            "the LSTM weights were stored in 16 bits",
            "speakrs ADR 001; CrispASR: quantised against float",
            LSTMS,
            |edit| edit.lstm(Lstm::All, &LSTM_KINDS, half),
        )
        .named("weights-in-f16"),
        stage(
            "lstm-gain",
            "the output of a layer has a gain of 0.75",
            "mlx-audio #858: a gain of 0.75; CrispASR CQT",
            &["lstm.1"],
            |call| call.value.clone() * 0.75,
        ),
    ]
}

fn head() -> Vec<Fault> {
    vec![
        weights(
            "linear-bias-missing",
            "the first linear layer has no bias",
            "CrispASR ECAPA",
            &["linear.0"],
            |edit| edit.each("linear.0.bias", zero),
        )
        .named("bias-left-out"),
        weights(
            "linear-transposed",
            "the second linear layer is transposed",
            "mlx-audio #657: transposed twice",
            &["linear.1"],
            |edit| edit.each("linear.1.weight", transpose),
        )
        .named("in-and-out-swapped"),
        stage(
            "relu-for-leaky-relu",
            "ReLU in place of LeakyReLU(0.01) after the linear layers",
            "an MLX port, src/models.py: took its 88.6 % of correlation for rounding",
            HEAD_RELU,
            |call| leaky(call, 0.0),
        )
        .named("relu-for-leaky-relu"),
        stage(
            "head-slope-0.1",
            "a slope of 0.1 in place of 0.01 after the linear layers",
            "CrispASR HiFT: .01 against .1",
            HEAD_RELU,
            |call| leaky(call, 0.1),
        )
        .named("slope-0.1"),
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
        .named("activation-left-out"),
        stage(
            "head-tanh",
            "tanh in place of LeakyReLU after the linear layers",
            "PyanNet of pyannote.audio 1",
            HEAD_RELU,
            |call| call.input()?.tanh(),
        )
        .named("tanh"),
        weights(
            "classifier-bias-missing",
            "the classifier has no bias",
            "CrispASR ECAPA",
            CLASSIFIER,
            |edit| edit.each("classifier.bias", zero),
        )
        .named("bias-left-out"),
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
        .named("two-outputs-swapped"),
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
        .named("layout-read-across"),
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
        .named("leaky-relu-after"),
        stage(
            "log-softmax-missing",
            "the scores are left as they are",
            "an MLX port, test_log_softmax",
            ACTIVATION,
            |call| Ok(call.input()?.clone()),
        )
        .named("activation-left-out"),
        stage(
            "softmax-without-log",
            "softmax in place of log-softmax",
            "an MLX port, test_log_softmax; CrispASR joint",
            ACTIVATION,
            |call| call.value.exp(),
        )
        .named("exponential"),
        stage(
            "log-softmax-over-frames",
            "log-softmax over frames in place of classes",
            "CrispASR joint log_softmax",
            ACTIVATION,
            |call| log_softmax(call.input()?, 1),
        )
        .named("softmax-over-frames"),
        stage(
            "sigmoid-for-softmax",
            "the sigmoid of the older models in place of log-softmax",
            "pyannote 2 pipelines with newer weights",
            ACTIVATION,
            |call| lstm::sigmoid(call.input()?),
        )
        .named("sigmoid"),
        stage(
            "log-in-base-10",
            "logarithms of base 10",
            "decibels in other front ends",
            ACTIVATION,
            |call| call.value.clone() / std::f64::consts::LN_10,
        )
        .named("base-10"),
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
        .named("one-frame-less"),
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

/// Changes that are none.
fn no_faults() -> Vec<Fault> {
    vec![
        weights(
            "lstm-biases-merged",
            "both biases of the LSTM in one, the other 0",
            "most ports",
            LSTMS,
            |edit| {
                for layer in 0..8 {
                    for reverse in [false, true] {
                        let [ih, hh] =
                            ["bias_ih", "bias_hh"].map(|kind| edit.lstm_name(kind, layer, reverse));
                        let sum = edit.get(&ih) + edit.get(&hh);
                        edit.set(&ih, sum);
                        edit.each(&hh, zero);
                    }
                }
            },
        )
        .equivalent("the gates get the sum of both, whoever adds them up"),
        stage(
            "leaky-relu-as-maximum",
            "LeakyReLU as max(x, 0.01 x)",
            "several ports",
            &["linear.?.leaky_relu", "sincnet.norm1d.?.leaky_relu"],
            |call| call.input()?.maximum(&(call.input()? * 0.01)?),
        )
        .equivalent("for a slope between 0 and 1 the larger of both is x where x > 0, else 0.01 x"),
        stage(
            "abs-as-root-of-square",
            "the absolute value as the root of the square",
            "complex filter banks",
            ABS,
            |call| call.input()?.sqr()?.sqrt(),
        )
        .equivalent("|x| is the root of x squared"),
        stage(
            "log-of-softmax",
            "the logarithm of softmax in place of log-softmax",
            "CrispASR joint",
            ACTIVATION,
            |call| call.value.exp()?.log(),
        )
        .equivalent("ln exp x = x; a probability under 1e-300 would show the difference"),
    ]
}

/// What the LSTM layer of `call` is fed, `[batch, frame, feature]`: the first layer turns its input round itself.
fn layer_input(call: &Call<'_>) -> Result<Tensor> {
    if call.name.starts_with("lstm.0.") {
        call.input()?.transpose(1, 2)?.contiguous()
    } else {
        Ok(call.input()?.clone())
    }
}

fn hamming(turn: f64) -> f64 {
    0.54 - 0.46 * turn.cos()
}

/// Gives each of the baked sinc filters other values, of all of them.
fn filters(
    edit: &mut Edit<'_>,
    change: impl Fn(usize, &[ndarray::Array1<f32>]) -> ndarray::Array1<f32>,
) {
    edit.each(FILTERS[0], |w| {
        let length = w.shape().last().copied().unwrap_or(1);
        let rows: Vec<_> = w.rows().into_iter().map(|row| row.to_owned()).collect();
        debug_assert!(rows.iter().all(|row| row.len() == length));
        let changed = (0..rows.len()).flat_map(|index| change(index, &rows));
        ndarray::ArrayD::from_shape_vec(w.shape(), changed.collect()).unwrap_or(w.clone())
    });
}

/// Multiplies the filters by `ratio` of the angle, a full turn from their first value to their last.
fn windowed(edit: &mut Edit<'_>, ratio: fn(f64) -> f64) {
    filters(edit, |index, rows| {
        let last = rows[index].len() - 1;
        ndarray::Array1::from_shape_fn(rows[index].len(), |n| {
            let turn = 2.0 * std::f64::consts::PI * n as f64 / last as f64;
            (f64::from(rows[index][n]) * ratio(turn)) as f32
        })
    });
}
