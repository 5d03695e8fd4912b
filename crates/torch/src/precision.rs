//! In which arithmetic the reference runs.

use std::fmt;

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
