//! A network of the reference engine.

use ndarray::ArrayD;
use soundalike_network::Graph;

use crate::Result;

/// Receives every stage of a forward pass, in order of execution: its name and its output.
///
/// A returned array replaces the output, rounded to the network's precision; `None` keeps it. An error ends the forward
/// pass; [`Error::probe`](crate::Error::probe) wraps the probe's own.
pub type Probe<'a> = dyn FnMut(&str, ArrayD<f64>) -> Result<Option<ArrayD<f64>>> + 'a;

/// A network on libtorch.
pub trait Network: std::fmt::Debug + Send {
    /// Its stages, in the order in which a probe receives them.
    fn graph(&self, masked: bool) -> &Graph;

    /// Runs it on `waveforms` `[batch, 1, samples]` at the network's sample rate. Embeddings are pooled by `masks`
    /// `[batch, mask, frame]`, if given.
    ///
    /// It uses one thread, like `reference/capture.py`, because the order of sums depends on the number of threads. The
    /// setting is global to the process.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for inputs of another shape or too few samples,
    /// [`Error::Replaced`](crate::Error::Replaced) if the probe returns another shape, and the errors of the probe.
    fn forward(
        &self,
        waveforms: &ArrayD<f32>,
        masks: Option<&ArrayD<f32>>,
        probe: &mut Probe<'_>,
    ) -> Result<ArrayD<f64>>;
}
