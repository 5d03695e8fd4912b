//! The one place where a stage of the reference can be seen, or replaced.

use crate::{Result, Tensor};

/// Receives every stage of a forward pass, in order of execution.
///
/// What it returns is what the network goes on with: returning the value observes (free-running), returning
/// another tensor of the same shape and precision replaces the stage's output for everything downstream
/// (teacher-forcing).
pub trait Probe {
    /// `name` is the canonical name of the stage (`sincnet.conv1d.0`, `lstm.2`, ...), `value` its output.
    ///
    /// # Errors
    /// Whatever keeps the probe from giving back a tensor ([`Error::probe`](crate::Error::probe)); the
    /// forward pass ends with it.
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor>;
}

/// Looks at nothing: inference.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Probe for Silent {
    fn see(&mut self, _name: &str, value: Tensor) -> Result<Tensor> {
        Ok(value)
    }
}
