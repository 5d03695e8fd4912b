//! What both sides are fed.

use ndarray::{Array3, ArrayD};

use crate::Decoding;

/// One window of one recording.
#[derive(Debug, Clone)]
pub struct Window {
    /// File name.
    pub uri: String,
    /// Seconds from the start of the file.
    pub start: f64,
    /// Seconds.
    pub duration: f64,
    /// Amplitudes at the network's sample rate, `[1, 1, samples]`.
    pub waveform: ArrayD<f32>,
    /// By what frames embeddings are pooled; none for the whole window, and for other networks.
    pub masks: Option<Masks>,
}

/// The frames of several speakers.
#[derive(Debug, Clone)]
pub struct Masks {
    /// Whose they are, in words.
    pub name: String,
    /// Between 0 and 1, `[1, speaker, frame]`.
    pub values: Array3<f32>,
}

impl Masks {
    /// Those of the speakers that `decoding` finds in `scores` `[1, frame, class]`, and of one more, who is
    /// silent. None where the scores are not of speakers.
    #[must_use]
    pub fn of_speakers(scores: &ArrayD<f64>, decoding: &Decoding) -> Option<Self> {
        let active = decoding.active(scores)?;
        let (frames, speakers) = active.dim();
        let talks = |(_, speaker, frame): (usize, usize, usize)| {
            f32::from(u8::from(speaker < speakers && active[[frame, speaker]]))
        };
        Some(Self {
            name: format!("masks of {speakers} speakers and a silent one"),
            values: Array3::from_shape_fn((1, speakers + 1, frames), talks),
        })
    }

    /// That of one who is there for one of `frames` frames, in the middle. With as many frames as the network
    /// pools, none is lost in between.
    #[must_use]
    pub fn one_frame(frames: usize) -> Self {
        let mut values = Array3::zeros((1, 1, frames));
        if let Some(middle) = values.get_mut((0, 0, frames / 2)) {
            *middle = 1.0;
        }
        Self {
            name: "a mask of one frame".to_owned(),
            values,
        }
    }
}

impl Window {
    /// The first `samples` samples, or all.
    pub(crate) fn shortened(&self, samples: usize) -> Self {
        let samples = samples.min(self.waveform.len());
        let waveform = self.waveform.iter().take(samples).copied();
        Self {
            waveform: Array3::from_shape_vec((1, 1, samples), waveform.collect())
                .map_or_else(|_| self.waveform.clone(), Array3::into_dyn),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use soundalike_diarize::frames::FrameGrid;

    use super::*;

    #[test]
    fn masks_are_those_of_the_speakers_and_of_nobody() {
        let grid = FrameGrid {
            duration: 1.0,
            step: 1.0,
            window_duration: 0.0,
            window_step: 0.0,
        };
        let scores = array![[[0.9, 0.1], [0.8, 0.7]]].into_dyn();
        let masks = Masks::of_speakers(&scores, &Decoding::Threshold { grid }).unwrap();
        assert_eq!(masks.values, array![[[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]]);
        assert!(Masks::of_speakers(&scores, &Decoding::Embedding).is_none());
        assert_eq!(Masks::one_frame(3).values, array![[[0.0, 1.0, 0.0]]]);
    }
}
