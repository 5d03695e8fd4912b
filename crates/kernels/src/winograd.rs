//! 3x3 convolutions with a quarter of the multiplications.
//!
//! F(4x4, 3x3) of Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (CVPR 2016): a tile of
//! 4x4 results comes from 6x6 pixels and 6x6 transformed weights, element by element, so that each of the 36
//! elements is one product over the channels. The transforms are those of Toom and Cook for the points 0, ±A,
//! ±B and infinity.

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
/// Values of transformed pixels that a core works on at a time: half a megabyte, for its own cache.
const AT_ONCE: usize = 1 << 17;
/// Tiles that a core works on at a time, at least and at most: those that fill the rows of a product, times a few.
const TILES: [usize; 2] = [12, 24];

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

    /// Tiles that are worked on at a time.
    pub(crate) fn tiles(&self) -> usize {
        let [least, most] = TILES;
        let tiles = (AT_ONCE / (ELEMENTS * self.inputs)).clamp(least, most);
        tiles / least * least
    }

    /// The rows of `strip` and what follows, with scratch memory of `pool`.
    pub(crate) fn forward(&self, strip: Strip<'_>, epilogue: Epilogue<'_>, pool: &Pool) {
        let width = self.weights.width();
        let tiles = self.tiles();
        let (pixels, sums) = (apart(tiles * self.inputs), apart(tiles * width));
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
    /// Room for transformed pixels, `[element, tile, channel]`.
    pixels: &'a mut [f32],
    /// Room for their products with one panel of the weights, `[element, tile, channel of the panel]`.
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
            let (pixels_apart, sums_apart) = (apart(tiles * inputs), apart(tiles * width));
            transform_pixels(simd, &strip.lines, block, inputs, pixels);
            for index in 0..winograd.weights.count() {
                // While the products take their time.
                prefetch_results::<S>(&strip, block, epilogue.channels, index * width);
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

/// Tiles that are worked on together.
#[derive(Clone, Copy)]
struct Block {
    /// The first of them, counted row by row.
    first: usize,
    tiles: usize,
    /// Tiles in a row of them.
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

/// The element of a point at an end, 0 or infinity, from every other pixel, in one dimension.
#[inline(always)]
fn pixel_end<S: Simd>(simd: S, d: [S::f32s; 3]) -> S::f32s {
    let (a2, b2) = (A * A, B * B);
    scaled(simd, a2 * b2, d[0], scaled(simd, -(a2 + b2), d[1], d[2]))
}

/// The elements of `point` and its opposite from the four pixels in the middle, in one dimension. `other` is the other
/// point.
#[inline(always)]
fn pixel_pair<S: Simd>(simd: S, [point, other]: [f32; 2], d: [S::f32s; 4]) -> [S::f32s; 2] {
    let even = scaled(simd, -(other * other), d[1], d[3]);
    let odd = scaled(simd, -(other * other), d[0], d[2]);
    [
        scaled(simd, point, odd, even),
        scaled(simd, -point, odd, even),
    ]
}

/// Pixels to elements, in one dimension.
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

/// The first and third of four results, from the first five elements, in one dimension.
#[inline(always)]
fn even_results<S: Simd>(simd: S, m: [S::f32s; 5]) -> [S::f32s; 2] {
    let (a, b) = (simd.add_f32s(m[1], m[2]), simd.add_f32s(m[3], m[4]));
    let third = simd.mul_f32s(simd.splat_f32s(B * B), b);
    [
        simd.add_f32s(m[0], simd.add_f32s(a, b)),
        scaled(simd, A * A, a, third),
    ]
}

/// The second and fourth of four results, from the last five elements, in one dimension.
#[inline(always)]
fn odd_results<S: Simd>(simd: S, m: [S::f32s; 5]) -> [S::f32s; 2] {
    let (a, b) = (simd.sub_f32s(m[0], m[1]), simd.sub_f32s(m[2], m[3]));
    let second = simd.mul_f32s(simd.splat_f32s(B), b);
    [
        scaled(simd, A, a, second),
        scaled(simd, A * A * A, a, scaled(simd, B * B * B, b, m[4])),
    ]
}

/// Sums of elements to results, in one dimension.
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

/// The pixels of each tile, of the `lines` that the strip depends on, to `[element, tile, channel]`.
///
/// Two rows of elements at a time stay in registers until they are done: what is read again for the next two costs
/// less than writing down a tile that is half transformed.
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
    let apart = apart(block.tiles * inputs);
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
            let room = S::F32_LANES.min(inputs - channel);
            if channel.is_multiple_of(LINE) {
                for line in next_lines.clone() {
                    let start = line.as_ptr().wrapping_add(next_column * TILE * inputs);
                    // The first columns are the last of this tile, but at the beginning of a row.
                    for x in SIDE - TILE..SIDE {
                        prefetch(start.wrapping_add(x * inputs + channel));
                    }
                }
            }
            let from = Pixels {
                lines: tile_lines,
                inputs,
                channel,
                room,
            };
            let mut to = Elements {
                values: &mut pixels[tile * inputs + channel..][..(ELEMENTS - 1) * apart + room],
                apart,
                room,
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

/// Some channels of the pixels that a tile depends on.
#[derive(Clone, Copy)]
struct Pixels<'a> {
    /// `[column, channel]` each.
    lines: [&'a [f32]; SIDE],
    inputs: usize,
    /// The first channel, and how many there are.
    channel: usize,
    room: usize,
}

impl Pixels<'_> {
    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, y: usize, x: usize) -> S::f32s {
        debug_assert!(x < SIDE);
        let place = x * self.inputs + self.channel;
        // SAFETY: a line has `SIDE` pixels of `inputs` channels each, of which `room` follow `channel`.
        load_some(simd, unsafe {
            self.lines[y].get_unchecked(place..place + self.room)
        })
    }
}

/// Where the elements of one transformed tile go, from a channel on.
struct Elements<'a> {
    values: &'a mut [f32],
    /// Values from one element to the next.
    apart: usize,
    /// Channels.
    room: usize,
}

impl Elements<'_> {
    #[allow(clippy::needless_range_loop, reason = "registers, as above")]
    #[inline(always)]
    fn put<S: Simd>(&mut self, simd: S, y: usize, row: [S::f32s; SIDE]) {
        debug_assert!(y < SIDE && self.values.len() >= (ELEMENTS - 1) * self.apart + self.room);
        for x in 0..SIDE {
            let place = (y * SIDE + x) * self.apart;
            // SAFETY: `y` and `x` are below `SIDE`, whose square is `ELEMENTS`.
            let values = unsafe { self.values.get_unchecked_mut(place..place + self.room) };
            store_some(simd, values, row[x]);
        }
    }
}

/// Asks for where the results of the panel whose first channel is `first` go, and for what is added to them.
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

/// `[element, tile, channel]` of the panel whose first channel is `first`, to the results. In registers as
/// [`transform_pixels`].
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
    let apart = apart(block.tiles * width);
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
                    [..(ELEMENTS - 1) * apart + S::F32_LANES],
                apart,
            };
            // The last tile may reach over the edge.
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
                            // SAFETY: both have `columns` pixels of `channels` channels.
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
    values: &'a [f32],
    /// Values from one element to the next.
    apart: usize,
}

impl Sums<'_> {
    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, y: usize, x: usize) -> S::f32s {
        debug_assert!(y < SIDE && x < SIDE);
        let place = (y * SIDE + x) * self.apart;
        // SAFETY: `y` and `x` are below `SIDE`, whose square is `ELEMENTS`.
        load(simd, unsafe {
            self.values.get_unchecked(place..place + S::F32_LANES)
        })
    }
}
