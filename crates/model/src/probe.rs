//! The one place where a stage of a network can be seen, or replaced.

use candle_core::Tensor;
use soundalike_network::Stage;

/// candle's `Result`.
pub type Result<T> = candle_core::Result<T>;

/// Receives every stage of a forward pass, in order of execution.
///
/// What it returns is what the network goes on with: returning the value observes, returning another
/// tensor of the same shape replaces the stage's output for everything downstream.
pub trait Probe {
    /// `name` is the canonical name of the stage (`sincnet.conv1d.0`, `lstm.2`, ...), `value` its output.
    ///
    /// # Errors
    /// Whatever keeps the probe from giving back a tensor; the forward pass ends with it.
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor>;

    /// Whether [`Self::see`] wants the stage `name`. Where it does not, a network whose activations are no tensors
    /// need not make one, and may go on without a call.
    fn looks_at(&self, name: &str) -> bool {
        let _ = name;
        true
    }

    /// Whether [`Self::see`] wants any of `stages`.
    fn looks_at_any(&self, stages: &[Stage]) -> bool {
        stages.iter().any(|stage| self.looks_at(&stage.name))
    }
}

/// Looks at nothing: inference.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Probe for Silent {
    fn see(&mut self, _name: &str, value: Tensor) -> Result<Tensor> {
        Ok(value)
    }

    fn looks_at(&self, _name: &str) -> bool {
        false
    }
}
