//! Element types of tensors.

use serde::{Deserialize, Serialize};
use soundalike_network::ElementType;

/// Element type of a tensor. Elements are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16: the upper half of an `f32`.
    BF16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
}

/// The names of one type in the supported formats.
pub(crate) struct Names {
    dtype: Dtype,
    /// On the command line, in reports and in JSON.
    name: &'static str,
    safetensors: safetensors::Dtype,
    /// In the Python module `torch`.
    pub(crate) torch: &'static str,
    /// PyTorch's storage class, without the suffix `Storage`.
    pub(crate) storage: &'static str,
    /// `descr` of numpy; of ml_dtypes for a type that numpy lacks.
    pub(crate) numpy: &'static str,
    /// `TensorProto.DataType` of ONNX.
    pub(crate) onnx: i64,
}

/// All types, in the order of [`Dtype`].
const NAMES: [Names; 10] = {
    use safetensors::Dtype as S;
    [
        names(Dtype::Bool, "bool", S::BOOL, "bool", "Bool", "|b1", 9),
        names(Dtype::U8, "u8", S::U8, "uint8", "Byte", "|u1", 2),
        names(Dtype::I8, "i8", S::I8, "int8", "Char", "|i1", 3),
        names(Dtype::I16, "i16", S::I16, "int16", "Short", "<i2", 5),
        names(Dtype::I32, "i32", S::I32, "int32", "Int", "<i4", 6),
        names(Dtype::I64, "i64", S::I64, "int64", "Long", "<i8", 7),
        names(Dtype::F16, "f16", S::F16, "float16", "Half", "<f2", 10),
        names(
            Dtype::BF16,
            "bf16",
            S::BF16,
            "bfloat16",
            "BFloat16",
            "|V2",
            16,
        ),
        names(Dtype::F32, "f32", S::F32, "float32", "Float", "<f4", 1),
        names(Dtype::F64, "f64", S::F64, "float64", "Double", "<f8", 11),
    ]
};

const fn names(
    dtype: Dtype,
    name: &'static str,
    safetensors: safetensors::Dtype,
    torch: &'static str,
    storage: &'static str,
    numpy: &'static str,
    onnx: i64,
) -> Names {
    Names {
        dtype,
        name,
        safetensors,
        torch,
        storage,
        numpy,
        onnx,
    }
}

impl Dtype {
    /// Bytes per element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// Bytes of a tensor of this shape. `None` on overflow.
    pub(crate) fn bytes_of(self, shape: &[usize]) -> Option<usize> {
        let mut sizes = shape.iter();
        sizes.try_fold(self.size(), |bytes, &size| bytes.checked_mul(size))
    }

    /// Whether a tensor of this kind may have this type.
    #[must_use]
    pub fn fits(self, kind: ElementType) -> bool {
        match kind {
            ElementType::Float => self.is_float(),
            ElementType::Counter => self == Self::I64,
        }
    }

    /// Whether this is a floating point type.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// The name on the command line and in reports: `f32`, `bf16`, `i64`, ...
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[self as usize].name
    }

    pub(crate) fn to_safetensors(self) -> safetensors::Dtype {
        NAMES[self as usize].safetensors
    }

    pub(crate) fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        Self::find(|names| names.safetensors == dtype)
    }

    /// The type with matching names.
    pub(crate) fn find(wanted: impl Fn(&Names) -> bool) -> Option<Self> {
        let mut all = NAMES.iter();
        all.find(|names| wanted(names)).map(|names| names.dtype)
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_order_of_the_types() {
        for (index, names) in NAMES.iter().enumerate() {
            assert_eq!(names.dtype as usize, index);
            let json = serde_json::to_value(names.dtype).unwrap();
            assert_eq!(json, names.dtype.name());
        }
    }
}
