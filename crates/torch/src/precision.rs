//! In which arithmetic the reference runs.

use std::fmt;

/// By what operations a reference computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// Those that the official package calls.
    Torch(Precision),
    /// Elementary ones in f32, step by step: a second f32 reference, for input on which PyTorch's own error is
    /// almost nothing (silence). `reference/capture.py`, `elementary_*`.
    Elementary,
    /// Those of the package in f32, with weights, inputs and outputs of every stage (of an LSTM the result of
    /// every step) rounded to fewer bits: as exact as an engine of that dtype can be.
    Rounded(LowPrecision),
}

/// Dtypes of fewer bits than f32.
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
            Self::Elementary | Self::Rounded(_) => Precision::F32,
        }
    }
}

impl From<Precision> for Arithmetic {
    fn from(precision: Precision) -> Self {
        Self::Torch(precision)
    }
}

/// In which arithmetic the reference runs. Either way from the same f32 weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// The reference's own arithmetic: what users of the official package get.
    F32,
    /// The golden: weights and buffers keep their f32 values, everything after them is f64.
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
