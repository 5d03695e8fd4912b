//! The built-in embeddings: what the segmentation network itself knows of a voice.
//!
//! They stand in where there is no speaker embedding network. Each local speaker is described by the
//! segmentation network's middle BiLSTM layers while they talk alone. This tells apart voices of one
//! recording, under one set of conditions, and no more.

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut1, Axis};
use soundalike_model::{Probe, Result, Tensor};

use crate::{count, segmentation::to_array, speaker_embedding::alone};

/// The LSTM layers, of `layers`, whose outputs describe a voice: those in the middle. Of segmentation-3.0's
/// four, the second and third gave the lowest DER over clips of two to twelve speakers; the first is closer
/// to the sound than to the voice, and the last knows only places within the window.
pub(crate) fn voice_layers(layers: usize) -> Range<usize> {
    (layers / 2).saturating_sub(1)..layers / 2 + 1
}

/// What is known of the local speakers of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// `[window, local speaker, feature]`; zeros for a silent one.
    pub vectors: Array3<f32>,
    /// Frames in which each talks alone, `[window][local speaker]`.
    pub alone: Vec<Vec<usize>>,
}

impl Embeddings {
    /// Those with the given `vectors`, of local speakers with the given `activity` `[window, frame, speaker]`.
    #[must_use]
    pub fn new(vectors: Array3<f32>, activity: ArrayView3<'_, f32>) -> Self {
        let frames = |activity: ArrayView2<'_, f32>| {
            let alone = count::alone(activity).sum_axis(Axis(0));
            alone.iter().map(|frames| *frames as usize).collect()
        };
        let alone = activity.outer_iter().map(frames).collect();
        Self { vectors, alone }
    }
}

/// Describes the local speakers of a window, `[speaker, feature]`, by the mean of `features`
/// `[frame, feature]` over the frames in which each talks alone, or at all where never alone; zeros for a
/// silent one. `activity` is `[frame, speaker]`.
fn describe(activity: ArrayView2<'_, f32>, features: ArrayView2<'_, f32>) -> Array2<f32> {
    let masks = alone(activity, 0);
    let mut vectors = Array2::zeros((activity.ncols(), features.ncols()));
    for (mask, vector) in masks.rows().into_iter().zip(vectors.rows_mut()) {
        masked_mean(features, mask, vector);
    }
    vectors
}

/// Mean of the rows of `features` that `mask` (0 or 1) keeps; left alone where it keeps none.
fn masked_mean(
    features: ArrayView2<'_, f32>,
    mask: ArrayView1<'_, f32>,
    mut mean: ArrayViewMut1<'_, f32>,
) {
    let kept = mask.sum();
    if kept > 0.0 {
        mean.assign(&(mask.dot(&features) / kept));
    }
}

/// Keeps the outputs of [`voice_layers`] as they pass.
#[derive(Debug)]
pub(crate) struct VoiceProbe {
    layers: Vec<String>,
    kept: Vec<Tensor>,
}

impl VoiceProbe {
    /// For a network whose LSTM layers have these names.
    pub(crate) fn new(layers: Vec<String>) -> Self {
        Self {
            layers: layers[voice_layers(layers.len())].to_vec(),
            kept: Vec::new(),
        }
    }

    /// What the local speakers of the batch sound like, `[window, speaker, feature]`, by their `activity`
    /// `[window, frame, speaker]`.
    pub(crate) fn describe(&self, activity: ArrayView3<'_, f32>) -> Result<Array3<f32>> {
        let features = to_array(&Tensor::cat(&self.kept, 2)?)?;
        let (windows, _, speakers) = activity.dim();
        let mut vectors = Array3::zeros((windows, speakers, features.dim().2));
        for ((mut vectors, activity), features) in vectors
            .outer_iter_mut()
            .zip(activity.outer_iter())
            .zip(features.outer_iter())
        {
            vectors.assign(&describe(activity, features));
        }
        Ok(vectors)
    }
}

impl Probe for VoiceProbe {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        if self.looks_at(name) {
            self.kept.push(value.clone());
        }
        Ok(value)
    }

    fn looks_at(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| layer == name)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn voices_are_described_by_the_layers_in_the_middle() {
        let layers = [1, 2, 3, 4, 6].map(voice_layers);
        assert_eq!(layers, [0..1, 0..2, 0..2, 1..3, 2..4]);
    }

    #[test]
    fn frames_of_overlap_count_only_where_there_is_nothing_else() {
        let activity = array![[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]];
        let features = array![[1.0, 0.0], [5.0, 0.0], [9.0, 0.0]];
        let vectors = describe(activity.view(), features.view());
        assert_eq!(vectors, array![[1.0, 0.0], [5.0, 0.0], [0.0, 0.0]]);
        let embeddings = Embeddings::new(
            vectors.insert_axis(Axis(0)),
            activity.insert_axis(Axis(0)).view(),
        );
        assert_eq!(embeddings.alone, [[1, 0, 0]]);
    }
}
