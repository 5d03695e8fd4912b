//! Mistakes that ports made, in the reference.

use crate::Tensor;

/// A stage of the reference with a known mistake put into it.
#[derive(Debug)]
pub struct Mistake {
    /// Its name.
    pub cause: String,
    /// What is wrong, in words.
    pub text: String,
    /// What the stage gives then, in f64.
    pub golden: Tensor,
    /// What it gives in f32.
    pub rounded: Tensor,
}
