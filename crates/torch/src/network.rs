//! A network of the reference engine.

use ndarray::ArrayD;
use soundalike_network::Graph;

use crate::Result;

/// Receives every stage of a forward pass, in order of execution: its name and its output.
///
/// The network goes on with what it returns, rounded to the network's precision, or with its own output where that is
/// `None`. Whatever it fails with ends the forward pass; [`Error::probe`](crate::Error::probe) wraps a reason of its own.
pub type Probe<'a> = dyn FnMut(&str, ArrayD<f64>) -> Result<Option<ArrayD<f64>>> + 'a;

/// A network on libtorch.
pub trait Network: std::fmt::Debug + Send {
    /// Its stages, of which a probe sees every one in this order.
    fn graph(&self, masked: bool) -> &Graph;

    /// Its output for `waveforms` `[batch, 1, samples]` at the network's sample rate; an embedding is pooled by `masks`
    /// `[batch, mask, frame]`, where there are some.
    ///
    /// It runs on one thread, as `reference/capture.py` does, because the order of sums follows the number
    /// of threads. libtorch has one such setting for the whole process.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) where the inputs have another shape or are too short,
    /// [`Error::Replaced`](crate::Error::Replaced) where the probe returns another shape, and what the probe fails with.
    fn forward(
        &self,
        waveforms: &ArrayD<f32>,
        masks: Option<&ArrayD<f32>>,
        probe: &mut Probe<'_>,
    ) -> Result<ArrayD<f64>>;
}
