//! The interface through which the outputs of stages are recorded or replaced.

use candle_core::Tensor;
use soundalike_network::Stage;

/// candle's `Result`.
pub type Result<T> = candle_core::Result<T>;

/// Receives the output of every stage of a forward pass, in order of execution.
///
/// The network continues with the tensor that the probe returns. A probe that returns the value it got only observes; one
/// that returns another tensor of the same shape replaces the output for all later stages.
pub trait Probe {
    /// Takes the output `value` of the stage `name` (`sincnet.conv1d.0`, `lstm.2`, ...), and returns the tensor with which
    /// to continue.
    ///
    /// # Errors
    /// Any error ends the forward pass.
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor>;

    /// Whether the probe needs the stage `name`. If not, the network may skip the call of [`Self::observe`], and the conversion
    /// of its activations to a tensor.
    fn needs(&self, name: &str) -> bool {
        let _ = name;
        true
    }

    /// Whether the probe needs any of `stages`.
    fn needs_any(&self, stages: &[Stage]) -> bool {
        stages.iter().any(|stage| self.needs(&stage.name))
    }
}

/// The probe that needs no stage: inference.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    fn observe(&mut self, _name: &str, value: Tensor) -> Result<Tensor> {
        Ok(value)
    }

    fn needs(&self, _name: &str) -> bool {
        false
    }
}
