//! The arithmetic of the reference.

use std::fmt;

/// The operations of a reference, and their precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// Those of the official package.
    Torch(Precision),
    /// Elementary operations in f32: a second f32 reference, for input on which PyTorch's own error is almost zero
    /// (silence). `reference/capture.py`, `elementary_*`.
    ReferenceOps,
    /// The operations of the package in f32, with weights, inputs and outputs of every stage (in an LSTM of every step)
    /// rounded to a lower precision: as exact as an engine of that dtype can be.
    Rounded(LowPrecision),
}

/// Dtypes with a lower precision than f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LowPrecision {
    /// 11 bits of precision.
    F16,
    /// 8 bits of precision.
    BF16,
}

impl Arithmetic {
    /// The dtype of its tensors.
    #[must_use]
    pub fn precision(self) -> Precision {
        match self {
            Self::Torch(precision) => precision,
            Self::ReferenceOps | Self::Rounded(_) => Precision::F32,
        }
    }
}

impl Arithmetic {
    /// The distance of the numbers near 1 in the outputs of its stages.
    #[must_use]
    pub fn epsilon(self) -> f64 {
        let bits_behind_the_point = match self {
            Self::Torch(Precision::F64) => 52,
            Self::Torch(Precision::F32) | Self::ReferenceOps => 23,
            Self::Rounded(LowPrecision::F16) => 10,
            Self::Rounded(LowPrecision::BF16) => 7,
        };
        0.5_f64.powi(bits_behind_the_point)
    }
}

impl From<Precision> for Arithmetic {
    fn from(precision: Precision) -> Self {
        Self::Torch(precision)
    }
}

/// The precision of the reference, which always starts from f32 weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// What users of the official package get.
    F32,
    /// The golden: weights and buffers have their f32 values, everything computed from them is f64.
    F64,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}
