//! How embeddings are pooled: three code paths.

use soundalike_compare::{CompareError, LiveReference, Masks, Window};
use soundalike_selftest::{Decoding, torch_reference};

use super::model::Model;

/// How embeddings are pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::commands) enum MaskChoice {
    /// By the frames of each speaker that the reference segmentation finds, and of a silent one
    Speakers,
    /// By a single frame
    OneFrame,
    /// Over the whole window
    None,
}

/// Each of `windows` with each of `choices`.
pub(super) fn each(
    windows: Vec<Window>,
    choices: &[MaskChoice],
    model: &Model,
) -> anyhow::Result<Vec<Window>> {
    let graph = model.bundle.architecture().graph(true).unwrap_or_default();
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
                    graph.pooled_frames(samples).map(Masks::one_frame)
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
    engine: LiveReference,
    decoding: Decoding,
}

impl Segmentation {
    fn load(model: &Model) -> anyhow::Result<Self> {
        let bundle = model.segmentation()?;
        Ok(Self {
            engine: torch_reference(&bundle, None)?,
            decoding: Decoding::new(&bundle),
        })
    }

    fn masks(&mut self, window: &Window) -> Result<Option<Masks>, CompareError> {
        let scores = self.engine.output(window)?;
        Ok(Masks::of_speakers(&scores, &self.decoding))
    }
}
