//! The networks, a file each, and how one is loaded.

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
    /// What it runs on.
    fn engine(&self) -> &Engine;

    /// Its stages; of an embedding with those of pooling by masks, or without. A probe sees them in this order, all but those
    /// that kernels compute together with a later one.
    fn graph(&self, masked: bool) -> &Graph;

    /// Its output, of which `probe` sees every stage: of a segmentation `[batch, frame, output]`, of an embedding
    /// `[batch, dimension]`, or `[batch, mask, dimension]` where there are masks.
    ///
    /// # Errors
    /// Where the input has another shape or is too short, or the device or the probe fails.
    fn forward(&self, input: Input<'_>, probe: &mut dyn Probe) -> Result<Tensor>;
}

/// What a network is given.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Amplitudes at the network's sample rate, `[batch, 1, samples]`.
    pub waveforms: &'a Tensor,
    /// The frames by which embeddings are pooled, 0 to 1, `[batch, mask, frame]`; any number of frames. `None` for the whole
    /// window, and for a segmentation.
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
/// [`LoadError`] where the bundle holds no network, one that pyannote.audio itself cannot run, or one that does not fit
/// on the device.
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

/// Refuses waveforms of another shape than `[batch, 1, samples]`, and fewer samples than give an output.
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
