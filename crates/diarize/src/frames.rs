//! The frames of a whole recording.

use ndarray::{Array2, ArrayView3};
use serde::{Deserialize, Serialize};

/// Frames of a whole recording, and the position of each window on them. Times are seconds.
/// `pyannote.core.SlidingWindow` starting at 0, as in `Inference.aggregate`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameGrid {
    /// Duration of a frame: the receptive field of the network, 0.0619375 s.
    pub duration: f64,
    /// Step from one frame to the next, 0.016875 s.
    pub step: f64,
    /// Duration of a window.
    pub window_duration: f64,
    /// Step from one window to the next.
    pub window_step: f64,
}

impl FrameGrid {
    /// The frame whose middle is closest to `time`, halves to even (`SlidingWindow.closest_frame`).
    fn closest(&self, time: f64) -> usize {
        ((time - 0.5 * self.duration) / self.step)
            .round_ties_even()
            .max(0.0) as usize
    }

    /// The first frame of window `index`: 0, 59, 119, 178, 237, 296, ... for windows of 10 s every second.
    #[must_use]
    pub fn first_frame(&self, index: usize) -> usize {
        self.closest(index as f64 * self.window_step + 0.5 * self.duration)
    }

    /// Frames of a recording of `windows` windows (at least one): 594 for one of 10 s, whose own 589 frames leave the rest
    /// empty.
    #[must_use]
    pub fn count(&self, windows: usize) -> usize {
        let last = (windows - 1) as f64 * self.window_step;
        self.closest(self.window_duration + last + 0.5 * self.duration) + 1
    }

    /// The middle of frame `index`, where turns start and end.
    #[must_use]
    pub fn middle(&self, index: usize) -> f64 {
        let start = index as f64 * self.step;
        0.5 * (start + (start + self.duration))
    }

    /// Sums `values` `[window, frame, column]` over windows to the frames of the recording, `[frame, column]`, in f32 as in
    /// the original. `Inference.aggregate(hamming=False, skip_average=True, missing=0.0)`.
    #[must_use]
    pub fn sum(&self, values: ArrayView3<'_, f32>) -> Array2<f32> {
        let (windows, _, columns) = values.dim();
        let mut sum = Array2::zeros((self.count(windows), columns));
        for (index, window) in values.outer_iter().enumerate() {
            let first = self.first_frame(index);
            for (offset, row) in window.outer_iter().enumerate() {
                let mut frame = sum.row_mut(first + offset);
                frame += &row;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const PYANNOTE: FrameGrid = FrameGrid {
        duration: 0.061_937_5,
        step: 0.016_875,
        window_duration: 10.0,
        window_step: 1.0,
    };

    #[test]
    fn windows_start_where_they_do_in_pyannote() {
        let first: Vec<_> = (0..6).map(|index| PYANNOTE.first_frame(index)).collect();
        assert_eq!(first, [0, 59, 119, 178, 237, 296]);
    }

    #[test]
    fn recordings_have_as_many_frames_as_in_pyannote() {
        for (windows, frames) in [(1, 594), (2, 653), (4, 771), (21, 1779)] {
            assert_eq!(PYANNOTE.count(windows), frames, "{windows} windows");
        }
    }

    #[test]
    fn every_window_fits_on_the_grid() {
        for windows in 1..5_000 {
            assert!(
                PYANNOTE.first_frame(windows - 1) + 589 <= PYANNOTE.count(windows),
                "{windows} windows"
            );
        }
    }
}
