//! Weights as integers of 8 or 4 bits with scales in f16.
//!
//! A weight of shape `[outputs, ...]` is read as a matrix of one row for each output. A value is its integer times the
//! scale of its block: in int8 a block is a row, in int4 it is 32 values of a row, or fewer at its end. The integers are
//! symmetric about 0, so there is no zero point.
//!
//! In the file, `NAME` holds the integers and `NAME.scale` the scales, in f16:
//!
//! | | `NAME` | `NAME.scale` |
//! |---|---|---|
//! | int8 | `i8`, the shape of the weight | `[outputs]` |
//! | int4 | `u8`, `[outputs, half the values of a row, rounded up]`: two integers in two's complement, the first in the low four bits | `[outputs, blocks of a row]` |

use half::f16;
use serde::Serialize;

use crate::{Dtype, bundle::chunks, cast::round_to_odd, shape::len_of};

/// The suffix of the name of a weight's scales.
pub(crate) const SCALE: &str = ".scale";

/// Values of a row that share a scale in int4.
const BLOCK: usize = 32;

/// Integers as which weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Integers {
    /// 8 bits, one scale for each output.
    Int8,
    /// 4 bits, one scale for 32 inputs of an output.
    Int4,
}

/// A weight in integers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantized {
    /// The bytes of `NAME`.
    pub(crate) integers: Vec<u8>,
    /// The elements of `NAME.scale`.
    pub(crate) scales: Vec<f16>,
}

impl Integers {
    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// The integers that a tensor of this type holds.
    pub(crate) fn of(stored: Dtype) -> Option<Self> {
        match stored {
            Dtype::I8 => Some(Self::Int8),
            Dtype::U8 => Some(Self::Int4),
            _ => None,
        }
    }

    /// The element type of `NAME`.
    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Self::Int8 => Dtype::I8,
            Self::Int4 => Dtype::U8,
        }
    }

    /// Whether a tensor of this shape gains by it. Biases, the parameters of norms and the cutoffs of sinc filters have one
    /// value for each output.
    pub(crate) fn suit(shape: &[usize]) -> bool {
        shape.len() > 1 && inputs(shape) > 1
    }

    /// The shape of `NAME`, for a weight of this shape.
    pub(crate) fn shape(self, weight: &[usize]) -> Vec<usize> {
        match self {
            Self::Int8 => weight.to_vec(),
            Self::Int4 => vec![weight[0], inputs(weight).div_ceil(2)],
        }
    }

    /// The shape of `NAME.scale`, for a weight of this shape.
    pub(crate) fn scales(self, weight: &[usize]) -> Vec<usize> {
        match self {
            Self::Int8 => vec![weight[0]],
            Self::Int4 => vec![weight[0], inputs(weight).div_ceil(BLOCK)],
        }
    }

    /// The largest integer. The smallest is its negative.
    fn most(self) -> f64 {
        match self {
            Self::Int8 => 127.0,
            Self::Int4 => 7.0,
        }
    }

    /// Values that share a scale, in rows of `inputs` values.
    fn block(self, inputs: usize) -> usize {
        match self {
            Self::Int8 => inputs,
            Self::Int4 => BLOCK,
        }
    }

    /// The nearest integers to the values of a weight. The scale of a block is that of its largest value, rounded to f16
    /// before the integers are chosen.
    pub(crate) fn quantize(self, values: &[f64], shape: &[usize]) -> Quantized {
        let inputs = inputs(shape).max(1);
        let mut quantized = Quantized {
            integers: Vec::with_capacity(len_of(&self.shape(shape))),
            scales: Vec::with_capacity(len_of(&self.scales(shape))),
        };
        for row in values.chunks(inputs) {
            let mut integers = Vec::with_capacity(inputs);
            for block in row.chunks(self.block(inputs)) {
                let largest = block
                    .iter()
                    .fold(0.0_f64, |most, value| most.max(value.abs()));
                let scale = f16::from_f32(round_to_odd(largest / self.most()));
                quantized.scales.push(scale);
                integers.extend(block.iter().map(|value| {
                    match scale == f16::ZERO {
                        true => 0,
                        false => (value / scale.to_f64())
                            .round_ties_even()
                            .clamp(-self.most(), self.most())
                            as i8,
                    }
                }));
            }
            match self {
                Self::Int8 => quantized
                    .integers
                    .extend(integers.iter().map(|&n| n.cast_unsigned())),
                Self::Int4 => quantized.integers.extend(integers.chunks(2).map(|pair| {
                    let high = pair.get(1).copied().unwrap_or(0);
                    (pair[0].cast_unsigned() & 0x0f) | (high.cast_unsigned() << 4)
                })),
            }
        }
        quantized
    }

    /// The values of a weight of this shape. Each product is exact: an integer has 8 bits and a scale 11.
    pub(crate) fn widen(self, integers: &[u8], scales: &[u8], shape: &[usize]) -> Vec<f32> {
        let inputs = inputs(shape).max(1);
        let mut scales = chunks(scales).map(|bytes| f16::from_le_bytes(bytes).to_f32());
        let mut values = Vec::with_capacity(len_of(shape));
        let bytes_of_a_row = len_of(&self.shape(&[1, inputs])).max(1);
        for row in integers.chunks(bytes_of_a_row) {
            let integers: Vec<i8> = match self {
                Self::Int8 => row.iter().map(|byte| byte.cast_signed()).collect(),
                // The sign of four bits is extended by shifting them up and down.
                Self::Int4 => row
                    .iter()
                    .flat_map(|byte| [(byte << 4).cast_signed() >> 4, byte.cast_signed() >> 4])
                    .take(inputs)
                    .collect(),
            };
            for block in integers.chunks(self.block(inputs)) {
                // As many scales as blocks: their shape was compared with that of the weight.
                let scale = scales.next().unwrap_or_default();
                values.extend(block.iter().map(|&integer| f32::from(integer) * scale));
            }
        }
        values
    }

    /// The values of a weight after it was stored as integers.
    #[must_use]
    pub fn rounded(self, values: &[f64], shape: &[usize]) -> Vec<f32> {
        let Quantized { integers, scales } = self.quantize(values, shape);
        self.widen(&integers, &bytes(&scales), shape)
    }
}

impl std::fmt::Display for Integers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The bytes of scales in a file.
pub(crate) fn bytes(scales: &[f16]) -> Vec<u8> {
    scales
        .iter()
        .flat_map(|scale| scale.to_le_bytes())
        .collect()
}

/// Values of a row.
fn inputs(shape: &[usize]) -> usize {
    len_of(shape.get(1..).unwrap_or_default())
}
