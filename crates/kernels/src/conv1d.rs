//! Convolution over time, with pooling.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::{
    InstructionSet,
    buffer::{Buffer, Pool},
    epilogue::{load_some, store_some},
    product::{Panels, REGISTERS, Rows, in_tiles, tile},
};

/// Pooled frames that a core computes at a time, so that the results before pooling stay in its cache.
const AT_ONCE: usize = 32;

/// A convolution without padding, with bias, optional absolute values, and max pooling.
///
/// It is a product of overlapping rows of frames with the weights.
#[derive(Debug, Clone)]
pub struct Conv1d {
    instructions: InstructionSet,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    parts: Vec<Part>,
    bias: Buffer,
    after: Conv1dOptions,
    pool: Pool,
}

/// Options of [`Conv1d`]: its stride, and the operations on its results.
#[derive(Debug, Clone, Copy)]
pub struct Conv1dOptions {
    /// Frames from one result to the next.
    pub stride: usize,
    /// Whether absolute values are taken.
    pub abs: bool,
    /// Size of the max pooling; remaining results at the end are dropped.
    pub pool: usize,
}

impl Default for Conv1dOptions {
    /// Stride 1, and no operations on the results.
    fn default() -> Self {
        Self {
            stride: 1,
            abs: false,
            pool: 1,
        }
    }
}

/// The weights of consecutive outputs.
#[derive(Debug, Clone)]
struct Part {
    /// The first output.
    first: usize,
    /// Registers of columns in a tile.
    registers: usize,
    weight: Panels,
}

impl Conv1d {
    /// A convolution of `weight` `[outputs, inputs, kernel]` and `bias` `[outputs]`.
    ///
    /// # Panics
    /// If the slices have other lengths.
    #[must_use]
    pub fn new(
        instructions: InstructionSet,
        [outputs, inputs, kernel]: [usize; 3],
        weight: &[f32],
        bias: &[f32],
        after: Conv1dOptions,
    ) -> Self {
        assert_eq!(weight.len(), outputs * inputs * kernel);
        assert_eq!(bias.len(), outputs);
        let lanes = instructions.lanes();
        // Remaining outputs that fill at most half of a wide panel get a narrow one.
        let narrow = match outputs % (REGISTERS * lanes) {
            rest if rest <= lanes => rest,
            _ => 0,
        };
        let wide = outputs - narrow;
        let parts = [(0, wide, REGISTERS), (wide, narrow, 1)];
        let parts = parts.into_iter().filter(|(_, columns, _)| *columns > 0);
        let parts = parts.map(|(first, columns, registers)| {
            let at = |row: usize, column: usize| {
                let (tap, input) = (row / inputs, row % inputs);
                weight[((first + column) * inputs + input) * kernel + tap]
            };
            let width = registers * lanes;
            Part {
                first,
                registers,
                weight: Panels::with_width(width, kernel * inputs, columns, at),
            }
        });
        let parts = parts.collect();
        Self {
            instructions,
            inputs,
            outputs,
            kernel,
            parts,
            bias: bias.iter().copied().collect(),
            after,
            pool: Pool::default(),
        }
    }

    /// Number of pooled frames for `frames` input frames.
    #[must_use]
    pub fn frames(&self, frames: usize) -> usize {
        let results = frames
            .checked_sub(self.kernel)
            .map_or(0, |rest| rest / self.after.stride + 1);
        results / self.after.pool
    }

    /// `x` `[batch, frame, inputs]` to `[batch, pooled frame, outputs]`. NaN stays NaN.
    ///
    /// # Panics
    /// If `x` is not `batch` sequences of whole frames.
    #[must_use]
    pub fn forward(&self, x: &[f32], batch: usize) -> Vec<f32> {
        let frames = x.len() / (batch * self.inputs).max(1);
        assert_eq!(x.len(), batch * frames * self.inputs);
        let pooled = self.frames(frames);
        let mut out = vec![0.0; batch * pooled * self.outputs];
        if out.is_empty() {
            return out;
        }
        let step = self.after.pool * self.after.stride * self.inputs;
        let blocks: Vec<_> = out
            .chunks_exact_mut(pooled * self.outputs)
            .zip(x.chunks_exact(frames * self.inputs))
            .flat_map(|(out, x)| {
                let blocks = out.chunks_mut(AT_ONCE * self.outputs);
                blocks
                    .enumerate()
                    .map(move |(block, out)| (&x[block * AT_ONCE * step..], out))
            })
            .collect();
        blocks.into_par_iter().for_each(|(x, out)| {
            self.instructions.run(Block { conv: self, x, out });
        });
        out
    }
}

/// Some frames of one sequence.
struct Block<'a> {
    conv: &'a Conv1d,
    /// From the first input frame of the first result on.
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { conv, x, out } = self;
        let (outputs, pool) = (conv.outputs, conv.after.pool);
        let count = out.len() / outputs * pool;
        let mut results = conv.pool.take(count * outputs);
        for part in &conv.parts {
            if part.registers == REGISTERS {
                product::<S, REGISTERS>(simd, conv, part, x, count, &mut results);
            } else {
                product::<S, 1>(simd, conv, part, x, count, &mut results);
            }
        }
        let results_of = results.chunks_exact(pool * outputs);
        for (out, results) in out.chunks_exact_mut(outputs).zip(results_of) {
            for output in (0..outputs).step_by(S::F32_LANES) {
                let lanes = S::F32_LANES.min(outputs - output);
                let mut largest = load_some(simd, &results[output..][..lanes]);
                for result in 1..pool {
                    let place = result * outputs + output;
                    largest = larger(simd, largest, load_some(simd, &results[place..][..lanes]));
                }
                store_some(simd, &mut out[output..][..lanes], largest);
            }
        }
        conv.pool.give(results);
    }
}

/// The results before pooling of the first `count` frames of `x` and the outputs of `part`, to its columns of `results`
/// `[frame, output]`.
#[inline(always)]
fn product<S: Simd, const C: usize>(
    simd: S,
    conv: &Conv1d,
    part: &Part,
    x: &[f32],
    count: usize,
    results: &mut [f32],
) {
    let outputs = conv.outputs;
    let last = part.first + part.weight.columns();
    for index in 0..part.weight.count() {
        let panel = part.weight.panel(index);
        let columns = part.first + index * part.weight.width();
        in_tiles!(S, count, |first, R| {
            let stride = conv.after.stride * conv.inputs;
            let rows = Rows {
                values: &x[first * stride..],
                stride,
                len: conv.kernel * conv.inputs,
            };
            let sums = tile::<S, R, C>(simd, &[rows], panel);
            for (r, sums) in sums.into_iter().enumerate() {
                let result = &mut results[(first + r) * outputs..][..outputs];
                for (register, sum) in sums.into_iter().enumerate() {
                    let output = columns + register * S::F32_LANES;
                    if output < last {
                        let lanes = S::F32_LANES.min(last - output);
                        let bias = load_some(simd, &conv.bias[output..][..lanes]);
                        let mut sum = simd.add_f32s(sum, bias);
                        if conv.after.abs {
                            sum = simd.abs_f32s(sum);
                        }
                        store_some(simd, &mut result[output..][..lanes], sum);
                    }
                }
            }
        });
    }
}

/// The larger of two, or NaN if one is NaN.
#[inline(always)]
fn larger<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    let nan = simd.not_m32s(simd.equal_f32s(b, b));
    let take = simd.or_m32s(simd.greater_than_f32s(b, a), nan);
    simd.select_f32s(take, b, a)
}
