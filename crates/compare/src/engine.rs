//! The interface of a network that can be run.

use std::sync::Arc;

use ndarray::ArrayD;
use soundalike_network::Graph;

use crate::Window;

/// The error of an engine.
pub type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// Receives every stage of a forward pass, in order of execution: its name and its output, widened to f64.
///
/// The engine continues with the returned value, rounded to the engine's dtype, or with its own output where that is `None`.
/// An error ends the forward pass, which fails with it.
pub type Probe<'a> =
    dyn FnMut(&str, ArrayD<f64>) -> Result<Option<Arc<ArrayD<f32>>>, EngineError> + 'a;

/// A network that can be run with a probe. Implement it to compare your own network.
pub trait Engine: Send + Sync {
    /// The network's stages; of an embedding with pooling by masks, or without.
    fn graph(&self, masked: bool) -> Graph;

    /// Runs the network on `window`, shows every stage to `probe`, and returns the output. Several runs may be active at a
    /// time.
    ///
    /// # Errors
    /// Where the network fails, and any error of the probe.
    fn run(&self, window: &Window, probe: &mut Probe<'_>) -> Result<ArrayD<f64>, EngineError>;
}
