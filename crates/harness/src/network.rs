//! The candidate's network, built by the call that `diarize` makes.

use soundalike_convert::{Architecture, Bundle};
use soundalike_model::{
    DType, Device, FrameGeometry, Kernels, LoadError, Probe, PyanNet, Result, Tensor,
    WeSpeakerResNet,
};

use crate::Window;

/// A network of the pipeline.
#[derive(Debug, Clone)]
pub enum Network {
    /// Who speaks when.
    PyanNet(PyanNet),
    /// Who speaks.
    WeSpeakerResNet(WeSpeakerResNet),
}

impl Network {
    /// Builds the network of `bundle`, computed by `kernels`, as `diarize` does.
    ///
    /// # Errors
    /// [`LoadError`] where the bundle holds none.
    pub fn load(
        bundle: &Bundle,
        dtype: DType,
        device: &Device,
        kernels: Kernels,
    ) -> std::result::Result<Self, LoadError> {
        match bundle.architecture() {
            Architecture::WeSpeakerResNet(_) => {
                WeSpeakerResNet::load_with(bundle, dtype, device, kernels)
                    .map(Self::WeSpeakerResNet)
            }
            _ => PyanNet::load_with(bundle, dtype, device, kernels).map(Self::PyanNet),
        }
    }

    /// The dtype of weights and activations.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::PyanNet(network) => network.dtype(),
            Self::WeSpeakerResNet(network) => network.dtype(),
        }
    }

    /// The device the weights are on.
    #[must_use]
    pub fn device(&self) -> &Device {
        match self {
            Self::PyanNet(network) => network.device(),
            Self::WeSpeakerResNet(network) => network.device(),
        }
    }

    /// Where the frames of its output lie; none where it has no frames.
    #[must_use]
    pub fn geometry(&self) -> Option<FrameGeometry> {
        match self {
            Self::PyanNet(network) => Some(network.geometry()),
            Self::WeSpeakerResNet(_) => None,
        }
    }

    /// Frames that it pools embeddings over, of `samples` samples; none where it gives no embeddings.
    #[must_use]
    pub fn pooled_frames(&self, samples: usize) -> Option<usize> {
        match self {
            Self::PyanNet(_) => None,
            Self::WeSpeakerResNet(network) => Some(network.num_frames(samples)),
        }
    }

    /// Its output on `window`, each stage of which `probe` sees.
    ///
    /// # Errors
    /// Where the window is too short, the device or the probe fails.
    pub fn forward(&self, window: &Window, probe: &mut dyn Probe) -> Result<Tensor> {
        let tensor = |values: Vec<f32>, shape: &[usize]| {
            Tensor::from_vec(values, shape, &Device::Cpu)?.to_device(self.device())
        };
        let waveform = tensor(
            window.waveform.iter().copied().collect(),
            window.waveform.shape(),
        )?;
        match self {
            Self::PyanNet(network) => network.forward(&waveform, probe),
            Self::WeSpeakerResNet(network) => {
                let masks = window.masks.as_ref().map(|masks| {
                    let values = masks.values.iter().copied().collect();
                    tensor(values, masks.values.shape())
                });
                network.forward(&waveform, masks.transpose()?.as_ref(), probe)
            }
        }
    }
}
