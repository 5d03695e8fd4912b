//! Convolution over images, with what follows it.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::{
    Images, InstructionSet,
    epilogue::{Affine, Epilogue},
    images::BORDER,
    product::{Panels, REGISTERS, Rows, in_tiles, tile},
    winograd::Winograd,
};

/// Fewest channels for which transforms pay.
const WINOGRAD_CHANNELS: usize = 16;

/// A convolution, a scale and a shift of each channel, and where wanted the sum with another image and a
/// ReLU, in one pass.
///
/// Square kernels of 1 or 3, padded with zeros by half of it.
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
    /// Each pixel is the product of the pixels below the kernel, row by row, with the weights.
    Direct(Panels),
    Winograd(Winograd),
}

impl Conv2d {
    /// From `weight` `[outputs, inputs, kernel, kernel]` and the `scale` and `shift` `[outputs]` that a norm in
    /// evaluation is.
    ///
    /// # Panics
    /// Where the slices are not of these sizes, or `kernel` is neither 1 nor 3.
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

    /// `images` `[batch, inputs, height, width]` to `[batch, outputs, height / stride, width / stride]`, rounded
    /// up: `(x * weight) * scale + shift`, plus `residual` of the shape of the result where there is one, and
    /// negative values to 0 if `relu`. NaN stays NaN.
    ///
    /// # Panics
    /// Where the images have other channels than these.
    #[must_use]
    pub fn forward(&self, images: &Images, residual: Option<&Images>, relu: bool) -> Images {
        let [batch, channels, height, width] = images.shape();
        assert_eq!(channels, self.inputs);
        let shape = [
            batch,
            self.outputs,
            height.div_ceil(self.stride),
            width.div_ceil(self.stride),
        ];
        assert!(residual.is_none_or(|residual| residual.shape() == shape));
        let mut out = Images::new(images.pool(), shape);
        let epilogue = Epilogue {
            affine: &self.affine,
            relu,
            channels: self.outputs,
        };
        match &self.algorithm {
            Algorithm::Direct(weight) => self.direct(weight, images, residual, epilogue, &mut out),
            Algorithm::Winograd(winograd) => {
                winograd.forward(images, residual, epilogue, &mut out);
            }
        }
        out
    }

    fn direct(
        &self,
        weight: &Panels,
        images: &Images,
        residual: Option<&Images>,
        epilogue: Epilogue<'_>,
        out: &mut Images,
    ) {
        let rows: Vec<_> = out.rows_mut().collect();
        rows.into_par_iter().for_each(|(index, y, out)| {
            self.instructions.run(Row {
                conv: self,
                weight,
                image: images.image(index),
                pitch: images.pitch(),
                y,
                epilogue,
                residual: residual.map(|residual| residual.row(index, y)),
                out,
            });
        });
    }
}

/// One row of the result.
struct Row<'a> {
    conv: &'a Conv2d,
    weight: &'a Panels,
    image: &'a [f32],
    pitch: usize,
    /// Which row of the result.
    y: usize,
    epilogue: Epilogue<'a>,
    residual: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            conv,
            weight,
            pitch,
            ..
        } = self;
        let (inputs, outputs) = (conv.inputs, conv.outputs);
        let corner = BORDER - conv.kernel / 2;
        let top = (self.y * conv.stride + corner) * pitch + corner * inputs;
        for index in 0..weight.count() {
            let panel = weight.panel(index);
            in_tiles!(S, self.out.len() / outputs, |x, R| {
                let line = |line: usize| Rows {
                    values: &self.image[top + line * pitch + x * conv.stride * inputs..],
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
                    let residual = self.residual.map(|residual| &residual[pixel.clone()]);
                    let out = &mut self.out[pixel];
                    for (register, sums) in sums.into_iter().enumerate() {
                        let channel = index * weight.width() + register * S::F32_LANES;
                        if channel < outputs {
                            let affine = self.epilogue.affine.at(simd, channel);
                            self.epilogue
                                .store(simd, sums, affine, channel, residual, out);
                        }
                    }
                }
            });
        }
    }
}
