//! What runs a network, as a comparison sees it.

use std::sync::Arc;

use ndarray::ArrayD;
use soundalike_network::Graph;

use crate::Window;

/// Why an engine failed, in its own words.
pub type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// Receives every stage of a forward pass, in order of execution: its name and its output, widened to f64.
///
/// The engine goes on with what it returns, rounded to the engine's dtype, or with its own output where that is `None`.
/// An error ends the forward pass, which fails with it.
pub type Probe<'a> =
    dyn FnMut(&str, ArrayD<f64>) -> Result<Option<Arc<ArrayD<f32>>>, EngineError> + 'a;

/// A network that can be run and looked into, whatever computes it. Implement it to compare a network of your own.
pub trait Engine: Send + Sync {
    /// The network's stages; of an embedding with those of pooling by masks, or without.
    fn graph(&self, masked: bool) -> Graph;

    /// Runs the network on `window` and shows every stage to `probe`. Several may run at a time.
    ///
    /// # Errors
    /// Where the network fails, and whatever the probe fails with.
    fn run(&self, window: &Window, probe: &mut Probe<'_>) -> Result<(), EngineError>;
}
