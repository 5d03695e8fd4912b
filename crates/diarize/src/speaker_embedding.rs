//! The speaker embedding network over windows.

use std::sync::Arc;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, s};
use soundalike_convert::Bundle;
use soundalike_model::{
    Engine, Input, LoadError, Network, NoProbe, Result, Tensor, TensorError, load,
};
use soundalike_network::Output;

use crate::{count, segmentation::to_array, windows::Windows};

/// The speaker embedding network, and the choice of frames for each local speaker.
#[derive(Debug, Clone)]
pub struct SpeakerEmbedder {
    network: Arc<dyn Network>,
    sample_rate: u32,
    dimension: usize,
    min_num_samples: usize,
    exclude_overlap: bool,
}

impl SpeakerEmbedder {
    /// Builds the network of `bundle`. With `exclude_overlap` an embedding is taken from the frames where the speaker talks
    /// alone, unless they are too few. pyannote.audio `SpeakerDiarization(embedding_exclude_overlap)`.
    ///
    /// # Errors
    /// [`LoadError`] if the bundle holds no speaker embedding network.
    pub fn new(
        bundle: &Bundle,
        exclude_overlap: bool,
        engine: &Engine,
    ) -> std::result::Result<Self, LoadError> {
        let network = load(bundle, engine)?;
        let architecture = bundle.architecture();
        let (Output::Embedding { dimension }, Some(sample_rate), Some(min_num_samples)) = (
            architecture.output(),
            architecture.sample_rate(),
            network.graph(true).min_num_samples(),
        ) else {
            return Err(LoadError::NotEmbedding {
                found: architecture.name(),
            });
        };
        Ok(Self {
            network: network.into(),
            sample_rate,
            dimension,
            min_num_samples,
            exclude_overlap,
        })
    }

    /// Samples per second of its input.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Values of an embedding: 256.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The embedding, not normalised, of each local speaker of the first windows of `samples`,
    /// `[window, local speaker, dimension]`, by their `activity` `[window, frame, local speaker]` of 0 and 1.
    /// pyannote.audio `SpeakerDiarization.get_embeddings`.
    ///
    /// The trunk runs once for all speakers of a window, and not for windows without speech. A silent local speaker gets
    /// zeros in place of the original's constant. No result depends on it: a silent speaker never talks alone
    /// (`filter_embeddings` drops it), has the lowest row in the assignment, and is removed from its cluster afterwards
    /// (`apply`).
    ///
    /// # Errors
    /// If the device fails, or an embedding is NaN.
    pub fn embed(
        &self,
        samples: &[f32],
        windows: Windows,
        activity: ArrayView3<'_, f32>,
    ) -> Result<Array3<f32>> {
        let (count, frames, speakers) = activity.dim();
        let mut embeddings = Array3::zeros((count, speakers, self.dimension()));
        let spoken: Vec<usize> = (0..count)
            .filter(|window| activity.index_axis(Axis(0), *window).sum() > 0.0)
            .collect();
        let min_clean_frames = self.min_clean_frames(frames, windows.length);
        if spoken.is_empty() {
            return Ok(embeddings);
        }
        let waveforms = windows.batch(samples, spoken.iter().copied());
        let shape = (spoken.len(), 1, windows.length);
        let device = &self.network.engine().device;
        let waveforms = Tensor::from_vec(waveforms, shape, device)?;
        let mut masks = Vec::with_capacity(spoken.len() * speakers * frames);
        for window in &spoken {
            let activity = activity.index_axis(Axis(0), *window);
            masks.extend(match self.exclude_overlap {
                true => alone(activity, min_clean_frames),
                false => activity.t().to_owned(),
            });
        }
        let shape = (spoken.len(), speakers, frames);
        let masks = Tensor::from_vec(masks, shape, device)?;
        let input = Input {
            waveforms: &waveforms,
            masks: Some(&masks),
        };
        let vectors = self.network.forward(input, &mut NoProbe)?;
        for (window, vectors) in spoken.iter().zip(to_array(&vectors)?.outer_iter()) {
            for (speaker, vector) in vectors.outer_iter().enumerate() {
                if activity.slice(s![*window, .., speaker]).sum() > 0.0 {
                    embeddings
                        .slice_mut(s![*window, speaker, ..])
                        .assign(&vector);
                }
            }
        }
        match embeddings.iter().find(|value| value.is_nan()) {
            None => Ok(embeddings),
            Some(value) => Err(TensorError::msg(format!(
                "an embedding is {value} in {:?}; try a wider dtype",
                self.network.engine().dtype
            ))),
        }
    }

    /// In a window of `frames` frames and `length` samples, a local speaker must talk alone in more frames than this for an
    /// embedding of only these frames.
    #[must_use]
    pub fn min_clean_frames(&self, frames: usize, length: usize) -> usize {
        min_clean_frames(frames, self.min_num_samples, length)
    }
}

/// [`SpeakerEmbedder::min_clean_frames`] of a network that needs `min_num_samples`: pyannote.audio
/// `math.ceil(num_frames * self._embedding.min_num_samples / num_samples)`.
#[must_use]
pub fn min_clean_frames(frames: usize, min_num_samples: usize, length: usize) -> usize {
    (frames * min_num_samples).div_ceil(length)
}

/// The frames from which the embedding of each local speaker of a window is taken, `[local speaker, frame]`, by the
/// `activity` `[frame, local speaker]` of 0 and 1: those where the speaker talks alone if they are more than `min_clean_frames`,
/// else all active ones. pyannote.audio `SpeakerDiarization.get_embeddings(exclude_overlap=True)`.
#[must_use]
pub fn alone(activity: ArrayView2<'_, f32>, min_clean_frames: usize) -> Array2<f32> {
    let mut masks = activity.t().to_owned();
    let alone = count::alone(activity);
    for (mut mask, alone) in masks.rows_mut().into_iter().zip(alone.columns()) {
        if alone.sum() > min_clean_frames as f32 {
            mask.assign(&alone);
        }
    }
    masks
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn as_many_clean_frames_as_the_network_needs_are_not_enough() {
        // 1.47 frames have the 400 samples of one frame of the filter bank.
        assert_eq!(min_clean_frames(589, 400, 160_000), 2);
        assert_eq!(min_clean_frames(400, 400, 160_000), 1);
        // `if np.sum(clean_mask) > min_num_frames`, else the whole mask.
        let activity = array![[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]];
        let clean = array![[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let whole = array![[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]];
        assert_eq!(alone(activity.view(), 1), clean);
        assert_eq!(alone(activity.view(), 2), whole);
    }
}
