//! Audio files to mono samples at the network's rate.

use std::{
    io,
    path::{Path, PathBuf},
};

use symphonia::core::errors::Error as DecodeError;

use crate::decoding::{Decoding, MAX_HOURS, MAX_SAMPLES, SAMPLE_RATES};

/// A mono recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// Amplitudes, full scale 1.
    pub samples: Vec<f32>,
    /// Samples per second.
    pub sample_rate: u32,
    /// Packets that could not be decoded and became silence.
    pub skipped_packets: usize,
}

/// Why a file gives no audio.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The file cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory.
    #[error("{}: is a directory, expected an audio file", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error("{}: is empty, expected audio", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// No container or codec of audio was recognised.
    #[error(
        "{}: is not audio this build can read; convert it to WAV, FLAC, MP3, OGG Vorbis, M4A, AIFF, CAF or MKV",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: DecodeError,
    },
    /// The container has no audio track.
    #[error("{}: has no audio track", path.display())]
    NoTrack {
        /// The file.
        path: PathBuf,
    },
    /// The track has no sample rate, or one that no recording of speech has.
    #[error(
        "{}: says no sample rate from {} to {} Hz",
        path.display(),
        SAMPLE_RATES.start(),
        SAMPLE_RATES.end()
    )]
    NoSampleRate {
        /// The file.
        path: PathBuf,
    },
    /// Decoding failed half-way.
    #[error("{}: cannot be decoded after {decoded} samples; is the file damaged?", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Samples that were decoded until then.
        decoded: usize,
        /// What the decoder said.
        source: DecodeError,
    },
    /// The file ends before the audio its header announces.
    #[error("{}: is truncated: it has {found} of the {expected} samples it announces", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Samples announced.
        expected: u64,
        /// Samples found.
        found: usize,
    },
    /// There is no sample in it.
    #[error("{}: has no samples", path.display())]
    NoSamples {
        /// The file.
        path: PathBuf,
    },
    /// A sample is NaN, infinite or absurdly loud.
    #[error("{}: sample {index} is {value}, expected a finite amplitude, 1 for full scale", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Index of the sample.
        index: usize,
        /// The sample.
        value: f32,
    },
    /// The recording is longer than any that this program takes.
    #[error("{}: is longer than {MAX_HOURS} hours, or has more than {MAX_SAMPLES} samples; split it", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It was read twice, and ended earlier the second time.
    #[error("{}: has {found} samples where it had {expected} before; was it changed meanwhile?", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Samples there were.
        expected: usize,
        /// Samples there are.
        found: usize,
    },
    /// Its sample rate cannot be converted.
    #[error("{}: cannot be resampled from {from} Hz to {to} Hz", path.display())]
    Resample {
        /// The file.
        path: PathBuf,
        /// Its rate.
        from: u32,
        /// The rate wanted.
        to: u32,
        /// The resampler's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl AudioError {
    /// What the system said when `path` was read.
    pub(crate) fn reading(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read {
            path: path.to_owned(),
            source,
        }
    }
}

impl Audio {
    /// Decodes `path`, averages its channels and resamples it to `sample_rate` as it comes. No change of level.
    /// pyannote.audio `core/io.py`, `Audio.downmix_and_resample`.
    ///
    /// # Errors
    /// [`AudioError`], which names the file.
    pub fn read(path: &Path, sample_rate: u32) -> Result<Self, AudioError> {
        let mut decoding = Decoding::open(path, sample_rate)?;
        let mut samples = Vec::new();
        while decoding.more(&mut samples)? {}
        Ok(Self {
            samples,
            sample_rate,
            skipped_packets: decoding.skipped_packets(),
        })
    }

    /// Seconds.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }
}
