//! Convolution over images, with norm, residual and ReLU.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::{
    Images, InstructionSet,
    buffer::Pool,
    epilogue::{Affine, Epilogue},
    images::{BORDER, TILE},
    product::{Panels, REGISTERS, Rows, in_tiles, tile},
    strip::Strip,
    winograd::Winograd,
};

/// Fewest channels for which the transforms are faster.
const WINOGRAD_CHANNELS: usize = 16;
/// Tiles of results that a direct convolution computes together.
const DIRECT_TILES: usize = 24;

/// A convolution, a scale and a shift of each channel, and optionally a residual and a ReLU, in one pass.
///
/// Kernels are 1x1 or 3x3, with zero padding of half their size.
#[derive(Debug, Clone)]
pub struct Conv2d {
    instructions: InstructionSet,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    algorithm: Algorithm,
    affine: Affine,
}

#[derive(Debug, Clone)]
enum Algorithm {
    /// Products of the pixels under the kernel, row by row, with the weights.
    Direct(Panels),
    Winograd(Winograd),
}

impl Conv2d {
    /// A convolution of `weight` `[outputs, inputs, kernel, kernel]`, and the `scale` and `shift` `[outputs]` of a batch
    /// norm in evaluation.
    ///
    /// # Panics
    /// If the slices have other lengths, or `kernel` is neither 1 nor 3.
    #[must_use]
    pub fn new(
        instructions: InstructionSet,
        [outputs, inputs, kernel]: [usize; 3],
        stride: usize,
        weight: &[f32],
        scale: &[f32],
        shift: &[f32],
    ) -> Self {
        assert!(kernel == 1 || kernel == 3);
        assert_eq!(weight.len(), outputs * inputs * kernel * kernel);
        assert_eq!((scale.len(), shift.len()), (outputs, outputs));
        let winograd = kernel == 3 && stride == 1 && inputs.min(outputs) >= WINOGRAD_CHANNELS;
        let algorithm = if winograd {
            Algorithm::Winograd(Winograd::new(instructions, [outputs, inputs], weight))
        } else {
            let taps = kernel * kernel;
            Algorithm::Direct(Panels::new(
                instructions,
                taps * inputs,
                outputs,
                |row, output| {
                    let (tap, input) = (row / inputs, row % inputs);
                    weight[(output * inputs + input) * taps + tap]
                },
            ))
        };
        Self {
            instructions,
            inputs,
            outputs,
            kernel,
            stride,
            algorithm,
            affine: Affine::new(scale, shift),
        }
    }

    /// `images` `[batch, inputs, height, width]` to `[batch, outputs, height / stride, width / stride]`, rounded up:
    /// `(x * weight) * scale + shift`, plus `residual` if there is one, and a ReLU if `relu`. NaN stays NaN.
    ///
    /// # Panics
    /// If the images have another number of channels, or `residual` another shape than the result.
    pub fn forward(&self, images: &Images, residual: Option<&Images>, relu: bool) -> Images {
        let shape = self.out_shape(images.shape());
        assert!(residual.is_none_or(|residual| residual.shape() == shape));
        let mut out = Images::new(images.pool(), shape);
        let mut rows = out.rows_mut().peekable();
        let mut strips = Vec::new();
        let at_once = self.rows_at_once(shape[3]);
        while let Some((index, first, _)) = rows.peek() {
            let (index, first) = (*index, *first);
            let range = first..shape[2].min(first + at_once);
            let lines = self.lines(range.clone());
            strips.push(Strip {
                lines: lines.map(|y| images.line(index, y)).collect(),
                residual: residual.map_or_else(Vec::new, |residual| {
                    range.clone().map(|y| residual.row(index, y)).collect()
                }),
                out: rows
                    .by_ref()
                    .take(range.len())
                    .map(|(_, _, row)| row)
                    .collect(),
            });
        }
        drop(rows);
        strips
            .into_par_iter()
            .for_each(|strip| self.strip(strip, relu, images.pool()));
        out
    }

    /// Number of weights.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.outputs * self.inputs * self.kernel * self.kernel
    }

    /// The shape of the result for images of this shape.
    pub(crate) fn out_shape(&self, [batch, channels, height, width]: [usize; 4]) -> [usize; 4] {
        assert_eq!(channels, self.inputs);
        [
            batch,
            self.outputs,
            height.div_ceil(self.stride),
            width.div_ceil(self.stride),
        ]
    }

    /// Rows of a result of `width` columns that are computed together.
    pub(crate) fn rows_at_once(&self, width: usize) -> usize {
        let tiles = match &self.algorithm {
            Algorithm::Winograd(winograd) => winograd.tiles(),
            Algorithm::Direct(_) => DIRECT_TILES,
        };
        TILE * (tiles / width.div_ceil(TILE)).max(1)
    }

    /// The input rows of a strip of the result rows `rows`. Some are outside the image.
    pub(crate) fn lines(&self, rows: Range<usize>) -> Range<isize> {
        let top = (rows.start * self.stride) as isize - BORDER as isize;
        let count = match &self.algorithm {
            Algorithm::Winograd(_) => rows.len().next_multiple_of(TILE),
            Algorithm::Direct(_) => (rows.len() - 1) * self.stride + 1,
        };
        top..top + (count + 2 * BORDER) as isize
    }

    /// Computes the rows of `strip`, with a ReLU if `relu`, and with scratch memory of `pool`.
    pub(crate) fn strip(&self, strip: Strip<'_>, relu: bool, pool: &Pool) {
        let epilogue = Epilogue {
            affine: &self.affine,
            relu,
            channels: self.outputs,
        };
        match &self.algorithm {
            Algorithm::Direct(weight) => self.instructions.run(Direct {
                conv: self,
                weight,
                strip,
                epilogue,
            }),
            Algorithm::Winograd(winograd) => winograd.forward(strip, epilogue, pool),
        }
    }
}

/// A direct convolution over the rows of a strip.
struct Direct<'a> {
    conv: &'a Conv2d,
    weight: &'a Panels,
    strip: Strip<'a>,
    epilogue: Epilogue<'a>,
}

impl WithSimd for Direct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            conv,
            weight,
            mut strip,
            epilogue,
        } = self;
        let (inputs, outputs) = (conv.inputs, conv.outputs);
        let corner = BORDER - conv.kernel / 2;
        for index in 0..weight.count() {
            let panel = weight.panel(index);
            for (y, out) in strip.out.iter_mut().enumerate() {
                let lines = &strip.lines[y * conv.stride + corner..];
                let residual = strip.residual.get(y);
                in_tiles!(S, out.len() / outputs, |x, R| {
                    let line = |line: usize| Rows {
                        values: &lines[line][(x * conv.stride + corner) * inputs..],
                        stride: conv.stride * inputs,
                        len: conv.kernel * inputs,
                    };
                    let sums = if conv.kernel == 1 {
                        tile::<S, R, REGISTERS>(simd, &[line(0)], panel)
                    } else {
                        tile::<S, R, REGISTERS>(simd, &[line(0), line(1), line(2)], panel)
                    };
                    for (sums, x) in sums.into_iter().zip(x..) {
                        let pixel = x * outputs..(x + 1) * outputs;
                        let residual = residual.map(|residual| &residual[pixel.clone()]);
                        let out = &mut out[pixel];
                        for (register, sums) in sums.into_iter().enumerate() {
                            let channel = index * weight.width() + register * S::F32_LANES;
                            if channel < outputs {
                                let affine = epilogue.affine.at(simd, channel);
                                epilogue.store(simd, sums, affine, channel, residual, out);
                            }
                        }
                    }
                });
            }
        }
    }
}
