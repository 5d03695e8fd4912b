//! The windows of a recording, in batches.

use std::ops::Range;

use ndarray::{Array1, Axis};
use soundalike_compare::{Input, Path, PathCheck, Window};
use soundalike_diarize::{audio::Audio, windows::Windows};

/// The windows of a recording.
pub(super) struct Cut<'a> {
    pub(super) uri: &'a str,
    pub(super) audio: &'a Audio,
    pub(super) windows: Windows,
    /// Most windows of a batch.
    pub(super) batch: usize,
}

impl Cut<'_> {
    /// Number of windows: all that fit, and one more for the rest. pyannote.audio `Inference.slide`.
    fn count(&self) -> usize {
        let (samples, length) = (self.audio.samples.len(), self.windows.length);
        let starts = (0..).step_by(self.windows.step);
        let whole = starts.take_while(|start| start + length <= samples).count();
        let covered = whole
            .checked_sub(1)
            .map(|last| last * self.windows.step + length);
        whole + usize::from(covered != Some(samples))
    }

    /// The windows of each batch.
    pub(super) fn batches(&self) -> impl Iterator<Item = Range<usize>> {
        let (count, most) = (self.count(), self.batch);
        let starts = (0..count).step_by(most);
        starts.map(move |start| start..(start + most).min(count))
    }

    /// The samples from the start of a batch on.
    pub(super) fn samples(&self, batch: &Range<usize>) -> &[f32] {
        self.audio
            .samples
            .get(batch.start * self.windows.step..)
            .unwrap_or_default()
    }

    /// A window and its name.
    pub(super) fn window(&self, index: usize) -> (String, Window) {
        let seconds = |samples: usize| samples as f64 / f64::from(self.audio.sample_rate);
        // Zeros behind the end: pyannote.audio `Inference.slide`.
        let samples = self.samples(&(index..index + 1)).iter().copied();
        let padded = samples.chain(std::iter::repeat(0.0));
        let samples: Vec<f32> = padded.take(self.windows.length).collect();
        let samples = Array1::from(samples).insert_axis(Axis(0));
        let window = Window {
            uri: self.uri.to_owned(),
            start: seconds(index * self.windows.step),
            duration: seconds(self.windows.length),
            waveform: samples.insert_axis(Axis(0)).into_dyn(),
            masks: None,
        };
        (Input::new(&window).to_string(), window)
    }

    /// A check of `path` without outputs yet.
    pub(super) fn check(&self, path: Path, allowed: f64) -> PathCheck {
        let windows = format!("{} windows of {}", self.count(), self.uri);
        let runs = match path {
            Path::Product => windows,
            _ => {
                let sizes = self.batches().map(|batch| batch.len().to_string());
                let sizes: Vec<_> = sizes.collect();
                format!("{windows} in batches of {}", sizes.join(" and "))
            }
        };
        PathCheck::new(path, runs, allowed)
    }
}
