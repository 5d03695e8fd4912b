//! Conversion of weights to another floating point type.

use std::borrow::Cow;

use serde::Serialize;
use soundalike_network::{Output, Role};

use crate::{
    Dtype,
    bundle::{Bundle, Draft, Tensor},
    error::{Error, ErrorKind, NotFinite},
};

/// The effect of a conversion to another type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CastReport {
    /// The target type.
    pub dtype: Dtype,
    /// Number of converted tensors: the trained ones, and baked sinc filters.
    pub converted: usize,
    /// Unchanged tensors: buffers, which are constants and statistics of a few hundred values (`running_var` or `n_`
    /// with 8 bits of mantissa would lose accuracy and save nothing), and all tensors of a PLDA.
    pub kept: Vec<String>,
    /// Number of values in the converted tensors.
    pub values: usize,
    /// Number of values that changed.
    pub rounded: usize,
    /// Number of values rounded to 0.
    pub underflowed: usize,
    /// Number of values below the smallest normal number of the type, which have fewer digits.
    pub subnormal: usize,
}

impl Bundle {
    /// The same network with its weights in another floating point type, rounded to nearest, ties to even. Buffers are
    /// unchanged, see [`CastReport::kept`].
    ///
    /// # Errors
    /// The type is not `f32`, `f16` or `bf16`, or a weight would become infinite. The error lists all such tensors.
    pub fn cast(&self, dtype: Dtype) -> Result<(Self, CastReport), Error> {
        let origin = self.source().file.clone();
        self.cast_kind(dtype).map_err(|kind| kind.at(origin))
    }

    fn cast_kind(&self, dtype: Dtype) -> Result<(Self, CastReport), ErrorKind> {
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(ErrorKind::CastTarget(dtype));
        }
        let mut report = CastReport {
            dtype,
            converted: 0,
            kept: Vec::new(),
            values: 0,
            rounded: 0,
            underflowed: 0,
            subnormal: 0,
        };
        let mut overflowed = Vec::new();
        let roles = self.roles();
        let plda = matches!(self.architecture().output(), Output::Comparison { .. });
        let mut changed = false;
        let mut drafts = Vec::new();
        for tensor in self.tensors() {
            // Baked filters are buffers by role, but replace trained weights. The PLDA computes in f64.
            let weight = !plda
                && (roles.get(tensor.name) == Some(&Role::Parameter)
                    || tensor.name == "sincnet.conv1d.0.filters");
            if !weight || !tensor.dtype.is_float() {
                report.kept.push(tensor.name.into());
                let elements = move || Cow::Borrowed(tensor.bytes);
                let draft = Draft::new(tensor.name, tensor.dtype, tensor.shape, elements);
                drafts.push(draft);
                continue;
            }
            let infinite = count(&tensor, dtype, &mut report);
            if infinite > 0 {
                overflowed.push(NotFinite {
                    tensor: tensor.name.into(),
                    values: infinite,
                });
            }
            report.converted += 1;
            changed |= tensor.dtype != dtype;
            let elements = move || Cow::Owned(convert(&tensor, dtype));
            drafts.push(Draft::new(tensor.name, dtype, tensor.shape, elements));
        }
        if !overflowed.is_empty() {
            return Err(ErrorKind::Overflow(dtype, overflowed));
        }
        let mut header = self.header.clone();
        if changed {
            header.notes.push(format!(
                "weights were converted to {dtype}; buffers were kept"
            ));
        }
        Ok((Self::assemble(&header, &drafts)?, report))
    }
}

/// Adds the effect of the conversion to the report. Returns the number of values that become infinite.
fn count(tensor: &Tensor<'_>, dtype: Dtype, report: &mut CastReport) -> usize {
    let mut infinite = 0;
    for before in tensor.to_f64().unwrap_or_default() {
        let (after, normal) = match dtype {
            Dtype::F16 => {
                let value = half::f16::from_f32(round_to_odd(before));
                (value.to_f64(), value.is_normal())
            }
            Dtype::BF16 => {
                let value = half::bf16::from_f32(round_to_odd(before));
                (value.to_f64(), value.is_normal())
            }
            _ => (f64::from(before as f32), (before as f32).is_normal()),
        };
        report.values += 1;
        infinite += usize::from(after.is_infinite());
        report.rounded += usize::from(after != before);
        report.underflowed += usize::from(after == 0.0 && before != 0.0);
        report.subnormal += usize::from(after != 0.0 && after.is_finite() && !normal);
    }
    infinite
}

fn convert(tensor: &Tensor<'_>, dtype: Dtype) -> Vec<u8> {
    let values = tensor.to_f64().unwrap_or_default().into_iter();
    match dtype {
        Dtype::F16 => values
            .flat_map(|value| half::f16::from_f32(round_to_odd(value)).to_le_bytes())
            .collect(),
        Dtype::BF16 => values
            .flat_map(|value| half::bf16::from_f32(round_to_odd(value)).to_le_bytes())
            .collect(),
        _ => values
            .flat_map(|value| (value as f32).to_le_bytes())
            .collect(),
    }
}

/// An `f64` as `f32`, rounded to odd: if digits are lost, the last digit kept is odd. Rounding the result to fewer bits
/// then equals rounding the `f64`, while rounding to nearest twice can differ by a false tie. Boldo and Melquiond,
/// "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) == value || value.is_nan() {
        return nearest;
    }
    let bits = nearest.to_bits();
    let toward_zero = if f64::from(nearest).abs() > value.abs() {
        bits.wrapping_sub(1)
    } else {
        bits
    };
    f32::from_bits(toward_zero | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The neighbours of a value among those of a type, found without the conversion under test:
    /// the nearest of all finite ones, the even one of two as near.
    fn nearest(value: f64, all: &[(f64, u16)]) -> u16 {
        let after = all
            .partition_point(|&(other, _)| other < value)
            .min(all.len() - 1);
        let (below, above) = (all[after.saturating_sub(1)], all[after]);
        let (down, up) = ((value - below.0).abs(), (above.0 - value).abs());
        if down < up || (down == up && below.1 & 1 == 0) {
            below.1
        } else {
            above.1
        }
    }

    /// All values of a type from 0 up, sorted.
    fn positive(to_f64: impl Fn(u16) -> f64) -> Vec<(f64, u16)> {
        (0..0x8000)
            .map(|bits| (to_f64(bits), bits))
            .filter(|(value, _)| value.is_finite())
            .collect()
    }

    #[test]
    fn f64_is_rounded_once_to_the_nearest_even() {
        let f16 = positive(|bits| half::f16::from_bits(bits).to_f64());
        let bf16 = positive(|bits| half::bf16::from_bits(bits).to_f64());
        // Every point halfway between two neighbours, and the `f64` on either side of it: rounding
        // to `f32` first would make ties of those.
        for pair in f16.windows(2) {
            let middle = (pair[0].0 + pair[1].0) / 2.0;
            for value in [middle.next_down(), middle, middle.next_up()] {
                let found = half::f16::from_f32(round_to_odd(value)).to_bits();
                assert_eq!(found, nearest(value, &f16), "{value:e}");
            }
        }
        for pair in bf16.windows(2) {
            let middle = (pair[0].0 + pair[1].0) / 2.0;
            for value in [middle.next_down(), middle, middle.next_up()] {
                let found = half::bf16::from_f32(round_to_odd(value)).to_bits();
                assert_eq!(found, nearest(value, &bf16), "{value:e}");
            }
        }
    }

    #[test]
    fn digits_that_are_lost_leave_an_odd_last_digit_of_the_value_toward_zero() {
        for last in 1.0_f32.to_bits()..1.0_f32.to_bits() + 8 {
            let [below, above] = [last, last + 1].map(|bits| f64::from(f32::from_bits(bits)));
            for part in [0.1, 0.5, 0.9] {
                let value = below + part * (above - below);
                let odd = last | 1;
                assert_eq!(round_to_odd(value).to_bits(), odd, "{value:e}");
                assert_eq!(round_to_odd(-value), -f32::from_bits(odd));
            }
            assert_eq!(round_to_odd(below).to_bits(), last);
        }
    }

    #[test]
    fn what_is_too_large_becomes_infinite_and_is_counted() {
        // 65504 is the largest f16; from 65520 on, the nearest is infinity.
        let values = [
            65504.0_f32,
            65519.9,
            65520.0,
            -70000.0,
            1e-9,
            6e-8,
            0.1,
            0.0,
            -0.0,
        ];
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        let tensor = Tensor {
            name: "x",
            dtype: Dtype::F32,
            shape: &[9],
            bytes: &bytes,
        };
        let mut report = CastReport {
            dtype: Dtype::F16,
            converted: 0,
            kept: Vec::new(),
            values: 0,
            rounded: 0,
            underflowed: 0,
            subnormal: 0,
        };
        assert_eq!(count(&tensor, Dtype::F16, &mut report), 2);
        assert_eq!(
            (report.values, report.underflowed, report.subnormal),
            (9, 1, 1)
        );
        // All but 65504 and the zeros.
        assert_eq!(report.rounded, 6);
    }
}
