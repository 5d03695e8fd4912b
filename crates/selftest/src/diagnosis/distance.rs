//! The distance of a candidate from a reference with a mistake.

use ndarray::ArrayD;
use soundalike_compare::{EXACT_R, LEAST_FLOOR, ObservedStage, STRUCTURAL_R, rms};

/// Part of an error that a hypothesis may leave unexplained because its own rounding is larger.
const UNEXPLAINED: f64 = 0.01;

/// The distance of the candidate from a reference with a mistake, in units of the rounding of that reference. `None` if
/// their shapes differ.
pub(super) fn r(case: &ObservedStage, golden: &ArrayD<f64>, rounded: &ArrayD<f64>) -> Option<f64> {
    if golden.shape() != case.output.shape() {
        return None;
    }
    let error = rms((&case.output - golden).view());
    let floor = floor(case, golden, rounded)?;
    let r = if error == 0.0 { 0.0 } else { error / floor };
    Some(if r.is_nan() { f64::INFINITY } else { r })
}

/// The rounding of a reference with a mistake. `None` where the stage should have returned zeros: its relative rounding is
/// undefined.
pub(super) fn floor(
    case: &ObservedStage,
    golden: &ArrayD<f64>,
    rounded: &ArrayD<f64>,
) -> Option<f64> {
    // The rounding of the stage without the mistake is the least possible. A mistake that rounds far more (an
    // exponential, a gate order that makes a layer chaotic) must not match only because of that: it has to explain all
    // but a hundredth of the error.
    let usual = (case.floors.whole / rms(case.golden.view())).max(LEAST_FLOOR) * rms(golden.view());
    if !usual.is_finite() {
        return None;
    }
    let own = rms((rounded - golden).view());
    let unexplained = if case.golden.shape() == case.output.shape() {
        UNEXPLAINED * rms((&case.output - &*case.golden).view()) / EXACT_R
    } else {
        0.0
    };
    Some(own.max(usual).min(unexplained.max(STRUCTURAL_R * usual)))
}
