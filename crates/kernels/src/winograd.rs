//! 3x3 convolutions with a quarter of the multiplications.
//!
//! F(4x4, 3x3) of Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (CVPR 2016): a tile of
//! 4x4 results comes from 6x6 pixels and 6x6 transformed weights, element by element, so that each of the 36
//! elements is one product over the channels. The transforms are those of Toom and Cook for the points 0, ±A,
//! ±B and infinity.

use pulp::{Simd, WithSimd, bytemuck};

use rayon::prelude::*;

use crate::{
    Images, InstructionSet,
    epilogue::{Epilogue, load, load_some, store_some},
    images::TILE,
    product::{Panels, REGISTERS, Rows, in_tiles, tile},
};

/// Points of the interpolation, next to 0 and infinity. The usual 1 and 2 lose twice the digits: what is
/// cancelled at the end grows with the powers of the points. Both squares and their sums are exact.
const A: f32 = 0.5;
const B: f32 = 1.5;
/// Pixels on each side that a tile of results depends on.
const SIDE: usize = TILE + 2;
/// Weights from one channel to another.
const TAPS: usize = 9;
/// Elements of a transformed tile.
const ELEMENTS: usize = SIDE * SIDE;
/// Values of transformed pixels that a core works on at a time: half a megabyte or so, for its own cache.
const AT_ONCE: usize = 1 << 19;

/// How far the values of one element are from those of the next, where there are `len` of them: a cache line more,
/// because a tile has all elements, and those a power of two apart would take the same place in a cache.
fn apart(len: usize) -> usize {
    len + 16
}

/// The transformed weights of a convolution.
#[derive(Debug, Clone)]
pub(crate) struct Winograd {
    instructions: InstructionSet,
    inputs: usize,
    /// `[element, inputs, outputs]`: for each panel of outputs one element after the other.
    weights: Panels,
}

impl Winograd {
    /// From `weight` `[outputs, inputs, 3, 3]`.
    pub(crate) fn new(
        instructions: InstructionSet,
        [outputs, inputs]: [usize; 2],
        weight: &[f32],
    ) -> Self {
        let width = REGISTERS * instructions.lanes();
        let depth = ELEMENTS * inputs;
        let weights = Panels::by_panel(width, depth, outputs, |first, columns, panel| {
            instructions.run(Pack {
                weight: &weight[first * inputs * TAPS..][..columns * inputs * TAPS],
                inputs,
                width,
                panel,
            });
        });
        Self {
            instructions,
            inputs,
            weights,
        }
    }

    /// Tiles of one block, where there are `across` in a row.
    fn block(&self, across: usize) -> usize {
        let most = (AT_ONCE / (ELEMENTS * self.inputs)).clamp(12, 48);
        // All of about the same size.
        across.div_ceil(across.div_ceil(most).max(1)).max(1)
    }

    /// Values of memory that a block of `tiles` needs.
    fn scratch(&self, tiles: usize) -> usize {
        let width = self.weights.width();
        // And the half-transformed tile, as wide as a register at most.
        ELEMENTS * (apart(tiles * self.inputs) + apart(tiles * width) + width)
    }

    /// The convolution of `images`, and what follows, into `out`.
    pub(crate) fn forward(
        &self,
        images: &Images,
        residual: Option<&Images>,
        epilogue: Epilogue<'_>,
        out: &mut Images,
    ) {
        let [_, outputs, height, width] = out.shape();
        let across = width.div_ceil(TILE);
        let tiles = self.block(across);
        let mut blocks = Vec::new();
        let mut rows = out.rows_mut().peekable();
        while let Some((index, top, _)) = rows.peek() {
            let (index, top) = (*index, *top);
            // The parts of up to four rows that belong to each block.
            let mut parts: Vec<_> = rows
                .by_ref()
                .take(TILE.min(height - top))
                .map(|(_, _, row)| row.chunks_mut(tiles * TILE * outputs))
                .collect();
            blocks.extend((0..across).step_by(tiles).map(|first| Block {
                image: &images.image(index)[top * images.pitch() + first * TILE * self.inputs..],
                pitch: images.pitch(),
                tiles: tiles.min(across - first),
                epilogue,
                out: parts.iter_mut().filter_map(Iterator::next).collect(),
                residual: residual.map(|residual| {
                    let start = first * TILE * outputs;
                    let rows = top..height.min(top + TILE);
                    rows.map(|y| &residual.row(index, y)[start..]).collect()
                }),
            }));
        }
        blocks.into_par_iter().for_each(|block| {
            let mut scratch = images.pool().take(self.scratch(block.tiles));
            self.instructions.run(Run {
                winograd: self,
                block,
                scratch: &mut scratch,
            });
            images.pool().give(scratch);
        });
    }
}

/// Tiles side by side.
struct Block<'a> {
    /// The image from the corner of what the first tile depends on.
    image: &'a [f32],
    /// Values from one row of it to the next.
    pitch: usize,
    tiles: usize,
    epilogue: Epilogue<'a>,
    /// The rows of the result, one to four, and the same of what is added.
    out: Vec<&'a mut [f32]>,
    residual: Option<Vec<&'a [f32]>>,
}

struct Run<'a> {
    winograd: &'a Winograd,
    block: Block<'a>,
    scratch: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            winograd,
            mut block,
            scratch,
        } = self;
        let (inputs, tiles) = (winograd.inputs, block.tiles);
        let width = winograd.weights.width();
        let (pixels_apart, sums_apart) = (apart(tiles * inputs), apart(tiles * width));
        let (pixels, rest) = scratch.split_at_mut(ELEMENTS * pixels_apart);
        let (sums, half) = rest.split_at_mut(ELEMENTS * sums_apart);
        // Where registers that do not find a place go by themselves, the stack, they would lie across cache lines.
        let half = &mut bytemuck::cast_slice_mut(half)[..ELEMENTS];
        transform_pixels(simd, &block, inputs, half, pixels);
        for index in 0..winograd.weights.count() {
            let elements = winograd.weights.panel(index).chunks_exact(inputs * width);
            for (element, panel) in elements.enumerate() {
                let pixels = &pixels[element * pixels_apart..][..tiles * inputs];
                let sums = &mut sums[element * sums_apart..][..tiles * width];
                in_tiles!(S, tiles, |first, R| {
                    let rows = Rows {
                        values: &pixels[first * inputs..],
                        stride: inputs,
                        len: inputs,
                    };
                    let tile = tile::<S, R, REGISTERS>(simd, &[rows], panel);
                    let sums = sums[first * width..][..R * width].chunks_exact_mut(width);
                    for (sums, registers) in sums.zip(tile) {
                        for (sums, register) in sums.chunks_exact_mut(S::F32_LANES).zip(registers) {
                            store_some(simd, sums, register);
                        }
                    }
                });
            }
            transform_sums(simd, &mut block, index * width, half, sums);
        }
    }
}

/// The weights of some outputs, which become one panel.
struct Pack<'a> {
    /// `[outputs, inputs, 3, 3]`
    weight: &'a [f32],
    inputs: usize,
    width: usize,
    /// `[element, inputs, width]`
    panel: &'a mut [f32],
}

/// Outputs whose weights are transformed together.
const LANES: usize = 8;

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (inputs, transform) = (self.inputs, weight_transform());
        let outputs = self.weight.chunks(LANES * inputs * TAPS).enumerate();
        for ((block, weight), input) in
            outputs.flat_map(|block| (0..inputs).map(move |i| (block, i)))
        {
            let mut taps = [[0.0; LANES]; TAPS];
            let kernels = weight.chunks_exact(inputs * TAPS);
            let lanes = kernels.len();
            for (lane, kernel) in kernels.enumerate() {
                for (taps, tap) in taps.iter_mut().zip(&kernel[input * TAPS..]) {
                    taps[lane] = f64::from(*tap);
                }
            }
            for (x, columns) in transform.iter().enumerate() {
                let lines =
                    [0, 3, 6].map(|y| combined(columns, [&taps[y], &taps[y + 1], &taps[y + 2]]));
                for (y, rows) in transform.iter().enumerate() {
                    let values = combined(rows, lines.each_ref());
                    let place = ((y * SIDE + x) * inputs + input) * self.width + block * LANES;
                    let panel = &mut self.panel[place..][..lanes];
                    for (to, value) in panel.iter_mut().zip(values) {
                        *to = value as f32;
                    }
                }
            }
        }
    }
}

/// The sum of each three values times these factors.
#[inline(always)]
fn combined(factors: &[f64; 3], values: [&[f64; LANES]; 3]) -> [f64; LANES] {
    let mut sums = [0.0; LANES];
    for (lane, sum) in sums.iter_mut().enumerate() {
        *sum = factors[0] * values[0][lane]
            + factors[1] * values[1][lane]
            + factors[2] * values[2][lane];
    }
    sums
}

/// `[3]` weights to `[6]`, in one dimension: the value at each point over the derivative there of what is 0 at all
/// points.
fn weight_transform() -> [[f64; 3]; SIDE] {
    let (a, b) = (f64::from(A), f64::from(B));
    let (a2, b2) = (a * a, b * b);
    let (at_a, at_b) = (2.0 * a2 * (a2 - b2), 2.0 * b2 * (b2 - a2));
    let row = |point: f64, over: f64| [1.0 / over, point / over, point * point / over];
    [
        row(0.0, a2 * b2),
        row(a, at_a),
        row(-a, at_a),
        row(b, at_b),
        row(-b, at_b),
        [0.0, 0.0, 1.0],
    ]
}

/// Pixels to elements, in one dimension.
#[inline(always)]
fn pixel_transform<S: Simd>(simd: S, d: &[S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let (a2, b2) = (A * A, B * B);
    let first = scaled(simd, -(a2 + b2), d[2], d[4]);
    let last = scaled(simd, -(a2 + b2), d[3], d[5]);
    let (even_a, odd_a) = (scaled(simd, -b2, d[2], d[4]), scaled(simd, -b2, d[1], d[3]));
    let (even_b, odd_b) = (scaled(simd, -a2, d[2], d[4]), scaled(simd, -a2, d[1], d[3]));
    [
        scaled(simd, a2 * b2, d[0], first),
        scaled(simd, A, odd_a, even_a),
        scaled(simd, -A, odd_a, even_a),
        scaled(simd, B, odd_b, even_b),
        scaled(simd, -B, odd_b, even_b),
        scaled(simd, a2 * b2, d[1], last),
    ]
}

/// Sums of elements to results, in one dimension.
#[inline(always)]
fn sum_transform<S: Simd>(simd: S, m: &[S::f32s; SIDE]) -> [S::f32s; TILE] {
    let (even_a, odd_a) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (even_b, odd_b) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(m[0], simd.add_f32s(even_a, even_b)),
        scaled(simd, A, odd_a, simd.mul_f32s(simd.splat_f32s(B), odd_b)),
        scaled(
            simd,
            A * A,
            even_a,
            simd.mul_f32s(simd.splat_f32s(B * B), even_b),
        ),
        scaled(simd, A * A * A, odd_a, scaled(simd, B * B * B, odd_b, m[5])),
    ]
}

/// `factor * x + y`
#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.mul_add_f32s(simd.splat_f32s(factor), x, y)
}

/// The pixels of each tile to `[element, tile, channel]`.
#[allow(
    clippy::needless_range_loop,
    reason = "rows and columns, as on paper; iterators over registers are not always inlined"
)]
#[inline(always)]
fn transform_pixels<S: Simd>(
    simd: S,
    block: &Block<'_>,
    inputs: usize,
    half: &mut [S::f32s],
    pixels: &mut [f32],
) {
    let half: &mut [[S::f32s; SIDE]] = bytemuck::cast_slice_mut(half);
    let zero = simd.splat_f32s(0.0);
    let apart = apart(block.tiles * inputs);
    for tile in 0..block.tiles {
        for channel in (0..inputs).step_by(S::F32_LANES) {
            let room = S::F32_LANES.min(inputs - channel);
            // All that the tile needs and gives, looked for once and not 72 times.
            let image = &block.image[tile * TILE * inputs + channel..];
            let image = &image[..(SIDE - 1) * (block.pitch + inputs) + room];
            let pixels = &mut pixels[tile * inputs + channel..][..(ELEMENTS - 1) * apart + room];
            for x in 0..SIDE {
                let mut column = [zero; SIDE];
                for y in 0..SIDE {
                    let place = y * block.pitch + x * inputs;
                    // SAFETY: `y` and `x` are below `SIDE`.
                    let values = unsafe { image.get_unchecked(place..place + room) };
                    column[y] = load_some(simd, values);
                }
                let column = pixel_transform(simd, &column);
                for y in 0..SIDE {
                    half[y][x] = column[y];
                }
            }
            for y in 0..SIDE {
                let row = pixel_transform(simd, &half[y]);
                for x in 0..SIDE {
                    let place = (y * SIDE + x) * apart;
                    // SAFETY: `y` and `x` are below `SIDE`, whose square is `ELEMENTS`.
                    let values = unsafe { pixels.get_unchecked_mut(place..place + room) };
                    store_some(simd, values, row[x]);
                }
            }
        }
    }
}

/// `[element, tile, channel]` of the panel whose first channel is `first`, to the results.
#[allow(
    clippy::needless_range_loop,
    reason = "rows and columns, as on paper; iterators over registers are not always inlined"
)]
#[inline(always)]
fn transform_sums<S: Simd>(
    simd: S,
    block: &mut Block<'_>,
    first: usize,
    half: &mut [S::f32s],
    sums: &[f32],
) {
    let half: &mut [[S::f32s; SIDE]] = bytemuck::cast_slice_mut(half);
    let zero = simd.splat_f32s(0.0);
    let width = REGISTERS * S::F32_LANES;
    let apart = apart(block.tiles * width);
    let channels = block.epilogue.channels;
    for register in 0..REGISTERS {
        let lane = register * S::F32_LANES;
        if first + lane >= channels {
            return;
        }
        let affine = block.epilogue.affine.at(simd, first + lane);
        for tile in 0..block.tiles {
            let sums = &sums[tile * width + lane..][..(ELEMENTS - 1) * apart + S::F32_LANES];
            for x in 0..SIDE {
                let mut column = [zero; SIDE];
                for y in 0..SIDE {
                    let place = (y * SIDE + x) * apart;
                    // SAFETY: `y` and `x` are below `SIDE`, whose square is `ELEMENTS`.
                    let values = unsafe { sums.get_unchecked(place..place + S::F32_LANES) };
                    column[y] = load(simd, values);
                }
                let column = sum_transform(simd, &column);
                for y in 0..TILE {
                    half[y][x] = column[y];
                }
            }
            for y in 0..block.out.len() {
                let row = sum_transform(simd, &half[y]);
                let out = &mut *block.out[y];
                let residual = block.residual.as_ref().map(|residual| residual[y]);
                // The last tile may reach over the edge.
                let left = (out.len() / channels - tile * TILE).min(TILE);
                for x in 0..left {
                    let pixel = (tile * TILE + x) * channels;
                    let residual = residual.map(|residual| &residual[pixel..]);
                    let out = &mut out[pixel..];
                    block
                        .epilogue
                        .store(simd, row[x], affine, first + lane, residual, out);
                }
            }
        }
    }
}
