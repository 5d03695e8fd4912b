//! Equivalent mutants: changes that must not be reported.

use super::super::{Fault, edit::zero, fault};

const ABS: &[&str] = &["sincnet.conv1d.0.abs"];
const LSTMS: &[&str] = &["lstm.*"];
const ACTIVATION: &[&str] = &["activation"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        fault("lstm-biases-merged")
            .text("both biases of the LSTM in one, the other 0")
            .seen_in("most ports")
            .weights(LSTMS, |edit| {
                for layer in 0..8 {
                    for reverse in [false, true] {
                        let [ih, hh] =
                            ["bias_ih", "bias_hh"].map(|kind| edit.lstm_name(kind, layer, reverse));
                        let sum = edit.get(&ih) + edit.get(&hh);
                        edit.set(&ih, sum);
                        edit.each(&hh, zero);
                    }
                }
            })
            .equivalent("the gates get the sum of both, whoever adds them up"),
        fault("leaky-relu-as-maximum")
            .text("LeakyReLU as max(x, 0.01 x)")
            .seen_in("several ports")
            .stage(
                &["linear.?.leaky_relu", "sincnet.norm1d.?.leaky_relu"],
                |call| call.input()?.maximum(&(call.input()? * 0.01)?),
            )
            .equivalent(
                "for a slope between 0 and 1 the larger of both is x where x > 0, else 0.01 x",
            ),
        fault("abs-as-root-of-square")
            .text("the absolute value as the root of the square")
            .seen_in("complex filter banks")
            .stage(ABS, |call| call.input()?.sqr()?.sqrt())
            .equivalent("|x| is the root of x squared"),
        fault("log-of-softmax")
            .text("the logarithm of softmax in place of log-softmax")
            .seen_in("CrispASR joint")
            .stage(ACTIVATION, |call| call.value.exp()?.log())
            .equivalent("ln exp x = x; a probability under 1e-300 would show the difference"),
    ]
}
