//! One layer of an LSTM.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::{
    InstructionSet,
    activation::{sigmoid, tanh},
    buffer::{Buffer, Pool},
    epilogue::{load_some, store_some},
    product::{Panels, REGISTERS, Rows, in_tiles, tile},
};

/// Gates of a unit.
const GATES: usize = 4;
/// Steps whose inputs are multiplied at a time: as many as a tile has rows, so that few sequences fill it too,
/// and what comes out stays in the cache until the recurrence takes it.
const STEPS: usize = 12;

/// One layer, in one or both directions, with a state of zeros at the beginning.
/// `torch.nn.LSTM(batch_first=True)`.
#[derive(Debug, Clone)]
pub struct Lstm {
    instructions: InstructionSet,
    inputs: usize,
    hidden: usize,
    directions: Vec<Direction>,
    pool: Pool,
}

/// Weights of one direction, as PyTorch has them: gates in the order i, f, g, o.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// `weight_ih` `[4 hidden, inputs]`.
    pub input: &'a [f32],
    /// `weight_hh` `[4 hidden, hidden]`.
    pub recurrent: &'a [f32],
    /// `bias_ih` and `bias_hh` together, `[4 hidden]`.
    pub bias: &'a [f32],
}

#[derive(Debug, Clone)]
struct Direction {
    /// `[inputs, 4 hidden]`
    input: Panels,
    /// `[hidden, 4 hidden]`
    recurrent: Panels,
    bias: Buffer,
}

impl Lstm {
    /// A layer of `hidden` units from the weights forwards and, where it has them, backwards.
    ///
    /// # Panics
    /// Where the slices are not of these sizes.
    #[must_use]
    pub fn new(
        instructions: InstructionSet,
        [inputs, hidden]: [usize; 2],
        directions: &[Weights<'_>],
    ) -> Self {
        let gates = GATES * hidden;
        let pack = |weight: &[f32], depth: usize| {
            assert_eq!(weight.len(), gates * depth);
            Panels::new(instructions, depth, gates, |row, gate| {
                weight[gate * depth + row]
            })
        };
        let directions = directions
            .iter()
            .map(|weights| {
                assert_eq!(weights.bias.len(), gates);
                Direction {
                    input: pack(weights.input, inputs),
                    recurrent: pack(weights.recurrent, hidden),
                    bias: weights.bias.iter().copied().collect(),
                }
            })
            .collect();
        Self {
            instructions,
            inputs,
            hidden,
            directions,
            pool: Pool::default(),
        }
    }

    /// `x` `[batch, frame, inputs]` to `[batch, frame, hidden]`, or twice as wide: forwards, then backwards.
    ///
    /// # Panics
    /// Where `x` is not of `batch` sequences of whole frames.
    #[must_use]
    pub fn forward(&self, x: &[f32], batch: usize) -> Vec<f32> {
        let (inputs, hidden) = (self.inputs, self.hidden);
        let frames = x.len() / (batch * inputs).max(1);
        assert_eq!(x.len(), batch * frames * inputs);
        let directions = self.directions.len();
        let mut out = vec![0.0; batch * frames * directions * hidden];
        if out.is_empty() {
            return out;
        }
        // A direction is one task, or more where there are threads for them.
        let parts = rayon::current_num_threads().div_ceil(directions);
        let rows = batch.div_ceil(parts);
        let mut tasks: Vec<_> = (0..batch.div_ceil(rows) * directions)
            .map(|task| {
                let first = task / directions * rows;
                Task {
                    lstm: self,
                    reverse: task % directions == 1,
                    x: &x[first * frames * inputs..],
                    batch: rows.min(batch - first),
                    frames,
                    states: Vec::with_capacity(rows * frames),
                }
            })
            .collect();
        for (place, state) in out.chunks_exact_mut(hidden).enumerate() {
            let (frame, direction) = (place / directions, place % directions);
            let row = frame / frames;
            tasks[row / rows * directions + direction]
                .states
                .push(state);
        }
        tasks
            .into_par_iter()
            .for_each(|task| self.instructions.run(task));
        out
    }
}

/// One direction of some sequences.
struct Task<'a> {
    lstm: &'a Lstm,
    reverse: bool,
    /// `[batch, frame, inputs]`, and more that is not looked at.
    x: &'a [f32],
    batch: usize,
    frames: usize,
    /// Where the state of each sequence goes at each frame.
    states: Vec<&'a mut [f32]>,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Self { lstm, batch, .. } = self;
        let weights = &lstm.directions[usize::from(self.reverse)];
        let (hidden, gates) = (lstm.hidden, GATES * lstm.hidden);
        // All gates' share of the input, `[sequence, step, 4 hidden]`, of a few steps.
        let mut shares = lstm.pool.take(batch * STEPS * gates);
        let mut sums = lstm.pool.take(batch * gates);
        let mut state = lstm.pool.take(2 * batch * hidden);
        state.fill(0.0);
        let (output, cell) = state.split_at_mut(batch * hidden);
        for start in (0..self.frames).step_by(STEPS) {
            let steps = STEPS.min(self.frames - start);
            // Backwards, the steps taken are the last that are left.
            let first = if self.reverse {
                self.frames - start - steps
            } else {
                start
            };
            self.share_of_input(simd, weights, first, steps, &mut shares);
            for step in 0..steps {
                let step = if self.reverse { steps - 1 - step } else { step };
                recurrence(simd, &weights.recurrent, output, hidden, &mut sums);
                for row in 0..batch {
                    let cell = &mut cell[row * hidden..][..hidden];
                    let output = &mut output[row * hidden..][..hidden];
                    activate(
                        simd,
                        &shares[(row * STEPS + step) * gates..][..gates],
                        &sums[row * gates..][..gates],
                        cell,
                        output,
                    );
                    self.states[row * self.frames + first + step].copy_from_slice(output);
                }
            }
        }
        lstm.pool.give(shares);
        lstm.pool.give(sums);
        lstm.pool.give(state);
    }
}

impl Task<'_> {
    /// Multiplies the inputs of `steps` frames from `first` on, and adds the bias.
    #[inline(always)]
    fn share_of_input<S: Simd>(
        &self,
        simd: S,
        weights: &Direction,
        first: usize,
        steps: usize,
        shares: &mut [f32],
    ) {
        let (inputs, gates) = (self.lstm.inputs, GATES * self.lstm.hidden);
        for index in 0..weights.input.count() {
            let panel = weights.input.panel(index);
            let columns = index * weights.input.width();
            for row in 0..self.batch {
                let x = &self.x[(row * self.frames + first) * inputs..];
                in_tiles!(S, steps, |step, R| {
                    let rows = Rows {
                        values: &x[step * inputs..],
                        stride: inputs,
                        len: inputs,
                    };
                    let sums = tile::<S, R, REGISTERS>(simd, &[rows], panel);
                    for (r, sums) in sums.into_iter().enumerate() {
                        let share = &mut shares[(row * STEPS + step + r) * gates..][..gates];
                        for (register, sum) in sums.into_iter().enumerate() {
                            let gate = columns + register * S::F32_LANES;
                            if gate < gates {
                                let room = S::F32_LANES.min(gates - gate);
                                let bias = load_some(simd, &weights.bias[gate..][..room]);
                                let sum = simd.add_f32s(sum, bias);
                                store_some(simd, &mut share[gate..][..room], sum);
                            }
                        }
                    }
                });
            }
        }
    }
}

/// `output` `[row, hidden]` times the recurrent weights, to `sums` `[row, 4 hidden]`.
#[inline(always)]
fn recurrence<S: Simd>(simd: S, weights: &Panels, output: &[f32], hidden: usize, sums: &mut [f32]) {
    let gates = GATES * hidden;
    for index in 0..weights.count() {
        let panel = weights.panel(index);
        let columns = index * weights.width();
        in_tiles!(S, output.len() / hidden, |row, R| {
            let rows = Rows {
                values: &output[row * hidden..],
                stride: hidden,
                len: hidden,
            };
            let tile = tile::<S, R, REGISTERS>(simd, &[rows], panel);
            for (r, tile) in tile.into_iter().enumerate() {
                let sums = &mut sums[(row + r) * gates..][..gates];
                for (register, sum) in tile.into_iter().enumerate() {
                    let gate = columns + register * S::F32_LANES;
                    if gate < gates {
                        let room = S::F32_LANES.min(gates - gate);
                        store_some(simd, &mut sums[gate..][..room], sum);
                    }
                }
            }
        });
    }
}

/// One step of one sequence: the gates are the sum of `share` and `sums` `[4 hidden]`.
#[inline(always)]
fn activate<S: Simd>(simd: S, share: &[f32], sums: &[f32], cell: &mut [f32], output: &mut [f32]) {
    let hidden = cell.len();
    for unit in (0..hidden).step_by(S::F32_LANES) {
        let room = S::F32_LANES.min(hidden - unit);
        let i = sigmoid(simd, gate(simd, share, sums, unit, room));
        let f = sigmoid(simd, gate(simd, share, sums, hidden + unit, room));
        let g = tanh(simd, gate(simd, share, sums, 2 * hidden + unit, room));
        let o = sigmoid(simd, gate(simd, share, sums, 3 * hidden + unit, room));
        let (cell, output) = (&mut cell[unit..][..room], &mut output[unit..][..room]);
        let c = load_some(simd, cell);
        let c = simd.mul_add_f32s(f, c, simd.mul_f32s(i, g));
        store_some(simd, cell, c);
        store_some(simd, output, simd.mul_f32s(o, tanh(simd, c)));
    }
}

/// A register of gates.
#[inline(always)]
fn gate<S: Simd>(simd: S, share: &[f32], sums: &[f32], first: usize, room: usize) -> S::f32s {
    simd.add_f32s(
        load_some(simd, &share[first..][..room]),
        load_some(simd, &sums[first..][..room]),
    )
}
