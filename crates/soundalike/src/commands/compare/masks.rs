//! Masks that embeddings are pooled with.

use clap::ValueEnum;
use soundalike_compare::{Masks, Window};
use soundalike_selftest::{Decoding, torch_reference};

use super::model::Model;

/// Frames that embeddings are pooled over: three code paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::commands) enum MaskChoice {
    /// The frames of each speaker in the reference segmentation, and of a silent speaker
    Speakers,
    /// A single frame
    OneFrame,
    /// The whole window
    None,
}

/// For a network of embeddings, each of `windows` with each of `choices`, or with all if `choices` is empty.
pub(in crate::commands) fn each(
    windows: Vec<Window>,
    choices: &[MaskChoice],
    model: &Model,
) -> anyhow::Result<Vec<Window>> {
    if !model.is_embedding() {
        return Ok(windows);
    }
    let choices = match choices {
        [] => MaskChoice::value_variants(),
        some => some,
    };
    let graph = model.bundle.architecture().graph(true).unwrap_or_default();
    let mut segmentation = None;
    if choices.contains(&MaskChoice::Speakers) {
        let bundle = model.segmentation()?;
        segmentation = Some((torch_reference(&bundle, None)?, Decoding::new(&bundle)));
    }
    let mut masked = Vec::new();
    for window in windows {
        for choice in choices {
            let masks = match (choice, &mut segmentation) {
                (MaskChoice::Speakers, Some((engine, decoding))) => {
                    Masks::of_speakers(&engine.output(&window)?, decoding)
                }
                (MaskChoice::OneFrame, _) => {
                    let frames = graph.pooled_frames(window.waveform.len());
                    frames.map(Masks::one_frame)
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
