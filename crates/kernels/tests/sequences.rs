//! Layers over time against the same in f64.

mod support;

use proptest::prelude::*;
use soundalike_kernels::{Conv1d, Conv1dOptions, InstanceNorm, InstructionSet, Lstm, LstmWeights};
use support::noise;

/// An LSTM layer and sequences for it.
#[derive(Debug, Clone)]
struct Layer {
    batch: usize,
    frames: usize,
    inputs: usize,
    hidden: usize,
    bidirectional: bool,
    seed: u64,
}

impl Layer {
    fn x(&self) -> Vec<f32> {
        noise(self.seed, self.batch * self.frames * self.inputs)
    }

    /// Of each direction, weights of the input and of the recurrence, and the bias.
    fn weights(&self) -> Vec<[Vec<f32>; 3]> {
        let gates = 4 * self.hidden;
        let directions = 1 + u64::from(self.bidirectional);
        (0..directions)
            .map(|direction| {
                let seed = self.seed + 10 * (direction + 1);
                [
                    noise(seed, gates * self.inputs),
                    noise(seed + 1, gates * self.hidden),
                    noise(seed + 2, gates),
                ]
            })
            .collect()
    }

    fn run(&self, instructions: InstructionSet, x: &[f32], batch: usize) -> Vec<f32> {
        let weights = self.weights();
        let weights: Vec<_> = weights
            .iter()
            .map(|[input, recurrent, bias]| LstmWeights {
                input,
                recurrent,
                bias,
            })
            .collect();
        Lstm::new(instructions, [self.inputs, self.hidden], &weights).forward(x, batch)
    }

    /// `torch.nn.LSTM`, each operation rounded by `round`.
    fn golden(&self, round: fn(f64) -> f64) -> Vec<f64> {
        let (x, weights) = (self.x(), self.weights());
        let (inputs, hidden, width) = (self.inputs, self.hidden, self.hidden * weights.len());
        let mut out = vec![0.0; self.batch * self.frames * width];
        let sigmoid = |x: f64| round(1.0 / round(1.0 + round((-x).exp())));
        for (direction, [input, recurrent, bias]) in weights.iter().enumerate() {
            for row in 0..self.batch {
                let (mut h, mut c) = (vec![0.0; hidden], vec![0.0; hidden]);
                for step in 0..self.frames {
                    let frame = if direction == 1 {
                        self.frames - 1 - step
                    } else {
                        step
                    };
                    let x = &x[(row * self.frames + frame) * inputs..][..inputs];
                    let gate = |gate: usize| {
                        let mut sum = f64::from(bias[gate]);
                        for (x, w) in x.iter().zip(&input[gate * inputs..]) {
                            sum = round(sum + round(f64::from(*x) * f64::from(*w)));
                        }
                        for (h, w) in h.iter().zip(&recurrent[gate * hidden..]) {
                            sum = round(sum + round(h * f64::from(*w)));
                        }
                        sum
                    };
                    let gates: Vec<f64> = (0..4 * hidden).map(gate).collect();
                    for unit in 0..hidden {
                        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate * hidden + unit]);
                        let (old, new) = (sigmoid(f) * c[unit], sigmoid(i) * round(g.tanh()));
                        c[unit] = round(round(old) + round(new));
                        h[unit] = round(sigmoid(o) * round(c[unit].tanh()));
                    }
                    let place = (row * self.frames + frame) * width + direction * hidden;
                    out[place..][..hidden].copy_from_slice(&h);
                }
            }
        }
        out
    }
}

fn layers() -> impl Strategy<Value = Layer> {
    let size = (1..=5_usize, 1..=30_usize, 1..=40_usize, 1..=40_usize);
    (size, any::<bool>(), 0..1000_u64).prop_map(
        |((batch, frames, inputs, hidden), bidirectional, seed)| Layer {
            batch,
            frames,
            inputs,
            hidden,
            bidirectional,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_lstm_is_that_of_pytorch_up_to_rounding(layer in layers()) {
        let found = layer.run(InstructionSet::scalar(), &layer.x(), layer.batch);
        let golden = layer.golden(|x| x);
        let largest = |values: Vec<f64>| {
            let errors = values.iter().zip(&golden).map(|(x, golden)| (x - golden).abs());
            errors.fold(0.0, f64::max)
        };
        let error = largest(found.into_iter().map(f64::from).collect());
        // R below 4, as for a stage of a network; where the plain sums happen to be exact, two activations of two units in
        // the last place each.
        let plain = largest(layer.golden(|x| f64::from(x as f32)));
        let allowed = 4.0 * (plain + f64::from(f32::EPSILON));
        prop_assert!(error < allowed, "{error}, of plain sums in f32 {plain}");
    }

    #[test]
    fn an_lstm_has_the_same_bits_with_every_instruction_set_and_batch(layer in layers()) {
        let x = layer.x();
        let expected = layer.run(InstructionSet::scalar(), &x, layer.batch);
        for instructions in InstructionSet::all() {
            prop_assert!(layer.run(instructions, &x, layer.batch) == expected, "{instructions:?}");
        }
        let alone: Vec<f32> = x
            .chunks(layer.frames * layer.inputs)
            .flat_map(|x| layer.run(InstructionSet::all()[0], x, 1))
            .collect();
        prop_assert!(alone == expected);
    }

    #[test]
    fn a_pooled_convolution_is_the_sum_within_its_rounding(
        (batch, inputs, outputs, kernel) in (1..=3_usize, 1..=20_usize, 1..=70_usize, 1..=9_usize),
        (stride, abs, pool, frames) in (1..=4_usize, any::<bool>(), 1..=3_usize, 1..=200_usize),
        seed in 0..1000_u64,
    ) {
        let x = noise(seed, batch * frames * inputs);
        let weight = noise(seed + 1, outputs * inputs * kernel);
        let bias = noise(seed + 2, outputs);
        let after = Conv1dOptions { stride, abs, pool };
        let run = |instructions| {
            let shape = [outputs, inputs, kernel];
            Conv1d::new(instructions, shape, &weight, &bias, after).forward(&x, batch)
        };
        let found = run(InstructionSet::scalar());
        let results = frames.checked_sub(kernel).map_or(0, |rest| rest / stride + 1);
        let pooled = results / pool;
        prop_assert_eq!(found.len(), batch * pooled * outputs);
        for (place, found) in found.iter().enumerate() {
            let (output, rest) = (place % outputs, place / outputs);
            let (frame, row) = (rest % pooled, rest / pooled);
            let result = |frame: usize| {
                let mut sum = f64::from(bias[output]);
                for tap in 0..kernel * inputs {
                    let (k, input) = (tap / inputs, tap % inputs);
                    let x = x[(row * frames + frame * stride) * inputs + tap];
                    sum += f64::from(x) * f64::from(weight[(output * inputs + input) * kernel + k]);
                }
                if abs { sum.abs() } else { sum }
            };
            let golden = (0..pool).map(|i| result(frame * pool + i)).fold(f64::NEG_INFINITY, f64::max);
            // All terms are below 1, and so each sum below their number.
            let terms = (kernel * inputs + 1) as f64;
            prop_assert!((f64::from(*found) - golden).abs() <= f64::from(f32::EPSILON) * terms * terms);
        }
        for instructions in InstructionSet::all() {
            prop_assert!(run(instructions) == found, "{instructions:?}");
        }
    }

    #[test]
    fn a_norm_is_that_of_its_channel(
        // One channel has a loop of its own.
        (batch, frames) in (1..=3_usize, 2..=100_usize),
        channels in prop_oneof![Just(1), 2..=20_usize],
        slope in prop_oneof![Just(None), Just(Some(0.01_f32))],
        offset in -100.0..100.0_f32,
        seed in 0..1000_u64,
    ) {
        let x: Vec<f32> = noise(seed, batch * frames * channels).iter().map(|x| x + offset).collect();
        let (weight, bias) = (noise(seed + 1, channels), noise(seed + 2, channels));
        for instructions in InstructionSet::all() {
            let norm = InstanceNorm { instructions, weight: weight.clone(), bias: bias.clone(), eps: 1e-5 };
            let found = norm.forward(&x, batch, slope);
            for (place, found) in found.iter().enumerate() {
                let (channel, row) = (place % channels, place / channels / frames);
                let values = (0..frames).map(|t| f64::from(x[(row * frames + t) * channels + channel]));
                let mean = values.clone().sum::<f64>() / frames as f64;
                let variance = values.map(|x| (x - mean).powi(2)).sum::<f64>() / frames as f64;
                let scale = f64::from(weight[channel]) / (variance + 1e-5).sqrt();
                let mut golden = (f64::from(x[place]) - mean) * scale + f64::from(bias[channel]);
                if golden < 0.0 {
                    golden *= slope.map_or(1.0, f64::from);
                }
                // Rounded once or twice; the sums are in f64.
                let allowed = f64::from(f32::EPSILON) * golden.abs() + 1e-12;
                prop_assert!((f64::from(*found) - golden).abs() <= allowed, "{found} for {golden}");
            }
        }
    }
}

#[test]
fn the_largest_of_some_and_no_number_is_no_number() {
    for place in 0..6 {
        let mut x = noise(1, 6);
        x[place] = f32::NAN;
        let after = Conv1dOptions {
            stride: 1,
            abs: true,
            pool: 3,
        };
        let conv = Conv1d::new(InstructionSet::all()[0], [1, 1, 1], &[1.0], &[0.0], after);
        let found = conv.forward(&x, 1);
        assert_eq!(
            found.iter().map(|x| x.is_nan()).collect::<Vec<_>>(),
            [place < 3, place >= 3]
        );
    }
}

/// Each sequence of a batch has its bits alone, for every number of rows in a tile and of steps that remain.
#[test]
fn a_sequence_has_its_bits_in_a_batch_of_any_size_and_of_any_length() {
    for instructions in InstructionSet::all() {
        for (batch, frames) in (1..=33)
            .map(|batch| (batch, 5))
            .chain((1..=70).map(|frames| (3, frames)))
        {
            let layer = Layer {
                batch,
                frames,
                inputs: 6,
                hidden: 18,
                bidirectional: true,
                seed: batch as u64,
            };
            let x = layer.x();
            let together = layer.run(instructions, &x, batch);
            let each = x.chunks(frames * layer.inputs);
            let alone: Vec<_> = each
                .flat_map(|x| layer.run(InstructionSet::scalar(), x, 1))
                .collect();
            assert!(
                together == alone,
                "{instructions:?}, {batch} sequences of {frames} frames"
            );
        }
    }
}

#[test]
fn threads_do_not_change_a_sequence() {
    let layer = Layer {
        batch: 7,
        frames: 40,
        inputs: 60,
        hidden: 33,
        bidirectional: true,
        seed: 3,
    };
    let runs = [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| layer.run(InstructionSet::all()[0], &layer.x(), layer.batch))
    });
    assert!(runs[0] == runs[1] && runs[1] == runs[2]);
}
