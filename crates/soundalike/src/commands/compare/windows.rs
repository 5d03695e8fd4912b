//! Windows of recordings.

use std::{path::Path, str::FromStr};

use anyhow::{Context, ensure};
use ndarray::Array3;
use soundalike_compare::Window;
use soundalike_convert::Bundle;
use soundalike_diarize::{audio::Audio, windows::Windows};

/// Seconds of a window if the model has no specifications.
const DEFAULT_DURATION: f64 = 10.0;
/// Longest window in seconds: real networks have 5 to 30, and time and memory grow with it.
const MAX_DURATION: f64 = 120.0;

#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    All,
    First(usize),
}

impl FromStr for Count {
    type Err = String;

    fn from_str(count: &str) -> Result<Self, String> {
        match (count, count.parse()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(count)) if count > 0 => Ok(Self::First(count)),
            _ => Err("expected `all` or a number of at least 1".to_owned()),
        }
    }
}

/// Sample rate of the network in `bundle`, and seconds of its windows.
pub(in crate::commands) fn format(bundle: &Bundle) -> anyhow::Result<(u32, f64)> {
    let architecture = bundle.architecture();
    let name = architecture.name();
    let sample_rate = architecture.sample_rate();
    let sample_rate =
        sample_rate.with_context(|| format!("the model is a {name}, which takes no audio"))?;
    let specifications = bundle.specifications();
    let duration = specifications.map_or(DEFAULT_DURATION, |known| known.duration);
    ensure!(
        duration <= MAX_DURATION,
        "the model's windows last {duration} s, expected at most {MAX_DURATION} s"
    );
    Ok((sample_rate, duration))
}

/// The first windows of the recording at `path`, without overlap, of the duration that the network in `bundle` was
/// trained on. A remainder at the end is dropped: padded with silence, it would say little about the recording. A
/// recording shorter than a window is padded with silence, as in `diarize`.
pub(super) fn read(path: &Path, bundle: &Bundle, count: Count) -> anyhow::Result<Vec<Window>> {
    let (sample_rate, duration) = format(bundle)?;
    let audio = Audio::read(path, sample_rate)?;
    let length = (duration * f64::from(sample_rate)).round() as usize;
    let windows = Windows {
        length,
        step: length,
    };
    let there = (audio.samples.len() / length).max(1);
    let wanted = match count {
        Count::All => there,
        Count::First(count) => count,
    };
    ensure!(
        wanted <= there,
        "{}: has {there} whole window(s) of {duration} s, fewer than --windows {wanted}",
        path.display()
    );
    let uri = path.file_stem().unwrap_or_default().to_string_lossy();
    let window = |index: usize| {
        let mut samples = vec![0.0; length];
        windows.copy(&audio.samples, index, &mut samples);
        Ok(Window {
            uri: uri.clone().into_owned(),
            start: index as f64 * duration,
            duration,
            waveform: Array3::from_shape_vec((1, 1, length), samples)?.into_dyn(),
            masks: None,
        })
    };
    (0..wanted).map(window).collect()
}
