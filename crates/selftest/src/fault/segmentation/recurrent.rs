//! Faults of the recurrent layers.

use ndarray::{Axis, concatenate};
use soundalike_network::{Cause, LstmGate};

use super::super::{
    Fault,
    call::{halves_swapped, late, reversed},
    edit::{LSTM_KINDS, Lstm, half, rows_zeroed, transpose, zero},
    fault,
    lstm::{self, LSTM},
};

const LSTMS: &[&str] = &["lstm.*"];
const LSTMS_REVERSE: &[&str] = &["lstm.*.reverse", "lstm.?"];
const LSTM0: &[&str] = &["lstm.0", "lstm.0.*"];
const LSTM1: &[&str] = &["lstm.1", "lstm.1.*"];
const LSTM1_REVERSE: &[&str] = &["lstm.1.reverse", "lstm.1"];
const LSTM2: &[&str] = &["lstm.2", "lstm.2.*"];
const LSTM3_REVERSE: &[&str] = &["lstm.3.reverse", "lstm.3"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        fault("lstm-gates-iofg")
            .text("LSTM gates in the order of ONNX: i, o, f, g in place of i, f, g, o")
            .seen_in("CrispASR #102, #106; eliza #9460, #9501, #11377")
            .weights(LSTMS, |edit| edit.gates(Lstm::All, [0, 3, 1, 2]))
            .named(Cause::Gates([
                LstmGate::I,
                LstmGate::O,
                LstmGate::F,
                LstmGate::G,
            ])),
        fault("lstm-gates-ifog")
            .text("LSTM gates read as i, f, o, g")
            .seen_in("coremltools #93: i, f, z, o against i, f, o, z")
            .weights(LSTMS, |edit| edit.gates(Lstm::All, [0, 1, 3, 2]))
            .named(Cause::Gates([
                LstmGate::I,
                LstmGate::F,
                LstmGate::O,
                LstmGate::G,
            ])),
        fault("lstm-gates-fiog-one-layer")
            .text("input and forget gate swapped in one layer")
            .seen_in("CrispASR #102, a variant")
            .weights(LSTM1, |edit| edit.gates(Lstm::Layer(1), [1, 0, 2, 3]))
            .named(Cause::Gates([
                LstmGate::F,
                LstmGate::I,
                LstmGate::G,
                LstmGate::O,
            ])),
        fault("lstm-gates-of-one-direction")
            .text("output and input gate swapped in the reverse direction of one layer")
            .seen_in("CrispASR #102, a variant")
            .weights(LSTM3_REVERSE, |edit| {
                edit.gates(Lstm::Direction(3, true), [3, 1, 2, 0])
            })
            .named(Cause::Gates([
                LstmGate::O,
                LstmGate::F,
                LstmGate::G,
                LstmGate::I,
            ])),
        fault("lstm-bias-hh-missing")
            .text("the second bias of the LSTM is dropped")
            .seen_in("an MLX port, CLAUDE.md pitfall 2")
            .weights(LSTMS, |edit| edit.lstm(Lstm::All, &["bias_hh"], zero))
            .named(Cause::BiasHhLeftOut),
        fault("lstm-bias-hh-missing-once")
            .text("the second bias of one direction of the last layer is dropped")
            .seen_in("an MLX port, CLAUDE.md pitfall 2, a variant")
            .weights(LSTM3_REVERSE, |edit| {
                edit.lstm(Lstm::Direction(3, true), &["bias_hh"], zero)
            })
            .named(Cause::BiasHhLeftOut),
        fault("lstm-bias-ih-missing")
            .text("the first bias of the LSTM is dropped")
            .seen_in("an MLX port, CLAUDE.md pitfall 2, a variant")
            .weights(LSTMS, |edit| edit.lstm(Lstm::All, &["bias_ih"], zero))
            .named(Cause::BiasIhLeftOut),
        fault("lstm-forget-bias")
            .text("1 is added to the bias of the forget gate")
            .seen_in("Keras: unit_forget_bias at the wrong time")
            .weights(LSTMS, |edit| {
                edit.lstm(Lstm::All, &["bias_ih"], |mut w| {
                    let hidden = w.len() / 4;
                    let mut forget = w.slice_axis_mut(Axis(0), (hidden..2 * hidden).into());
                    forget += 1.0;
                    w
                });
            })
            .named(Cause::ForgetBias1),
        fault("lstm-reverse-not-turned-back")
            .text("the outputs of the reverse directions are not turned back")
            .seen_in("an MLX port, pitfall 4; pyannote-ggml learnings")
            .stage(LSTMS_REVERSE, |call| reversed(&call.value, 1))
            .named(Cause::ReverseNotTurnedBack),
        fault("lstm-reverse-not-turned-back-once")
            .text("the outputs of the reverse direction of the last layer are not turned back")
            .seen_in("an MLX port, pitfall 4")
            .stage(LSTM3_REVERSE, |call| reversed(&call.value, 1))
            .named(Cause::ReverseNotTurnedBack),
        fault("lstm-reverse-goes-forwards")
            .text("the reverse direction of a layer goes forwards")
            .seen_in("burn #1632, #4043")
            .lstm(LSTM1_REVERSE, |lstm| lstm.forwards = true)
            .named(Cause::ReverseGoesForwards),
        fault("lstm-reverse-has-forward-weights")
            .text("the reverse direction of a layer has the weights of the forward direction")
            .seen_in("candle #2351")
            .weights(LSTM1_REVERSE, |edit| edit.lstm_from((1, true), (1, false)))
            .named(Cause::WeightsOfTheOtherDirection),
        fault("lstm-directions-swapped")
            .text("the two directions of a layer have each other's weights")
            .seen_in("burn #4043")
            .weights(LSTM2, |edit| {
                edit.lstm_from((2, true), (2, false));
                edit.lstm_from((2, false), (2, true));
            })
            .named(Cause::WeightsOfTheOtherDirection),
        fault("lstm-layers-swapped")
            .text("two layers have each other's weights")
            .seen_in("lists that are not registered in order")
            .weights(&["lstm.1", "lstm.1.*", "lstm.2", "lstm.2.*"], |edit| {
                for reverse in [false, true] {
                    edit.lstm_from((1, reverse), (2, reverse));
                    edit.lstm_from((2, reverse), (1, reverse));
                }
            })
            .named(Cause::WeightsOfAnotherLayer),
        fault("lstm-halves-swapped")
            .text("the reverse direction of the last layer comes first")
            .seen_in("CrispASR LEARNINGS ggml_siglu")
            .stage(&["lstm.3"], |call| halves_swapped(&call.value))
            .named(Cause::HalvesSwapped),
        fault("lstm-state-carried")
            .text("LSTM states are left over from the window before")
            .seen_in("speakrs 9d43fc0 (DER 8.4 to 39.8 %); speech-core #111")
            .lstm(LSTMS, |lstm| lstm.before = Some(|x| Ok(x.clone())))
            .named(Cause::StateCarried),
        fault("lstm-state-of-another-window")
            .text("LSTM states of the third layer are left over from another window")
            .seen_in("speakrs 9d43fc0; speech-core #111")
            .lstm(LSTM2, |lstm| lstm.before = Some(|x| reversed(x, 1)))
            .named(Cause::StateCarried),
        fault("lstm-first-step-missing")
            .text("the first layer starts one frame late")
            .seen_in("CrispASR 2-step SOS, cosine .641")
            .stage(LSTM0, |call| late(&call.value, 1))
            .named(Cause::OneFrameLate),
        fault("lstm-not-transposed")
            .text("the first layer reads [feature, frame] as [frame, feature]")
            .seen_in("pyannote-ggml (1,589,60), cosine .0001")
            .stage(LSTM0, |call| {
                let x = call.input()?;
                let (batch, features, frames) = x.dims3()?;
                let x = x.contiguous()?.reshape((batch, frames, features))?;
                lstm::run(call, &x, &LSTM)
            })
            .named(Cause::NotTransposed),
        fault("lstm-hard-sigmoid")
            .text("gates by Keras' hard sigmoid")
            .seen_in("Keras before 3; ONNX exporters")
            .lstm(LSTMS, |lstm| lstm.gate = lstm::hard_sigmoid)
            .named(Cause::HardSigmoid),
        fault("lstm-output-without-tanh")
            .text("the cell leaves the LSTM without a tanh")
            .seen_in("CrispASR Silero LID: missing tanh")
            .lstm(LSTM2, |lstm| lstm.output = |x| Ok(x.clone()))
            .named(Cause::CellWithoutTanh),
        fault("lstm-sigmoid-for-tanh")
            .text("gate g goes through a sigmoid")
            .seen_in("gate tables with one activation for all")
            .lstm(LSTM2, |lstm| lstm.candidate = lstm::sigmoid)
            .named(Cause::SigmoidForTanh),
        fault("lstm-recurrent-transposed")
            .text("the recurrent weights of each gate are transposed")
            .seen_in("mlx-audio #715: transposes too many")
            .weights(LSTM1, |edit| {
                edit.lstm(Lstm::Layer(1), &["weight_hh"], |w| {
                    let hidden = w.len_of(Axis(1));
                    let gates = w.axis_chunks_iter(Axis(0), hidden);
                    let gates: Vec<_> = gates.map(|gate| transpose(gate.to_owned())).collect();
                    let views: Vec<_> = gates.iter().map(|gate| gate.view()).collect();
                    concatenate(Axis(0), &views).unwrap_or(w)
                });
            })
            .named(Cause::RecurrentTransposed),
        fault("lstm-rows-zeroed")
            .text("four rows of the recurrent weights are zero")
            .seen_in("CrispASR OmniVoice #254")
            .weights(&["lstm.2.forward", "lstm.2"], |edit| {
                edit.lstm(Lstm::Direction(2, false), &["weight_hh"], rows_zeroed)
            }),
        fault("lstm-weights-f16")
            .text("the LSTM weights were stored in 16 bits")
            .seen_in("speakrs ADR 001; CrispASR: quantised against float")
            .weights(LSTMS, |edit| edit.lstm(Lstm::All, &LSTM_KINDS, half))
            .named(Cause::WeightsInF16),
        fault("lstm-gain")
            .text("the output of a layer has a gain of 0.75")
            .seen_in("mlx-audio #858: a gain of 0.75; CrispASR CQT")
            .stage(&["lstm.1"], |call| call.value.clone() * 0.75),
    ]
}
