//! Known mistakes of ports, replayed on the reference.

use ndarray::ArrayD;
use soundalike_network::Cause;

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
