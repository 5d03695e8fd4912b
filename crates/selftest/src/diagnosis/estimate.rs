//! The value of a parameter that explains a candidate.

use ndarray::ArrayD;
use soundalike_compare::{EXACT_R, Estimate, ObservedStage, Signature, rms};
use soundalike_network::Cause;
use soundalike_torch::{Compute, Family, Precision, Result};

use super::distance::{floor, r};

/// Steps of Gauss and Newton. A stage that is linear in the parameter needs one, others four or five.
const STEPS: usize = 20;
/// Halvings of a step that overshoots.
const HALVINGS: usize = 10;
/// Change of the parameter for a derivative, as a part of its value.
const CHANGE: f64 = 1e-3;
/// Change of the parameter, as a part of its value, below which a fit ends: a millionth of what a derivative resolves.
const CONVERGED: f64 = 1e-9;
/// Digits of an f64.
const DIGITS: usize = 17;
/// Least digits of the ends of an interval.
const LEAST_DIGITS: usize = 3;

/// The mistake of a family that explains a candidate.
pub(super) struct Explained {
    pub(super) r: f64,
    pub(super) cause: Cause,
    pub(super) text: String,
    pub(super) estimate: Estimate,
}

/// The outcome of an estimate.
pub(super) enum Outcome {
    Explained(Explained),
    /// A gain and an offset of the whole output explain the candidate as well.
    OrAGain(Cause),
    /// No value explains the candidate, the right one does as well, or one with a hypothesis of its own.
    Nothing,
}

/// Estimates the parameter of `family` from the output of `case`.
pub(super) fn estimate(
    case: &ObservedStage,
    family: &Family,
    compute: &Compute<'_>,
) -> Result<Outcome> {
    let Some(fit) = Fit::of(&case.output, family, &|value| {
        compute(value, Precision::F64)
    })?
    else {
        return Ok(Outcome::Nothing);
    };
    let both = |value: f64| -> Result<_> {
        Ok((
            compute(value, Precision::F64)?,
            compute(value, Precision::F32)?,
        ))
    };
    let (golden, rounded) = both(fit.value)?;
    let Some(floor) = floor(case, &golden, &rounded) else {
        return Ok(Outcome::Nothing);
    };
    // Beyond it, the change of the output alone exceeds the rounding of an exact stage. The true value is never beyond it:
    // a candidate with that value is off by its rounding, and least squares move the value by no more than that.
    let reach = EXACT_R * floor / fit.sensitivity;
    let (low, high) = (fit.value - reach, fit.value + reach);
    let within = |value: f64| (low..=high).contains(&value);
    if !reach.is_finite() || within(family.right) || family.fixed.iter().any(|value| within(*value))
    {
        return Ok(Outcome::Nothing);
    }
    let value = shortest(fit.value, within);
    let (golden, rounded) = both(value)?;
    let Some(r) = r(case, &golden, &rounded).filter(|r| *r < EXACT_R) else {
        return Ok(Outcome::Nothing);
    };
    let cause = (family.cause)(value);
    let left = Signature::of(case).left * rms((&case.output - &*case.golden).view());
    if left < EXACT_R * floor {
        return Ok(Outcome::OrAGain(cause));
    }
    let estimate = Estimate {
        value,
        low,
        high,
        right: family.right,
    };
    Ok(Outcome::Explained(Explained {
        r,
        cause,
        text: words(family, &estimate),
        estimate,
    }))
}

/// The value whose output is nearest to that of the candidate.
struct Fit {
    value: f64,
    /// Root mean square of the derivative of the output.
    sensitivity: f64,
}

impl Fit {
    /// Least squares by Gauss and Newton from the best of the family's values to start from. `None` if no value gives
    /// the shape of `output` and finite numbers, or if the output does not depend on the parameter.
    fn of(
        output: &ArrayD<f64>,
        family: &Family,
        golden: &dyn Fn(f64) -> Result<ArrayD<f64>>,
    ) -> Result<Option<Self>> {
        let at = |value: f64| -> Result<Option<(f64, ArrayD<f64>)>> {
            let found = golden(value)?;
            if found.shape() != output.shape() {
                return Ok(None);
            }
            let error = output - &found;
            let size = rms(error.view());
            Ok(size.is_finite().then_some((size, error)))
        };
        let starts = family.starts.iter().chain([&family.right]);
        let positive = starts.clone().filter(|start| **start > 0.0);
        let scale = positive.copied().fold(f64::INFINITY, f64::min);
        let mut best: Option<(f64, f64, ArrayD<f64>)> = None;
        for start in starts {
            if let Some((size, error)) = at(*start)?
                && best.as_ref().is_none_or(|(_, least, _)| size < *least)
            {
                best = Some((*start, size, error));
            }
        }
        let Some((mut value, mut size, mut error)) = best else {
            return Ok(None);
        };
        let mut sensitivity = 0.0;
        for _ in 0..STEPS {
            let change = CHANGE * value.abs().max(scale);
            let Some((_, changed)) = at(value + change)? else {
                return Ok(None);
            };
            let derivative = (&error - &changed) / change;
            sensitivity = rms(derivative.view());
            let mut step = (&derivative * &error).sum() / (&derivative * &derivative).sum();
            if !(step.is_finite() && sensitivity > 0.0) {
                return Ok(None);
            }
            let mut moved = false;
            for _ in 0..HALVINGS {
                let next = (value + step).clamp(*family.range.start(), *family.range.end());
                step = next - value;
                if let Some((next_size, next_error)) = at(next)?
                    && next_size < size
                {
                    (value, size, error) = (next, next_size, next_error);
                    moved = true;
                    break;
                }
                step /= 2.0;
            }
            if !moved || step.abs() <= CONVERGED * value.abs().max(scale) {
                break;
            }
        }
        Ok(Some(Self { value, sensitivity }))
    }
}

/// The number with the fewest digits near `value` that is `within` an interval around it.
fn shortest(value: f64, within: impl Fn(f64) -> bool) -> f64 {
    let mut rounded = (0..DIGITS).filter_map(|digits| format!("{value:.digits$e}").parse().ok());
    rounded.find(|value| within(*value)).unwrap_or(value)
}

/// `a negative slope of 0.02 in place of 0.01 (0.0199 to 0.0201)`.
fn words(family: &Family, estimate: &Estimate) -> String {
    let Estimate {
        value,
        low,
        high,
        right,
    } = *estimate;
    // As few digits as keep the right value out, rounded away from the value.
    let ends = |digits: usize| (outward(low, digits, -1.0), outward(high, digits, 1.0));
    let mut candidates = (LEAST_DIGITS..=DIGITS).map(ends);
    let (low, high) = candidates
        .find(|(low, high)| !(*low..=*high).contains(&right))
        .unwrap_or((low, high));
    let [value, low, high, right] = [value, low, high, right].map(plain);
    let Family {
        parameter, unit, ..
    } = family;
    format!("{parameter} of {value}{unit} in place of {right}{unit} ({low} to {high}{unit})")
}

/// `end`, the end of an interval in the direction `sign`, in so many significant digits: rounded outwards.
fn outward(end: f64, digits: usize, sign: f64) -> f64 {
    if end == 0.0 {
        return end;
    }
    let unit = 10_f64.powi(end.abs().log10().floor() as i32 + 1 - digits as i32);
    let rounded = sign * (sign * end / unit).ceil() * unit;
    // The product has rounding of its own: 0.020100000000000003.
    format!("{rounded:.*e}", digits - 1)
        .parse()
        .unwrap_or(rounded)
}

/// All digits of `x`, with an exponent where it is small.
fn plain(x: f64) -> String {
    match x.abs() {
        size if size > 0.0 && size < 1e-3 => format!("{x:e}"),
        _ => format!("{x}"),
    }
}
