//! Known mistakes of ports, replayed on the reference.

use std::ops::RangeInclusive;

use ndarray::ArrayD;
use soundalike_network::Cause;

use crate::{Precision, Result};

/// A known mistake at a stage of the reference.
pub enum Mistake<'a> {
    /// Nothing in it is unknown.
    Fixed(Hypothesis),
    /// Some of its values are taken from the candidate's output.
    Fitted(Hypothesis),
    /// It has a parameter whose value is unknown.
    Family(&'a Family, &'a Compute<'a>),
}

/// Computes the output of a stage with a mistake of a family, for a value of its parameter.
pub type Compute<'a> = dyn Fn(f64, Precision) -> Result<ArrayD<f64>> + 'a;

/// A stage of the reference with a known mistake put into it.
#[derive(Debug)]
pub struct Hypothesis {
    /// The mistake.
    pub cause: Cause,
    /// The mistake, in words.
    pub text: String,
    /// The output of the stage with the mistake, in f64.
    pub golden: ArrayD<f64>,
    /// The same in f32.
    pub rounded: ArrayD<f64>,
}

/// Mistakes that differ in the value of one parameter, such as the negative slope of a leaky ReLU.
#[derive(Debug)]
pub struct Family {
    /// The mistake with a value of the parameter.
    pub cause: fn(f64) -> Cause,
    /// The parameter, in words: `a negative slope`.
    pub parameter: &'static str,
    /// Its unit after a space, or nothing.
    pub unit: &'static str,
    /// The value without a mistake.
    pub right: f64,
    /// Values from which an estimate may start. The smallest above 0 is the scale of a change.
    pub starts: &'static [f64],
    /// Possible values.
    pub range: RangeInclusive<f64>,
    /// Values that fixed hypotheses stand for, which have names of their own.
    pub fixed: &'static [f64],
}
