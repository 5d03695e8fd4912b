//! Weights in fewer bits.

use std::borrow::Cow;

use serde::Serialize;

use crate::bundle::{Bundle, Draft, Tensor};
use crate::error::{Error, ErrorKind, NotFinite};
use crate::{Dtype, Role};

/// What a conversion to another type did to the values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CastReport {
    /// The type converted to.
    pub dtype: Dtype,
    /// Tensors converted: the trained ones, and baked sinc filters.
    pub converted: usize,
    /// Tensors left as they were: buffers. They are constants and statistics of a few hundred
    /// values, and `running_var` or `n_` in 8 bits of mantissa would cost accuracy for nothing.
    pub kept: Vec<String>,
    /// Values in the converted tensors.
    pub values: usize,
    /// Values that are not exactly what they were.
    pub rounded: usize,
    /// Values that were not 0 and are now.
    pub underflowed: usize,
    /// Values below the smallest normal number of the type: they have fewer digits.
    pub subnormal: usize,
}

impl Bundle {
    /// The same network with its weights in another floating point type, each value rounded to the
    /// nearest, ties to even. Buffers are kept as they are, see [`CastReport::kept`].
    ///
    /// # Errors
    /// A weight that would become infinite: all tensors with such weights are named. A type that is
    /// not `f32`, `f16` or `bf16`.
    pub fn cast(&self, dtype: Dtype) -> Result<(Self, CastReport), Error> {
        let origin = self.source().file.clone();
        self.cast_kind(dtype).map_err(|kind| kind.at(origin))
    }

    fn cast_kind(&self, dtype: Dtype) -> Result<(Self, CastReport), ErrorKind> {
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(ErrorKind::CastTarget { dtype });
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
        let mut drafts = Vec::new();
        for tensor in self.tensors() {
            let (name, shape) = (tensor.name.to_owned(), tensor.shape.to_vec());
            // Baked filters are a buffer by role and weights by nature.
            let weight = roles.get(tensor.name) == Some(&Role::Parameter)
                || tensor.name == "sincnet.conv1d.0.filters";
            if !weight || !tensor.dtype.is_float() {
                report.kept.push(name.clone());
                let elements = Box::new(move || Cow::Borrowed(tensor.bytes));
                drafts.push(Draft {
                    name,
                    dtype: tensor.dtype,
                    shape,
                    elements,
                });
                continue;
            }
            let infinite = count(&tensor, dtype, &mut report);
            if infinite > 0 {
                overflowed.push(NotFinite {
                    tensor: name.clone(),
                    values: infinite,
                });
            }
            report.converted += 1;
            let elements = Box::new(move || Cow::Owned(convert(&tensor, dtype)));
            drafts.push(Draft {
                name,
                dtype,
                shape,
                elements,
            });
        }
        if !overflowed.is_empty() {
            return Err(ErrorKind::Overflow {
                dtype,
                tensors: overflowed,
            });
        }
        let mut header = self.header().clone();
        header.notes.push(format!(
            "weights were rounded to {dtype}; buffers were kept"
        ));
        Ok((Self::assemble(&header, &drafts)?, report))
    }
}

/// Elements as `f64`, which holds all other floating point types exactly.
fn values(tensor: &Tensor<'_>) -> Vec<f64> {
    tensor.to_f64().unwrap_or_default()
}

/// Counts what the conversion will do; returns how many values become infinite.
fn count(tensor: &Tensor<'_>, dtype: Dtype, report: &mut CastReport) -> usize {
    let mut infinite = 0;
    for before in values(tensor) {
        let (after, normal) = match dtype {
            Dtype::F16 => {
                let value = half::f16::from_f64(before);
                (value.to_f64(), value.is_normal())
            }
            Dtype::BF16 => {
                let value = half::bf16::from_f64(before);
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
    let values = values(tensor).into_iter();
    match dtype {
        Dtype::F16 => values
            .flat_map(|value| half::f16::from_f64(value).to_le_bytes())
            .collect(),
        Dtype::BF16 => values
            .flat_map(|value| half::bf16::from_f64(value).to_le_bytes())
            .collect(),
        _ => values
            .flat_map(|value| (value as f32).to_le_bytes())
            .collect(),
    }
}
