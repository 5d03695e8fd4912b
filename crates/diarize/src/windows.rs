//! Cutting a recording into overlapping windows.

use std::ops::Range;

/// Sliding windows over a recording. pyannote.audio `Inference.slide`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Samples of a window.
    pub length: usize,
    /// Samples from the start of one window to the start of the next; at least 1.
    pub step: usize,
}

impl Windows {
    /// Number of windows over `samples` samples: all that fit, and one more, padded with zeros on the right, if samples
    /// remain at the end or the recording is shorter than a window.
    #[must_use]
    pub fn count(&self, samples: usize) -> usize {
        match samples.checked_sub(self.length) {
            None => 1,
            Some(rest) => rest / self.step + 1 + usize::from(!rest.is_multiple_of(self.step)),
        }
    }

    /// The samples that the windows `range`, at least one, cover.
    pub(crate) fn span(&self, range: Range<usize>) -> Range<usize> {
        range.start * self.step..(range.end - 1) * self.step + self.length
    }

    /// Copies window `index` of `samples` into `window` (`[length]`), with zeros after the end of the recording.
    pub fn copy(&self, samples: &[f32], index: usize, window: &mut [f32]) {
        let rest = samples.get(index * self.step..).unwrap_or_default();
        let filled = rest.len().min(window.len());
        window[..filled].copy_from_slice(&rest[..filled]);
        window[filled..].fill(0.0);
    }

    /// The windows `indices` of `samples`, one after the other.
    pub fn batch(
        &self,
        samples: &[f32],
        indices: impl ExactSizeIterator<Item = usize>,
    ) -> Vec<f32> {
        let mut batch = vec![0.0; indices.len() * self.length];
        for (index, window) in indices.zip(batch.chunks_exact_mut(self.length)) {
            self.copy(samples, index, window);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYANNOTE: Windows = Windows {
        length: 160_000,
        step: 16_000,
    };

    #[test]
    fn counts_are_those_of_pyannote() {
        // (seconds, windows): PyTorch's unfold plus `has_last_chunk` of Inference.slide.
        for (seconds, windows) in [
            (0.02, 1),
            (9.9, 1),
            (10.0, 1),
            (10.1, 2),
            (11.0, 2),
            (12.3, 4),
            (30.0, 21),
        ] {
            let samples = (seconds * 16_000.0_f64).round() as usize;
            assert_eq!(PYANNOTE.count(samples), windows, "{seconds} s");
        }
    }

    #[test]
    fn the_last_window_is_padded_with_zeros() {
        let windows = Windows { length: 4, step: 2 };
        let mut window = [9.0; 4];
        windows.copy(&[1.0, 2.0, 3.0, 4.0, 5.0], 1, &mut window);
        assert_eq!(window, [3.0, 4.0, 5.0, 0.0]);
    }
}
