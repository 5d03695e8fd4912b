//! The input of both sides.

use ndarray::{Array3, ArrayD};

use crate::{Decode, frames};

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
    /// The frames over which embeddings are pooled; none for the whole window, and for other networks.
    pub masks: Option<Masks>,
}

/// The frames of several speakers.
#[derive(Debug, Clone)]
pub struct Masks {
    /// A description.
    pub name: String,
    /// Between 0 and 1, `[1, speaker, frame]`.
    pub values: Array3<f32>,
}

impl Masks {
    /// The masks of the speakers that `decode` finds in `scores` `[1, frame, class]`, and of a silent one. None where the
    /// scores are not of speakers.
    #[must_use]
    pub fn of_speakers(scores: &ArrayD<f64>, decode: &dyn Decode) -> Option<Self> {
        let active = decode.active(frames(scores)?)?;
        let (frames, speakers) = active.dim();
        let talks = |(_, speaker, frame): (usize, usize, usize)| {
            f32::from(u8::from(speaker < speakers && active[[frame, speaker]]))
        };
        Some(Self {
            name: format!("masks of {speakers} speakers and a silent one"),
            values: Array3::from_shape_fn((1, speakers + 1, frames), talks),
        })
    }

    /// A mask of the middle one of `frames` frames. With as many frames as the network pools, resampling keeps it.
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

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::{Meaning, decode::tests::AboveAHalf};

    #[test]
    fn masks_are_those_of_the_speakers_and_of_a_silent_one() {
        let scores = array![[[0.9, 0.1], [0.8, 0.7]]].into_dyn();
        let masks = Masks::of_speakers(&scores, &AboveAHalf).unwrap();
        assert_eq!(masks.values, array![[[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]]);
        assert!(Masks::of_speakers(&scores, &Meaning::Vectors).is_none());
        assert_eq!(Masks::one_frame(3).values, array![[[0.0, 1.0, 0.0]]]);
    }
}
