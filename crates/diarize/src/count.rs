//! Number of active speakers at each frame.

use ndarray::{Array1, Array2, ArrayView2, ArrayView3, Axis};

use crate::frames::FrameGrid;

/// Active speakers at each frame of the recording, from `activity` `[window, frame, speaker]` of 0 and 1: the mean over the
/// windows that cover a frame, halves rounded to even; 0 if none covers it.
/// pyannote.audio `SpeakerDiarizationMixin.speaker_count`, warm-up 0.
#[must_use]
pub fn speaker_count(activity: ArrayView3<'_, f32>, grid: &FrameGrid) -> Array1<usize> {
    let speaking = activity.sum_axis(Axis(2)).insert_axis(Axis(2));
    let covering = ndarray::Array3::ones(speaking.dim());
    let (speaking, covering) = (grid.sum(speaking.view()), grid.sum(covering.view()));
    speaking
        .iter()
        .zip(&covering)
        // The original's divisor is at least 1e-12, so that an uncovered frame has 0 speakers.
        .map(|(speaking, covering)| (speaking / covering.max(1e-12)).round_ties_even() as usize)
        .collect()
}

/// `activity` `[frame, local speaker]` of 0 and 1, set to 0 in the frames without exactly one active speaker.
pub(crate) fn alone(activity: ArrayView2<'_, f32>) -> Array2<f32> {
    let speaking = activity.sum_axis(Axis(1)).insert_axis(Axis(1));
    &activity * &speaking.mapv(|speaking| f32::from(speaking == 1.0))
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn halves_are_rounded_to_even_and_uncovered_frames_are_silent() {
        let grid = FrameGrid {
            duration: 1.0,
            step: 1.0,
            window_duration: 4.0,
            window_step: 0.0,
        };
        // Two windows on the same four frames: 0 + 1, 1 + 2, 2 + 3, 3 + 3 speakers; a fifth frame uncovered.
        let mut activity = Array3::zeros((2, 4, 3));
        for (window, frame, speakers) in [
            (0, 1, 1),
            (0, 2, 2),
            (0, 3, 3),
            (1, 0, 1),
            (1, 1, 2),
            (1, 2, 3),
            (1, 3, 3),
        ] {
            for speaker in 0..speakers {
                activity[[window, frame, speaker]] = 1.0;
            }
        }
        assert_eq!(
            speaker_count(activity.view(), &grid).to_vec(),
            [0, 2, 2, 3, 0]
        );
    }
}
