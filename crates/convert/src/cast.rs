//! Conversion of weights to another type.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use soundalike_network::{Output, Role};

use crate::{
    Dtype, Integers,
    bundle::{Bundle, Draft, INTEGER_FORMAT, Tensor},
    error::{Error, ErrorKind, NotFinite},
    integers::{self, Quantized, SCALE},
};

/// The type as which the weights of a bundle are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16.
    BF16,
    /// Integers with scales; biases, the parameters of norms and the cutoffs of sinc filters stay as they are.
    Integers(Integers),
}

impl WeightType {
    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => Dtype::F32.name(),
            Self::F16 => Dtype::F16.name(),
            Self::BF16 => Dtype::BF16.name(),
            Self::Integers(integers) => integers.name(),
        }
    }
}

impl std::fmt::Display for WeightType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for WeightType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The effect of a conversion to another type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CastReport {
    /// The target type.
    pub dtype: WeightType,
    /// Number of converted tensors: the trained ones, and baked sinc filters.
    pub converted: usize,
    /// Unchanged tensors: buffers, which are constants and statistics of a few hundred values (`running_var` or `n_`
    /// with 8 bits of mantissa would lose accuracy and save nothing), all tensors of a PLDA, those that the caller keeps,
    /// and what does not gain by integers.
    pub kept: Vec<String>,
    /// Number of values in the converted tensors.
    pub values: usize,
    /// Number of values that changed.
    pub rounded: usize,
    /// Number of values rounded to 0.
    pub underflowed: usize,
    /// Number of values below the smallest normal number of the type, which have fewer digits.
    pub subnormal: usize,
    /// What each converted tensor lost, the largest first.
    pub changes: Vec<Change>,
    /// Bytes of the file before.
    pub bytes_before: usize,
    /// Bytes of the file after.
    pub bytes_after: usize,
}

/// What a tensor lost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Its name.
    pub tensor: String,
    /// Root mean square of the rounding errors, in units of that of the values.
    pub relative: f64,
}

impl CastReport {
    fn new(dtype: WeightType, bytes_before: usize) -> Self {
        Self {
            dtype,
            converted: 0,
            kept: Vec::new(),
            values: 0,
            rounded: 0,
            underflowed: 0,
            subnormal: 0,
            changes: Vec::new(),
            bytes_before,
            bytes_after: bytes_before,
        }
    }

    /// Adds a tensor with its values before and after. Returns how many became infinite.
    fn add(&mut self, name: &str, before: &[f64], after: &[f64]) -> usize {
        let normal: f64 = match self.dtype {
            WeightType::F32 => f32::MIN_POSITIVE.into(),
            WeightType::F16 => half::f16::MIN_POSITIVE.into(),
            WeightType::BF16 => half::bf16::MIN_POSITIVE.into(),
            // Every integer has all its digits.
            WeightType::Integers(_) => 0.0,
        };
        let (mut infinite, mut error, mut power) = (0, 0.0, 0.0);
        for (&before, &after) in before.iter().zip(after) {
            infinite += usize::from(!after.is_finite());
            self.rounded += usize::from(after != before);
            self.underflowed += usize::from(after == 0.0 && before != 0.0);
            self.subnormal += usize::from(after != 0.0 && after.abs() < normal);
            error += (after - before).powi(2);
            power += before.powi(2);
        }
        self.values += before.len();
        self.converted += 1;
        // A tensor of zeros loses nothing.
        let relative = if power > 0.0 {
            (error / power).sqrt()
        } else {
            0.0
        };
        self.changes.push(Change {
            tensor: name.to_owned(),
            relative,
        });
        infinite
    }
}

impl Bundle {
    /// The same network with its weights in another type, rounded to nearest, ties to even. Buffers and the weights that
    /// `keep` names are unchanged, see [`CastReport::kept`].
    ///
    /// # Errors
    /// A weight would become infinite. The error lists all such tensors.
    pub fn cast(
        &self,
        to: WeightType,
        keep: impl Fn(&str) -> bool,
    ) -> Result<(Self, CastReport), Error> {
        let origin = self.source().file.clone();
        self.cast_kind(to, keep).map_err(|kind| kind.at(origin))
    }

    fn cast_kind(
        &self,
        to: WeightType,
        keep: impl Fn(&str) -> bool,
    ) -> Result<(Self, CastReport), ErrorKind> {
        let mut report = CastReport::new(to, self.file().len());
        let mut overflowed = Vec::new();
        let roles = self.roles();
        let plda = matches!(self.architecture().output(), Output::Comparison { .. });
        let mut drafts = Vec::new();
        for tensor in self.tensors() {
            // Baked filters are buffers by role, but replace trained weights. The PLDA computes in f64.
            let weight = !plda
                && (roles.get(tensor.name) == Some(&Role::Parameter)
                    || tensor.name == "sincnet.conv1d.0.filters");
            let suits = match to {
                WeightType::Integers(_) => Integers::suit(tensor.shape),
                _ => true,
            };
            let values = tensor
                .to_f64()
                .filter(|_| weight && suits && !keep(tensor.name));
            let Some(values) = values else {
                report.kept.push(tensor.name.into());
                let elements = move || Cow::Borrowed(tensor.bytes);
                let draft = Draft::new(tensor.name, tensor.dtype, tensor.shape, elements);
                drafts.push(draft);
                continue;
            };
            let (after, stored) = converted(&tensor, &values, to);
            drafts.extend(stored);
            let infinite = report.add(tensor.name, &values, &after);
            if infinite > 0 {
                overflowed.push(NotFinite {
                    tensor: tensor.name.into(),
                    values: infinite,
                });
            }
        }
        if !overflowed.is_empty() {
            return Err(ErrorKind::Overflow(to, overflowed));
        }
        let by_loss = |a: &Change, b: &Change| b.relative.total_cmp(&a.relative);
        report.changes.sort_by(by_loss);
        let mut header = self.header.clone();
        let changed = drafts.iter().any(|draft| {
            let before = self.tensor(&draft.name);
            before.is_none_or(|before| before.dtype != draft.dtype)
        });
        if changed {
            let what = match to {
                WeightType::Integers(_) => "what is no matrix was kept",
                _ => "buffers were kept",
            };
            header
                .notes
                .push(format!("weights were converted to {to}; {what}"));
        }
        if matches!(to, WeightType::Integers(_)) && report.converted > 0 {
            header.format = INTEGER_FORMAT;
        }
        let bundle = Self::assemble(&header, &drafts)?;
        report.bytes_after = bundle.file().len();
        Ok((bundle, report))
    }
}

/// The values of a tensor after the conversion, and the tensors to be stored.
fn converted<'a>(
    tensor: &Tensor<'_>,
    values: &[f64],
    to: WeightType,
) -> (Vec<f64>, Vec<Draft<'a>>) {
    let (name, shape) = (tensor.name, tensor.shape);
    let draft = |name: String, dtype, shape: &[usize], bytes: Vec<u8>| {
        Draft::new(name, dtype, shape, move || Cow::Owned(bytes.clone()))
    };
    let float = |dtype: Dtype, bytes: Vec<u8>| {
        let after = Tensor {
            name,
            dtype,
            shape,
            bytes: &bytes,
        };
        let after = after.to_f64().unwrap_or_default();
        (after, vec![draft(name.to_owned(), dtype, shape, bytes)])
    };
    let odd = values.iter().copied().map(round_to_odd);
    match to {
        WeightType::F32 => {
            let bytes = values
                .iter()
                .flat_map(|&value| (value as f32).to_le_bytes());
            float(Dtype::F32, bytes.collect())
        }
        WeightType::F16 => {
            let bytes = odd.flat_map(|value| half::f16::from_f32(value).to_le_bytes());
            float(Dtype::F16, bytes.collect())
        }
        WeightType::BF16 => {
            let bytes = odd.flat_map(|value| half::bf16::from_f32(value).to_le_bytes());
            float(Dtype::BF16, bytes.collect())
        }
        WeightType::Integers(to) => {
            let Quantized { integers, scales } = to.quantize(values, shape);
            let scales = integers::bytes(&scales);
            let after = to.widen(&integers, &scales, shape).into_iter();
            let stored = vec![
                draft(name.to_owned(), to.dtype(), &to.shape(shape), integers),
                draft(
                    format!("{name}{SCALE}"),
                    Dtype::F16,
                    &to.scales(shape),
                    scales,
                ),
            ];
            (after.map(f64::from).collect(), stored)
        }
    }
}

/// An `f64` as `f32`, rounded to odd: if digits are lost, the last digit kept is odd. Rounding the result to fewer bits
/// then equals rounding the `f64`, while rounding to nearest twice can differ by a false tie. Boldo and Melquiond,
/// "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008.
pub(crate) fn round_to_odd(value: f64) -> f32 {
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
        let values = values.map(f64::from);
        let (after, _) = converted(&tensor, &values, WeightType::F16);
        let mut report = CastReport::new(WeightType::F16, 0);
        assert_eq!(report.add("x", &values, &after), 2);
        assert_eq!(
            (report.values, report.underflowed, report.subnormal),
            (9, 1, 1)
        );
        // All but 65504 and the zeros.
        assert_eq!(report.rounded, 6);
    }
}
