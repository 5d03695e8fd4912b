//! Audio files to mono samples at the network's sample rate.

use std::{
    error::Error,
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use symphonia::core::errors::Error as DecodeError;

use crate::{
    decoding::{Decoding, MAX_HOURS, MAX_SAMPLES, SAMPLE_RATES},
    resampling::ResampleError,
};

/// A mono recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// Amplitudes, full scale 1.
    pub samples: Vec<f32>,
    /// Samples per second.
    pub sample_rate: u32,
    /// Packets that could not be decoded and were replaced by silence.
    pub skipped_packets: usize,
}

/// Why a file gives no audio.
#[derive(Debug)]
pub struct AudioError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: AudioProblem,
}

/// What is wrong with an audio file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioProblem {
    /// Opening or reading it failed.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// It is a directory.
    #[error("is a directory, expected an audio file")]
    Directory,
    /// The file has no bytes.
    #[error("is empty, expected audio")]
    EmptyFile,
    /// No audio container or codec was recognised.
    #[error(
        "is not audio this build can read; convert it to WAV, FLAC, MP3, OGG Vorbis, M4A, AIFF, CAF or MKV"
    )]
    Unknown(#[source] DecodeError),
    /// The container has no audio track.
    #[error("has no audio track")]
    NoTrack,
    /// The track has no sample rate, or one that no recording of speech has.
    #[error(
        "has no sample rate, or one outside {} to {} Hz",
        SAMPLE_RATES.start(),
        SAMPLE_RATES.end()
    )]
    NoSampleRate,
    /// Decoding failed after `decoded` samples.
    #[error("cannot be decoded after {decoded} samples; is the file damaged?")]
    Decode {
        /// Samples decoded before the failure.
        decoded: usize,
        /// The decoder's error.
        source: DecodeError,
    },
    /// The file ends before the audio that its header announces.
    #[error("is truncated: it has {found} of the {expected} samples that its header announces")]
    Truncated {
        /// Samples announced.
        expected: u64,
        /// Samples found.
        found: usize,
    },
    /// The track has no samples.
    #[error("has no samples")]
    NoSamples,
    /// A sample is NaN, infinite or larger than any real amplitude.
    #[error("sample {index} is {value}, expected a finite amplitude, 1 for full scale")]
    NotFinite {
        /// Index of the sample.
        index: usize,
        /// The sample.
        value: f32,
    },
    /// The recording is too long.
    #[error("is longer than {MAX_HOURS} hours, or has more than {MAX_SAMPLES} samples; split it")]
    TooLong,
    /// The file was read twice, and had fewer samples the second time.
    #[error("has {found} samples, but had {expected} when it was opened; was it changed?")]
    Changed {
        /// Samples of the first pass.
        expected: usize,
        /// Samples of the second pass.
        found: usize,
    },
    /// The sample rate cannot be converted.
    #[error("cannot be resampled from {from} Hz to {to} Hz")]
    Resample {
        /// Sample rate of the file.
        from: u32,
        /// Sample rate requested.
        to: u32,
        /// The resampler's error.
        source: ResampleError,
    },
}

impl fmt::Display for AudioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl Error for AudioError {
    /// The cause of the problem, whose own text is part of this error's.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

impl AudioProblem {
    /// The same as an error of the file at `path`.
    pub(crate) fn at(self, path: &Path) -> AudioError {
        AudioError {
            path: path.to_owned(),
            problem: self,
        }
    }
}

impl Audio {
    /// Decodes `path`, averages its channels and resamples them to `sample_rate`, packet by packet. The level is not
    /// changed. pyannote.audio `core/io.py`, `Audio.downmix_and_resample`.
    ///
    /// # Errors
    /// [`AudioError`], which names the file.
    pub fn read(path: &Path, sample_rate: u32) -> Result<Self, AudioError> {
        let file = File::open(path).map_err(|error| AudioProblem::Read(error).at(path))?;
        let mut decoding = Decoding::new(path, file, sample_rate)?;
        let mut samples = Vec::new();
        while decoding.more(&mut samples)? {}
        Ok(Self {
            samples,
            sample_rate,
            skipped_packets: decoding.skipped_packets(),
        })
    }

    /// Length in seconds.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }
}
