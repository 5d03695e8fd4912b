//! The networks, one file each, and loading.

mod pyannet;
mod wespeaker;

use candle_core::Tensor;
use candle_nn::VarBuilder;
use soundalike_convert::Bundle;
use soundalike_network::{Architecture, Graph};

use self::{pyannet::PyanNet, wespeaker::WeSpeakerResNet};
use crate::{Engine, LoadError, Probe, Result};

/// A network that can be run. [`load`] builds the one that a bundle holds.
pub trait Network: std::fmt::Debug + Send + Sync {
    /// Device, precision and code.
    fn engine(&self) -> &Engine;

    /// The stages. `masked`: an embedding is pooled over masks; other networks do not depend on it. A probe sees the stages
    /// in this order, without those that a kernel computes in one pass with a later stage.
    fn graph(&self, masked: bool) -> &Graph;

    /// The output of the network: `[batch, frame, output]` of a segmentation, `[batch, dimension]` of an embedding, or
    /// `[batch, mask, dimension]` with masks. The outputs of all stages go through `probe`.
    ///
    /// # Errors
    /// If the input has another shape or is too short, or the device or the probe fails.
    fn forward(&self, input: Input<'_>, probe: &mut dyn Probe) -> Result<Tensor>;
}

/// The input of a network.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Amplitudes at the network's sample rate, `[batch, 1, samples]`.
    pub waveforms: &'a Tensor,
    /// Weights of the frames over which embeddings are pooled, 0 to 1, `[batch, mask, frame]`. Any number of frames: the
    /// masks are resampled. `None`: the whole window; always for a segmentation.
    pub masks: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(waveforms: &'a Tensor) -> Self {
        Self {
            waveforms,
            masks: None,
        }
    }
}

/// Builds the network of `bundle`.
///
/// # Errors
/// [`LoadError`] if the bundle holds no network, or one that pyannote.audio cannot run, or if the device has no memory left.
pub fn load(bundle: &Bundle, engine: &Engine) -> std::result::Result<Box<dyn Network>, LoadError> {
    let architecture = bundle.architecture();
    let graph = |masked| architecture.graph(masked).unwrap_or_default();
    let weights =
        || VarBuilder::from_slice_safetensors(bundle.bytes(), engine.dtype, &engine.device);
    Ok(match architecture {
        Architecture::PyanNet(config) => {
            Box::new(PyanNet::load(config, graph(false), engine, &weights()?)?)
        }
        Architecture::WeSpeakerResNet(config) => {
            config.check_supported()?;
            let graphs = [false, true].map(graph);
            Box::new(WeSpeakerResNet::load(config, graphs, engine, &weights()?)?)
        }
        Architecture::Plda(_) => {
            return Err(LoadError::NoNetwork {
                found: architecture.name(),
            });
        }
    })
}

/// Refuses waveforms of another shape than `[batch, 1, samples]`, and too few samples for an output.
fn check_waveforms(waveforms: &Tensor, graph: &Graph) -> Result<()> {
    let (_, channels, samples) = waveforms.dims3()?;
    let least = graph.min_num_samples().unwrap_or(1);
    if channels != 1 || samples < least {
        candle_core::bail!(
            "waveforms have shape {:?}, expected [batch, 1, at least {least} samples]",
            waveforms.dims(),
        );
    }
    Ok(())
}
