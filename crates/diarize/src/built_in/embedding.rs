//! The built-in embeddings, from the segmentation network itself.
//!
//! They replace those of a speaker embedding network. The embedding of a local speaker is the mean output of the
//! segmentation network's middle BiLSTM layers over the frames where the speaker talks alone. It separates voices of one
//! recording, under one set of conditions, and no more.

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3};
use soundalike_model::{Probe, Result, Tensor};

use crate::{segmentation::to_array, speaker_embedding::alone};

/// The middle ones of `layers` LSTM layers, whose outputs make the embeddings. Of segmentation-3.0's four, the second and
/// third gave the lowest DER over clips of two to twelve speakers; the first is closer to the audio than to the voice,
/// and the last encodes only slots within the window.
pub(crate) fn voice_layers(layers: usize) -> Range<usize> {
    (layers / 2).saturating_sub(1)..layers / 2 + 1
}

/// Embeddings of the local speakers of a window, `[speaker, feature]`: the mean of `features` `[frame, feature]` over the
/// frames in which each talks alone, or over all its frames if there are none; zeros for a silent one. `activity` is
/// `[frame, speaker]`.
fn embed_window(activity: ArrayView2<'_, f32>, features: ArrayView2<'_, f32>) -> Array2<f32> {
    let masks = alone(activity, 0);
    let mut vectors = Array2::zeros((activity.ncols(), features.ncols()));
    for (mask, mut vector) in masks.rows().into_iter().zip(vectors.rows_mut()) {
        let frames = mask.sum();
        if frames > 0.0 {
            vector.assign(&(mask.dot(&features) / frames));
        }
    }
    vectors
}

/// Keeps the outputs of the [`voice_layers`] of a batch.
#[derive(Debug)]
pub(crate) struct VoiceProbe {
    layers: Vec<String>,
    kept: Vec<Tensor>,
}

impl VoiceProbe {
    /// A probe of a network whose LSTM layers have these names.
    pub(crate) fn new(layers: Vec<String>) -> Self {
        Self {
            layers: layers[voice_layers(layers.len())].to_vec(),
            kept: Vec::new(),
        }
    }

    /// Embeddings of the local speakers of the batch, `[window, speaker, feature]`, by their `activity`
    /// `[window, frame, speaker]`.
    pub(crate) fn embed(&self, activity: ArrayView3<'_, f32>) -> Result<Array3<f32>> {
        let features = to_array(&Tensor::cat(&self.kept, 2)?)?;
        let (windows, _, speakers) = activity.dim();
        let mut vectors = Array3::zeros((windows, speakers, features.dim().2));
        for ((mut vectors, activity), features) in vectors
            .outer_iter_mut()
            .zip(activity.outer_iter())
            .zip(features.outer_iter())
        {
            vectors.assign(&embed_window(activity, features));
        }
        Ok(vectors)
    }
}

impl Probe for VoiceProbe {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        if self.needs(name) {
            self.kept.push(value.clone());
        }
        Ok(value)
    }

    fn needs(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| layer == name)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn embeddings_come_from_the_layers_in_the_middle() {
        let layers = [1, 2, 3, 4, 6].map(voice_layers);
        assert_eq!(layers, [0..1, 0..2, 0..2, 1..3, 2..4]);
    }

    #[test]
    fn overlapping_frames_count_only_if_there_are_no_others() {
        let activity = array![[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]];
        let features = array![[1.0, 0.0], [5.0, 0.0], [9.0, 0.0]];
        let vectors = embed_window(activity.view(), features.view());
        assert_eq!(vectors, array![[1.0, 0.0], [5.0, 0.0], [0.0, 0.0]]);
    }
}
