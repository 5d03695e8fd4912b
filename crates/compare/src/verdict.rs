//! What a stage's error means.

use serde::{Deserialize, Serialize};

use crate::StageError;

/// Below it, a stage is exact: another order of a few hundred f32 sums stays under three times PyTorch's own
/// rounding.
pub const EXACT_R: f64 = 4.0;
/// From it on, no rounding explains a stage: the smallest fault that shows at an output has 48.
pub const STRUCTURAL_R: f64 = 10.0;
/// The bar for single channels and frames, whose error a mean over the whole output dilutes. Clean runs
/// reach 16.
pub const STRUCTURAL_R_LOCAL: f64 = 32.0;

/// The least floor, as a part of the golden's rms: half a unit in the last place of an f32. Where the
/// reference happens to hit the golden exactly, one rounding is still no error.
pub const LEAST_FLOOR: f64 = 1.0 / (1u64 << 25) as f64;

/// What a stage's error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The candidate does not show the stage, or only within another.
    NotObserved,
    /// The candidate was fed something of another shape than the reference there, and gives something of another shape:
    /// nothing can be said of the stage itself.
    NotComparable,
    /// Rounding, as PyTorch's own f32 has it.
    Exact,
    /// More rounding than PyTorch's f32 has, and no more than that; or, of a candidate with fewer bits, as
    /// much as these bits explain.
    Precision,
    /// Something else than rounding: a bug.
    Structural,
}

impl Verdict {
    /// Judges a stage.
    #[must_use]
    pub fn of(error: &StageError) -> Self {
        if let Some(r_d) = error.r_d {
            return if r_d < EXACT_R && error.non_finite == 0 {
                Self::Precision
            } else {
                Self::Structural
            };
        }
        // What must hold is asked for, not what must not: every comparison with NaN is false.
        let local = error.r_local < STRUCTURAL_R_LOCAL && error.non_finite == 0;
        if error.r < EXACT_R && local {
            Self::Exact
        } else if error.r < STRUCTURAL_R && local {
            Self::Precision
        } else {
            Self::Structural
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotObserved => "not observed",
            Self::NotComparable => "not comparable",
            Self::Exact => "exact",
            Self::Precision => "precision",
            Self::Structural => "structural",
        })
    }
}
