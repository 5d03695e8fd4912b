//! The verdict on the error of a stage.

use serde::{Deserialize, Serialize};

use crate::StageError;

/// Below it, a stage is exact: another order of a few hundred f32 sums stays under three times PyTorch's own
/// rounding.
pub const EXACT_R: f64 = 4.0;
/// From it on, a stage is structurally wrong: the smallest fault that shows at an output has 48.
pub const STRUCTURAL_R: f64 = 10.0;
/// The same for single channels and frames, whose error a mean over the whole output dilutes. Correct engines reach 16.
pub const STRUCTURAL_R_LOCAL: f64 = 32.0;

/// From it on, the free run of a stage that is exact on the reference's input holds more than inherited rounding. The unit is the
/// error of one run of PyTorch's f32, of which there are few independent parts: correct engines reach 8.3 on 24 windows.
pub const UNSTEADY_R: f64 = 32.0;

/// The least floor, as a part of the golden's root mean square: half a unit in the last place of an f32. One rounding is no
/// error, even where the reference equals the golden by chance.
pub const LEAST_FLOOR: f64 = 1.0 / (1u64 << 25) as f64;

/// The verdict on the error of a stage, in order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The candidate does not show the stage, or only fused into another.
    NotObserved,
    /// Input and output of the candidate's stage have other shapes than the reference's.
    NotComparable,
    /// Wrong in the free run, behind another wrong stage: whether it is wrong itself is not known, because the reference could not
    /// feed it.
    FreeOnly,
    /// The rounding of PyTorch's own f32.
    Exact,
    /// Far less than that rounding: the candidate computes in more than f32, or is the reference itself.
    OverPrecise,
    /// It differs, and the rounding of the reference is not known.
    Inconclusive,
    /// More rounding than that; for a candidate below f32, as much as its dtype explains.
    Precision,
    /// Not rounding: a bug.
    Structural,
}

impl Verdict {
    /// Judges a stage.
    #[must_use]
    pub fn of(error: &StageError) -> Self {
        if error.without_floor && error.non_finite == 0 {
            return match error.rms_error == 0.0 {
                true => Self::Exact,
                false => Self::Inconclusive,
            };
        }
        if let Some(r_d) = error.r_d {
            return if r_d < EXACT_R && error.non_finite == 0 {
                Self::Precision
            } else {
                Self::Structural
            };
        }
        // Each condition is one that must hold: every comparison with NaN is false.
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
            Self::FreeOnly => "free only",
            Self::Exact => "exact",
            Self::OverPrecise => "over-precise",
            Self::Inconclusive => "inconclusive",
            Self::Precision => "precision",
            Self::Structural => "structural",
        })
    }
}
