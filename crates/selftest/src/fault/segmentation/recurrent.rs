//! Faults of the recurrent layers.

use ndarray::{Axis, concatenate};
use soundalike_model::{Result, Tensor};
use soundalike_network::{Cause, Gate};

use super::super::{
    Fault,
    call::{Call, halves_swapped, late, reversed},
    edit::{LSTM_KINDS, Lstm, blocks, half, transpose, zero},
    lstm::{self, LSTM, LstmOptions},
    stage, weights,
};

const DIRECTIONS: &[&str] = &["lstm.*.forward", "lstm.*.reverse"];
const REVERSE: &[&str] = &["lstm.*.reverse"];
const LSTMS: &[&str] = &["lstm.*"];
const LSTMS_REVERSE: &[&str] = &["lstm.*.reverse", "lstm.?"];
const LSTM0: &[&str] = &["lstm.0", "lstm.0.*"];
const LSTM1: &[&str] = &["lstm.1", "lstm.1.*"];
const LSTM1_REVERSE: &[&str] = &["lstm.1.reverse", "lstm.1"];
const LSTM2: &[&str] = &["lstm.2", "lstm.2.*"];
const LSTM3_REVERSE: &[&str] = &["lstm.3.reverse", "lstm.3"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        weights(
            "lstm-gates-iofg",
            "LSTM gates in the order of ONNX: i, o, f, g in place of i, f, g, o",
            "CrispASR #102, #106; eliza #9460, #9501, #11377",
            LSTMS,
            |edit| edit.lstm(Lstm::All, &LSTM_KINDS, |w| blocks(&w, &[0, 3, 1, 2])),
        )
        .named(Cause::Gates([Gate::I, Gate::O, Gate::F, Gate::G])),
        weights(
            "lstm-gates-ifog",
            "LSTM gates read as i, f, o, g",
            "coremltools #93: i, f, z, o against i, f, o, z",
            LSTMS,
            |edit| edit.lstm(Lstm::All, &LSTM_KINDS, |w| blocks(&w, &[0, 1, 3, 2])),
        )
        .named(Cause::Gates([Gate::I, Gate::F, Gate::O, Gate::G])),
        weights(
            "lstm-gates-fiog-one-layer",
            "input and forget gate swapped in one layer",
            "CrispASR #102, a variant",
            LSTM1,
            |edit| edit.lstm(Lstm::Layer(1), &LSTM_KINDS, |w| blocks(&w, &[1, 0, 2, 3])),
        )
        .named(Cause::Gates([Gate::F, Gate::I, Gate::G, Gate::O])),
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
        .named(Cause::Gates([Gate::O, Gate::F, Gate::G, Gate::I])),
        weights(
            "lstm-bias-hh-missing",
            "the second bias of the LSTM is dropped",
            "an MLX port, CLAUDE.md pitfall 2",
            LSTMS,
            |edit| edit.lstm(Lstm::All, &["bias_hh"], zero),
        )
        .named(Cause::BiasHhLeftOut),
        weights(
            "lstm-bias-hh-missing-once",
            "the second bias of one direction of the last layer is dropped",
            "an MLX port, CLAUDE.md pitfall 2, a variant",
            LSTM3_REVERSE,
            |edit| edit.lstm(Lstm::Direction(3, true), &["bias_hh"], zero),
        )
        .named(Cause::BiasHhLeftOut),
        weights(
            "lstm-bias-ih-missing",
            "the first bias of the LSTM is dropped",
            "an MLX port, CLAUDE.md pitfall 2, a variant",
            LSTMS,
            |edit| edit.lstm(Lstm::All, &["bias_ih"], zero),
        )
        .named(Cause::BiasIhLeftOut),
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
        .named(Cause::ForgetBias1),
        stage(
            "lstm-reverse-not-turned-back",
            "the outputs of the reverse directions are not turned back",
            "an MLX port, pitfall 4; pyannote-ggml learnings",
            LSTMS_REVERSE,
            |call| reversed(&call.value, 1),
        )
        .substituting(REVERSE)
        .named(Cause::ReverseNotTurnedBack),
        stage(
            "lstm-reverse-not-turned-back-once",
            "the outputs of the reverse direction of the last layer are not turned back",
            "an MLX port, pitfall 4",
            LSTM3_REVERSE,
            |call| reversed(&call.value, 1),
        )
        .substituting(&["lstm.3.reverse"])
        .named(Cause::ReverseNotTurnedBack),
        stage(
            "lstm-reverse-goes-forwards",
            "the reverse direction of a layer goes forwards",
            "burn #1632, #4043",
            LSTM1_REVERSE,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &LstmOptions {
                        forwards: true,
                        ..LSTM
                    },
                )
            },
        )
        .substituting(&["lstm.1.reverse"])
        .named(Cause::ReverseGoesForwards),
        weights(
            "lstm-reverse-has-forward-weights",
            "the reverse direction of a layer has the weights of the forward direction",
            "candle #2351",
            LSTM1_REVERSE,
            |edit| edit.lstm_from((1, true), (1, false)),
        )
        .named(Cause::WeightsOfTheOtherDirection),
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
        .named(Cause::WeightsOfTheOtherDirection),
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
        .named(Cause::WeightsOfAnotherLayer),
        stage(
            "lstm-halves-swapped",
            "the reverse direction of the last layer comes first",
            "CrispASR LEARNINGS ggml_siglu",
            &["lstm.3"],
            |call| halves_swapped(&call.value),
        )
        .named(Cause::HalvesSwapped),
        stage(
            "lstm-state-carried",
            "LSTM states are left over from the window before",
            "speakrs 9d43fc0 (DER 8.4 to 39.8 %); speech-core #111",
            LSTMS,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &LstmOptions {
                        carried: true,
                        ..LSTM
                    },
                )
            },
        )
        .substituting(DIRECTIONS)
        .named(Cause::StateCarried),
        stage(
            "lstm-first-step-missing",
            "the first layer starts one frame late",
            "CrispASR 2-step SOS, cosine .641",
            LSTM0,
            |call| late(&call.value, 1),
        )
        .substituting(&["lstm.0.*"])
        .named(Cause::OneFrameLate),
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
        .named(Cause::NotTransposed),
        stage(
            "lstm-hard-sigmoid",
            "gates by Keras' hard sigmoid",
            "Keras before 3; ONNX exporters",
            LSTMS,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &LstmOptions {
                        gate: lstm::hard_sigmoid,
                        ..LSTM
                    },
                )
            },
        )
        .substituting(DIRECTIONS)
        .named(Cause::HardSigmoid),
        stage(
            "lstm-output-without-tanh",
            "the cell leaves the LSTM without a tanh",
            "CrispASR Silero LID: missing tanh",
            LSTM2,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &LstmOptions {
                        output: |x| Ok(x.clone()),
                        ..LSTM
                    },
                )
            },
        )
        .substituting(&["lstm.2.*"])
        .named(Cause::CellWithoutTanh),
        stage(
            "lstm-sigmoid-for-tanh",
            "gate g goes through a sigmoid",
            "gate tables with one activation for all",
            LSTM2,
            |call| {
                lstm::run(
                    call,
                    &layer_input(call)?,
                    &LstmOptions {
                        candidate: lstm::sigmoid,
                        ..LSTM
                    },
                )
            },
        )
        .substituting(&["lstm.2.*"])
        .named(Cause::SigmoidForTanh),
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
        .named(Cause::RecurrentTransposed),
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
        .named(Cause::WeightsInF16),
        stage(
            "lstm-gain",
            "the output of a layer has a gain of 0.75",
            "mlx-audio #858: a gain of 0.75; CrispASR CQT",
            &["lstm.1"],
            |call| call.value.clone() * 0.75,
        ),
    ]
}

/// What the LSTM layer of `call` is fed, `[batch, frame, feature]`: the first layer turns its input round itself.
fn layer_input(call: &Call<'_>) -> Result<Tensor> {
    if call.graph.is_transposed(call.stage) {
        call.input()?.transpose(1, 2)?.contiguous()
    } else {
        Ok(call.input()?.clone())
    }
}
