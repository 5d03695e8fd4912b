//! By what frames embeddings are pooled: three code paths.

use soundalike_harness::{Decoding, Masks, Network, TorchReference, Window};
use soundalike_model::{DType, Device, Kernels};

use super::model::Model;

/// By what frames embeddings are pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum MaskChoice {
    /// Those of each speaker that the reference segmentation hears, and none at all
    Speakers,
    /// A single one
    OneFrame,
    /// The whole window
    None,
}

/// Each of `windows` with each of `choices`. `network` is the one that pools.
pub(super) fn each(
    windows: Vec<Window>,
    choices: &[MaskChoice],
    model: &Model,
    network: &Network,
) -> anyhow::Result<Vec<Window>> {
    let mut speakers = choices
        .contains(&MaskChoice::Speakers)
        .then(|| Segmentation::load(model))
        .transpose()?;
    let mut masked = Vec::new();
    for window in windows {
        for choice in choices {
            let masks = match (choice, &mut speakers) {
                (MaskChoice::Speakers, Some(speakers)) => speakers.masks(&window)?,
                (MaskChoice::OneFrame, _) => {
                    let samples = window.waveform.len();
                    network.pooled_frames(samples).map(Masks::one_frame)
                }
                _ => None,
            };
            masked.push(Window {
                masks,
                ..window.clone()
            });
        }
    }
    Ok(masked)
}

/// The reference segmentation.
struct Segmentation {
    engine: TorchReference,
    decoding: Decoding,
}

impl Segmentation {
    fn load(model: &Model) -> anyhow::Result<Self> {
        let bundle = model.segmentation()?;
        let geometry =
            Network::load(&bundle, DType::F32, &Device::Cpu, Kernels::Portable)?.geometry();
        Ok(Self {
            engine: TorchReference::load(&bundle, None)?,
            decoding: Decoding::new(&bundle, geometry),
        })
    }

    fn masks(&mut self, window: &Window) -> anyhow::Result<Option<Masks>> {
        let scores = self.engine.output(window)?;
        Ok(Masks::of_speakers(&scores, &self.decoding))
    }
}
