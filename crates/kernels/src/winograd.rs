//! 3x3 convolutions with a quarter of the multiplications.
//!
//! F(4x4, 3x3) of Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (CVPR 2016): a tile of 4x4 results is
//! computed from 6x6 transformed pixels and 6x6 transformed weights, element by element; each of the 36 elements is one
//! product over the channels. The transforms are those of Toom and Cook for the points 0, ±A, ±B and infinity.

use pulp::{Simd, WithSimd};

use crate::{
    InstructionSet,
    buffer::{LINE, Pool},
    epilogue::{Epilogue, load, load_some, store, store_some},
    images::TILE,
    prefetch::prefetch,
    product::{Panels, REGISTERS, Rows, in_tiles, tile},
    strip::Strip,
};

/// Interpolation points besides 0 and infinity. The usual 1 and 2 lose twice the digits: cancellation grows with the powers
/// of the points. Both squares and their sum are exact.
const A: f32 = 0.5;
const B: f32 = 1.5;
/// Rows and columns of the pixels of a tile.
const SIDE: usize = TILE + 2;
/// Weights of one kernel.
const TAPS: usize = 9;
/// Elements of a transformed tile.
const ELEMENTS: usize = SIDE * SIDE;
/// Transformed pixels that a core computes at a time: half a megabyte, for its own cache.
const AT_ONCE: usize = 1 << 17;
/// Fewest and most tiles that a core computes at a time: the rows of a product, and twice as many.
const TILES: [usize; 2] = [12, 24];

/// Stride from one element to the next, each of `len` values: a cache line more than `len`, because a tile touches all
/// elements, and strides of a power of two would map them to the same place in a cache.
fn pitch(len: usize) -> usize {
    len + LINE
}

/// The transformed weights of a convolution.
#[derive(Debug, Clone)]
pub(crate) struct Winograd {
    instructions: InstructionSet,
    inputs: usize,
    /// `[element, inputs, outputs]`: in each panel of outputs one element after the other.
    weights: Panels,
}

impl Winograd {
    /// The transform of `weight` `[outputs, inputs, 3, 3]`.
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

    /// Tiles that are computed at a time.
    pub(crate) fn tiles(&self) -> usize {
        let [least, most] = TILES;
        let tiles = (AT_ONCE / (ELEMENTS * self.inputs)).clamp(least, most);
        tiles / least * least
    }

    /// Computes the rows of `strip`, with `epilogue`, and with scratch memory of `pool`.
    pub(crate) fn forward(&self, strip: Strip<'_>, epilogue: Epilogue<'_>, pool: &Pool) {
        let width = self.weights.width();
        let tiles = self.tiles();
        let (pixels, sums) = (pitch(tiles * self.inputs), pitch(tiles * width));
        let mut scratch = pool.take(ELEMENTS * (pixels + sums));
        let (pixels, sums) = scratch.split_at_mut(ELEMENTS * pixels);
        self.instructions.run(Run {
            winograd: self,
            strip,
            epilogue,
            pixels,
            sums,
        });
        pool.give(scratch);
    }
}

/// All tiles of a strip.
struct Run<'a> {
    winograd: &'a Winograd,
    strip: Strip<'a>,
    epilogue: Epilogue<'a>,
    /// Scratch for transformed pixels, `[element, tile, channel]`.
    pixels: &'a mut [f32],
    /// Scratch for their products with one panel of the weights, `[element, tile, channel of the panel]`.
    sums: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            winograd,
            mut strip,
            epilogue,
            pixels,
            sums,
        } = self;
        let inputs = winograd.inputs;
        let width = winograd.weights.width();
        let across = (strip.out[0].len() / epilogue.channels).div_ceil(TILE);
        let all = strip.out.len().div_ceil(TILE) * across;
        let at_once = winograd.tiles();
        for first in (0..all).step_by(at_once) {
            let block = Block {
                first,
                tiles: at_once.min(all - first),
                across,
            };
            let tiles = block.tiles;
            let (pixel_stride, sum_stride) = (pitch(tiles * inputs), pitch(tiles * width));
            transform_pixels(simd, &strip.lines, block, inputs, pixels);
            for index in 0..winograd.weights.count() {
                // In the background of the products.
                prefetch_results::<S>(&strip, block, epilogue.channels, index * width);
                let elements = winograd.weights.panel(index).chunks_exact(inputs * width);
                for (element, panel) in elements.enumerate() {
                    let pixels = &pixels[element * pixel_stride..][..tiles * inputs];
                    let sums = &mut sums[element * sum_stride..][..tiles * width];
                    in_tiles!(S, tiles, |first, R| {
                        let rows = Rows {
                            values: &pixels[first * inputs..],
                            stride: inputs,
                            len: inputs,
                        };
                        let tile = tile::<S, R, REGISTERS>(simd, &[rows], panel);
                        let sums = sums[first * width..][..R * width].chunks_exact_mut(width);
                        for (sums, registers) in sums.zip(tile) {
                            for (sums, register) in
                                sums.chunks_exact_mut(S::F32_LANES).zip(registers)
                            {
                                store(simd, sums, register);
                            }
                        }
                    });
                }
                transform_sums(simd, &mut strip, block, &epilogue, index * width, sums);
            }
        }
    }
}

/// Tiles that are computed together.
#[derive(Clone, Copy)]
struct Block {
    /// The first tile, counted row by row.
    first: usize,
    tiles: usize,
    /// Tiles per row.
    across: usize,
}

impl Block {
    /// Row and column of each tile.
    #[inline(always)]
    fn places(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.tiles).map(move |tile| self.place(tile))
    }

    /// Row and column of one tile.
    #[inline(always)]
    fn place(self, tile: usize) -> (usize, usize) {
        let tile = self.first + tile;
        (tile / self.across, tile % self.across)
    }
}

/// Transforms the weights of some outputs to one panel.
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

/// The linear combination of three values with these factors, for all lanes.
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

/// 1-D filter transform G (6x3): row i evaluates the filter at point p_i, divided by the product of p_i - p_j over the other
/// points; the row of infinity is the last tap.
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

/// 1-D: the element of point 0 or infinity, from every other pixel.
#[inline(always)]
fn pixel_end<S: Simd>(simd: S, d: [S::f32s; 3]) -> S::f32s {
    let (a2, b2) = (A * A, B * B);
    scaled(simd, a2 * b2, d[0], scaled(simd, -(a2 + b2), d[1], d[2]))
}

/// 1-D: the elements of `point` and of `-point`, from the four pixels in the middle. `other` is the other point.
#[inline(always)]
fn pixel_pair<S: Simd>(simd: S, [point, other]: [f32; 2], d: [S::f32s; 4]) -> [S::f32s; 2] {
    let even = scaled(simd, -(other * other), d[1], d[3]);
    let odd = scaled(simd, -(other * other), d[0], d[2]);
    [
        scaled(simd, point, odd, even),
        scaled(simd, -point, odd, even),
    ]
}

/// 1-D pixel transform: six pixels to six elements.
#[inline(always)]
fn pixel_transform<S: Simd>(simd: S, d: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let middle = [d[1], d[2], d[3], d[4]];
    let [a, minus_a] = pixel_pair(simd, [A, B], middle);
    let [b, minus_b] = pixel_pair(simd, [B, A], middle);
    [
        pixel_end(simd, [d[0], d[2], d[4]]),
        a,
        minus_a,
        b,
        minus_b,
        pixel_end(simd, [d[1], d[3], d[5]]),
    ]
}

/// 1-D: the first and third of four results, from the first five elements.
#[inline(always)]
fn even_results<S: Simd>(simd: S, m: [S::f32s; 5]) -> [S::f32s; 2] {
    let (a, b) = (simd.add_f32s(m[1], m[2]), simd.add_f32s(m[3], m[4]));
    let third = simd.mul_f32s(simd.splat_f32s(B * B), b);
    [
        simd.add_f32s(m[0], simd.add_f32s(a, b)),
        scaled(simd, A * A, a, third),
    ]
}

/// 1-D: the second and fourth of four results, from the last five elements.
#[inline(always)]
fn odd_results<S: Simd>(simd: S, m: [S::f32s; 5]) -> [S::f32s; 2] {
    let (a, b) = (simd.sub_f32s(m[0], m[1]), simd.sub_f32s(m[2], m[3]));
    let second = simd.mul_f32s(simd.splat_f32s(B), b);
    [
        scaled(simd, A, a, second),
        scaled(simd, A * A * A, a, scaled(simd, B * B * B, b, m[4])),
    ]
}

/// 1-D sum transform: six elements to four results.
#[inline(always)]
fn sum_transform<S: Simd>(simd: S, m: [S::f32s; SIDE]) -> [S::f32s; TILE] {
    let [first, third] = even_results(simd, [m[0], m[1], m[2], m[3], m[4]]);
    let [second, fourth] = odd_results(simd, [m[1], m[2], m[3], m[4], m[5]]);
    [first, second, third, fourth]
}

/// `factor * x + y`
#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.mul_add_f32s(simd.splat_f32s(factor), x, y)
}

/// Transforms the pixels of each tile, from the `lines` of the strip, to `[element, tile, channel]`.
///
/// Two rows of elements at a time are computed in registers: reading pixels again for the next two is faster than storing a
/// tile that is half transformed.
#[allow(
    clippy::needless_range_loop,
    reason = "rows and columns, as on paper; iterators over registers are not always inlined"
)]
#[inline(always)]
fn transform_pixels<S: Simd>(
    simd: S,
    lines: &[&[f32]],
    block: Block,
    inputs: usize,
    pixels: &mut [f32],
) {
    let zero = simd.splat_f32s(0.0);
    let stride = pitch(block.tiles * inputs);
    for (tile, (row, column)) in block.places().enumerate() {
        let mut tile_lines = [lines[0]; SIDE];
        for y in 0..SIDE {
            tile_lines[y] = &lines[row * TILE + y][column * TILE * inputs..][..SIDE * inputs];
        }
        let (next_row, next_column) = block.place(tile + 1);
        let next_lines = lines[(next_row * TILE).min(lines.len())..]
            .iter()
            .take(SIDE);
        for channel in (0..inputs).step_by(S::F32_LANES) {
            let lanes = S::F32_LANES.min(inputs - channel);
            if channel.is_multiple_of(LINE) {
                for line in next_lines.clone() {
                    let start = line.as_ptr().wrapping_add(next_column * TILE * inputs);
                    // Its other columns are the last of this tile, except at the start of a row.
                    for x in SIDE - TILE..SIDE {
                        prefetch(start.wrapping_add(x * inputs + channel));
                    }
                }
            }
            let from = Pixels {
                lines: tile_lines,
                inputs,
                channel,
                lanes,
            };
            let mut to = Elements {
                values: &mut pixels[tile * inputs + channel..][..(ELEMENTS - 1) * stride + lanes],
                stride,
                lanes,
            };
            for (y, first) in [(0, 0), (SIDE - 1, 1)] {
                let mut row = [zero; SIDE];
                for x in 0..SIDE {
                    let others = [
                        from.at(simd, first, x),
                        from.at(simd, first + 2, x),
                        from.at(simd, first + 4, x),
                    ];
                    row[x] = pixel_end(simd, others);
                }
                to.put(simd, y, pixel_transform(simd, row));
            }
            for (y, points) in [(1, [A, B]), (3, [B, A])] {
                let mut rows = [[zero; SIDE]; 2];
                for x in 0..SIDE {
                    let middle = [
                        from.at(simd, 1, x),
                        from.at(simd, 2, x),
                        from.at(simd, 3, x),
                        from.at(simd, 4, x),
                    ];
                    [rows[0][x], rows[1][x]] = pixel_pair(simd, points, middle);
                }
                to.put(simd, y, pixel_transform(simd, rows[0]));
                to.put(simd, y + 1, pixel_transform(simd, rows[1]));
            }
        }
    }
}

/// Some channels of the pixels of a tile.
#[derive(Clone, Copy)]
struct Pixels<'a> {
    /// Rows of `[column, channel]`, each `SIDE * inputs` values.
    lines: [&'a [f32]; SIDE],
    inputs: usize,
    /// The first channel, and the number of channels: `channel + lanes <= inputs`.
    channel: usize,
    lanes: usize,
}

impl Pixels<'_> {
    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, y: usize, x: usize) -> S::f32s {
        debug_assert!(x < SIDE);
        let place = x * self.inputs + self.channel;
        // SAFETY: the line has `SIDE * inputs` values, all callers pass `x < SIDE`, and `channel + lanes <= inputs`.
        load_some(simd, unsafe {
            self.lines[y].get_unchecked(place..place + self.lanes)
        })
    }
}

/// The elements of one transformed tile, from a channel on.
struct Elements<'a> {
    /// `(ELEMENTS - 1) * stride + lanes` values.
    values: &'a mut [f32],
    /// Values from one element to the next.
    stride: usize,
    /// Number of channels.
    lanes: usize,
}

impl Elements<'_> {
    #[allow(clippy::needless_range_loop, reason = "registers, as above")]
    #[inline(always)]
    fn put<S: Simd>(&mut self, simd: S, y: usize, row: [S::f32s; SIDE]) {
        debug_assert!(y < SIDE && self.values.len() >= (ELEMENTS - 1) * self.stride + self.lanes);
        for x in 0..SIDE {
            let place = (y * SIDE + x) * self.stride;
            // SAFETY: all callers pass `y < SIDE`, so `y * SIDE + x < ELEMENTS`, and `values` has
            // `(ELEMENTS - 1) * stride + lanes` values.
            let values = unsafe { self.values.get_unchecked_mut(place..place + self.lanes) };
            store_some(simd, values, row[x]);
        }
    }
}

/// Prefetches the place of the results of the panel with the first channel `first`, and their residuals.
#[inline(always)]
fn prefetch_results<S: Simd>(strip: &Strip<'_>, block: Block, channels: usize, first: usize) {
    let last = channels.min(first + REGISTERS * S::F32_LANES);
    for (row, column) in block.places() {
        let rows = row * TILE..strip.out.len().min((row + 1) * TILE);
        for y in rows {
            let out = strip.out[y].as_ptr();
            let residual = strip.residual.get(y).map(|residual| residual.as_ptr());
            for x in 0..TILE {
                for channel in (first..last).step_by(LINE) {
                    let place = (column * TILE + x) * channels + channel;
                    prefetch(out.wrapping_add(place));
                    if let Some(residual) = residual {
                        prefetch(residual.wrapping_add(place));
                    }
                }
            }
        }
    }
}

/// Transforms `sums` `[element, tile, channel]` of the panel with the first channel `first` to the results. In registers as
/// in [`transform_pixels`].
#[allow(
    clippy::needless_range_loop,
    reason = "rows and columns, as on paper; iterators over registers are not always inlined"
)]
#[inline(always)]
fn transform_sums<S: Simd>(
    simd: S,
    strip: &mut Strip<'_>,
    block: Block,
    epilogue: &Epilogue<'_>,
    first: usize,
    sums: &[f32],
) {
    let zero = simd.splat_f32s(0.0);
    let width = REGISTERS * S::F32_LANES;
    let stride = pitch(block.tiles * width);
    let channels = epilogue.channels;
    let pixels = strip.out[0].len() / channels;
    for register in 0..REGISTERS {
        let channel = first + register * S::F32_LANES;
        if channel >= channels {
            return;
        }
        let affine = epilogue.affine.at(simd, channel);
        for (tile, (row, column)) in block.places().enumerate() {
            let sums = Sums {
                values: &sums[tile * width + register * S::F32_LANES..]
                    [..(ELEMENTS - 1) * stride + S::F32_LANES],
                stride,
            };
            // The last tile may exceed the edge.
            let columns = (pixels - column * TILE).min(TILE);
            let start = column * TILE * channels;
            for odd in [false, true] {
                let mut rows = [[zero; SIDE]; 2];
                for x in 0..SIDE {
                    let first = usize::from(odd);
                    let five = [
                        sums.at(simd, first, x),
                        sums.at(simd, first + 1, x),
                        sums.at(simd, first + 2, x),
                        sums.at(simd, first + 3, x),
                        sums.at(simd, first + 4, x),
                    ];
                    [rows[0][x], rows[1][x]] = if odd {
                        odd_results(simd, five)
                    } else {
                        even_results(simd, five)
                    };
                }
                for half in 0..2 {
                    let y = row * TILE + 2 * half + usize::from(odd);
                    let Some(out) = strip.out.get_mut(y) else {
                        continue;
                    };
                    let out = &mut out[start..][..columns * channels];
                    let residual = strip.residual.get(y);
                    let residual =
                        residual.map(|residual| &residual[start..][..columns * channels]);
                    let results = sum_transform(simd, rows[half]);
                    for x in 0..TILE {
                        if x < columns {
                            let pixel = x * channels;
                            // SAFETY: `out` and `residual` have `columns * channels` values, and `x < columns`.
                            let (out, residual) = unsafe {
                                (
                                    out.get_unchecked_mut(pixel..pixel + channels),
                                    residual.map(|r| r.get_unchecked(pixel..pixel + channels)),
                                )
                            };
                            epilogue.store(simd, results[x], affine, channel, residual, out);
                        }
                    }
                }
            }
        }
    }
}

/// The sums of one tile, from a channel on.
#[derive(Clone, Copy)]
struct Sums<'a> {
    /// `(ELEMENTS - 1) * stride` values and a register.
    values: &'a [f32],
    /// Values from one element to the next.
    stride: usize,
}

impl Sums<'_> {
    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, y: usize, x: usize) -> S::f32s {
        debug_assert!(y < SIDE && x < SIDE);
        let place = (y * SIDE + x) * self.stride;
        // SAFETY: all callers pass `y < SIDE` and `x < SIDE`, so `y * SIDE + x < ELEMENTS`, and `values` has
        // `(ELEMENTS - 1) * stride + F32_LANES` values.
        load(simd, unsafe {
            self.values.get_unchecked(place..place + S::F32_LANES)
        })
    }
}
