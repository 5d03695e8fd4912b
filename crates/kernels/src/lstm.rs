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
/// Steps whose input is projected at a time: the rows of a tile, so that few sequences fill it too, and the projections stay
/// in the cache until the recurrence takes them.
const STEPS: usize = 12;

/// One layer, in one or both directions, with an initial state of zeros. `torch.nn.LSTM(batch_first=True)`.
#[derive(Debug, Clone)]
pub struct Lstm {
    instructions: InstructionSet,
    inputs: usize,
    hidden: usize,
    directions: Vec<Direction>,
    pool: Pool,
}

/// Weights of one direction, as in PyTorch: gates in the order i, f, g, o.
#[derive(Debug, Clone, Copy)]
pub struct LstmWeights<'a> {
    /// `weight_ih` `[4 hidden, inputs]`.
    pub input: &'a [f32],
    /// `weight_hh` `[4 hidden, hidden]`.
    pub recurrent: &'a [f32],
    /// The sum of `bias_ih` and `bias_hh`, `[4 hidden]`.
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
    /// A layer of `hidden` units. `directions` are the weights of the forward and, if there is one, of the reverse direction.
    ///
    /// # Panics
    /// If there are not one or two directions, or the slices have other lengths.
    #[must_use]
    pub fn new(
        instructions: InstructionSet,
        [inputs, hidden]: [usize; 2],
        directions: &[LstmWeights<'_>],
    ) -> Self {
        let count = directions.len();
        assert!(
            count == 1 || count == 2,
            "one or two directions, not {count}"
        );
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

    /// `x` `[batch, frame, inputs]` to `[batch, frame, hidden]`, or with two directions `[batch, frame, 2 hidden]`, the
    /// forward one first.
    ///
    /// # Panics
    /// If `x` is not `batch` sequences of whole frames.
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
        // Each direction is split into tasks if there are more threads than directions.
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

/// One direction over some sequences.
struct Task<'a> {
    lstm: &'a Lstm,
    reverse: bool,
    /// `[batch, frame, inputs]`, and more values that are not read.
    x: &'a [f32],
    batch: usize,
    frames: usize,
    /// The place of each sequence's output at each frame.
    states: Vec<&'a mut [f32]>,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Self { lstm, batch, .. } = self;
        let weights = &lstm.directions[usize::from(self.reverse)];
        let (hidden, gates) = (lstm.hidden, GATES * lstm.hidden);
        // Input projections of some steps, `[sequence, step, 4 hidden]`.
        let mut projections = lstm.pool.take(batch * STEPS * gates);
        let mut sums = lstm.pool.take(batch * gates);
        let mut state = lstm.pool.take(2 * batch * hidden);
        state.fill(0.0);
        let (output, cell) = state.split_at_mut(batch * hidden);
        for start in (0..self.frames).step_by(STEPS) {
            let steps = STEPS.min(self.frames - start);
            // In reverse, the last remaining steps.
            let first = if self.reverse {
                self.frames - start - steps
            } else {
                start
            };
            self.project_input(simd, weights, first, steps, &mut projections);
            for step in 0..steps {
                let step = if self.reverse { steps - 1 - step } else { step };
                recurrence(simd, &weights.recurrent, output, hidden, &mut sums);
                for row in 0..batch {
                    let cell = &mut cell[row * hidden..][..hidden];
                    let output = &mut output[row * hidden..][..hidden];
                    activate(
                        simd,
                        &projections[(row * STEPS + step) * gates..][..gates],
                        &sums[row * gates..][..gates],
                        cell,
                        output,
                    );
                    self.states[row * self.frames + first + step].copy_from_slice(output);
                }
            }
        }
        lstm.pool.give(projections);
        lstm.pool.give(sums);
        lstm.pool.give(state);
    }
}

impl Task<'_> {
    /// Projects the input of `steps` frames from `first` on: the product with the input weights plus the bias.
    #[inline(always)]
    fn project_input<S: Simd>(
        &self,
        simd: S,
        weights: &Direction,
        first: usize,
        steps: usize,
        projections: &mut [f32],
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
                        let projection =
                            &mut projections[(row * STEPS + step + r) * gates..][..gates];
                        for (register, sum) in sums.into_iter().enumerate() {
                            let gate = columns + register * S::F32_LANES;
                            if gate < gates {
                                let lanes = S::F32_LANES.min(gates - gate);
                                let bias = load_some(simd, &weights.bias[gate..][..lanes]);
                                let sum = simd.add_f32s(sum, bias);
                                store_some(simd, &mut projection[gate..][..lanes], sum);
                            }
                        }
                    }
                });
            }
        }
    }
}

/// The product of `output` `[row, hidden]` with the recurrent weights, to `sums` `[row, 4 hidden]`.
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
                        let lanes = S::F32_LANES.min(gates - gate);
                        store_some(simd, &mut sums[gate..][..lanes], sum);
                    }
                }
            }
        });
    }
}

/// One step of one sequence. Gates before activation are the sum of `projection` and `sums`, `[4 hidden]`.
#[inline(always)]
fn activate<S: Simd>(
    simd: S,
    projection: &[f32],
    sums: &[f32],
    cell: &mut [f32],
    output: &mut [f32],
) {
    let hidden = cell.len();
    for unit in (0..hidden).step_by(S::F32_LANES) {
        let lanes = S::F32_LANES.min(hidden - unit);
        let i = sigmoid(simd, gate(simd, projection, sums, unit, lanes));
        let f = sigmoid(simd, gate(simd, projection, sums, hidden + unit, lanes));
        let g = tanh(simd, gate(simd, projection, sums, 2 * hidden + unit, lanes));
        let o = sigmoid(simd, gate(simd, projection, sums, 3 * hidden + unit, lanes));
        let (cell, output) = (&mut cell[unit..][..lanes], &mut output[unit..][..lanes]);
        let c = load_some(simd, cell);
        let c = simd.mul_add_f32s(f, c, simd.mul_f32s(i, g));
        store_some(simd, cell, c);
        store_some(simd, output, simd.mul_f32s(o, tanh(simd, c)));
    }
}

/// A register of gates before activation.
#[inline(always)]
fn gate<S: Simd>(simd: S, projection: &[f32], sums: &[f32], first: usize, lanes: usize) -> S::f32s {
    simd.add_f32s(
        load_some(simd, &projection[first..][..lanes]),
        load_some(simd, &sums[first..][..lanes]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "one or two directions")]
    fn a_third_direction_is_refused() {
        let [input, recurrent, bias] = [&[0.0; 4]; 3];
        let weights = LstmWeights {
            input,
            recurrent,
            bias,
        };
        let _ = Lstm::new(InstructionSet::scalar(), [1, 1], &[weights; 3]);
    }
}
