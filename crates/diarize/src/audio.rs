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
    /// What the header gets wrong, as sentences for a person.
    pub notes: Vec<String>,
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
    /// A codec that is not decoded.
    #[error("holds {0}, which this build cannot decode; convert it: ffmpeg -i FILE converted.wav")]
    Codec(String),
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
            notes: decoding.notes().to_vec(),
        })
    }

    /// Length in seconds.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Seek, SeekFrom, Write},
        path::Path,
    };

    use super::*;

    /// The header of a mono WAV file of `bytes` bytes of samples, in the format `code` (1 for integers, 3 for floats).
    fn header(code: u16, bits: u16, rate: u32, bytes: u32) -> Vec<u8> {
        let block = bits / 8;
        [
            b"RIFF",
            &(36 + bytes).to_le_bytes()[..],
            b"WAVEfmt ",
            &16_u32.to_le_bytes(),
            &code.to_le_bytes(),
            &1_u16.to_le_bytes(),
            &rate.to_le_bytes(),
            &(rate * u32::from(block)).to_le_bytes(),
            &block.to_le_bytes(),
            &bits.to_le_bytes(),
            b"data",
            &bytes.to_le_bytes(),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Result<Audio, AudioError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Audio::read(file.path(), 16_000)
    }

    #[test]
    fn amplitudes_are_kept_as_they_are_and_refused_beyond_those_of_32_bit_integers() {
        let most = 2_147_483_648.0_f32;
        let with = |value: f32| {
            let mut bytes = header(3, 32, 16_000, 4 * 100);
            for index in 0..100 {
                let value = if index == 60 { value } else { 0.5 };
                bytes.extend(value.to_le_bytes());
            }
            read(&bytes)
        };
        for value in [-1.0, most, -most] {
            let audio = with(value).unwrap();
            assert_eq!((audio.samples[60], audio.samples[61]), (value, 0.5));
            assert_eq!((audio.duration(), audio.skipped_packets), (0.00625, 0));
        }
        for value in [f32::NAN, f32::INFINITY, most.next_up(), -most.next_up()] {
            let problem = with(value).unwrap_err().problem;
            let found = matches!(problem, AudioProblem::NotFinite { index: 60, .. });
            assert!(found, "{value}: {problem}");
        }
    }

    #[test]
    fn a_packet_that_cannot_be_decoded_is_silence_and_is_counted() {
        let clip = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/data/formats/clip.m4a"
        );
        let whole = Audio::read(Path::new(clip), 16_000).unwrap();
        assert_eq!(whole.skipped_packets, 0);
        let mut bytes = std::fs::read(clip).unwrap();
        // Within a packet of AAC.
        bytes[7657..7663].fill(0xff);
        let damaged = read(&bytes).unwrap();
        assert_eq!(damaged.skipped_packets, 1);
        assert_eq!(damaged.samples.len(), whole.samples.len());
    }

    #[test]
    fn recordings_that_were_joined_are_read_whole() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/formats/");
        for name in ["clip.mp3", "clip.ogg"] {
            let bytes = std::fs::read(format!("{folder}{name}")).unwrap();
            let once = read(&bytes).unwrap();
            let twice = read(&[&*bytes, &*bytes].concat()).unwrap();
            let (half, whole) = (once.samples.len(), twice.samples.len());
            println!("{name}: {half} {whole} {:?}", twice.notes);
            assert!(twice.samples[..half] == once.samples, "{name}");
            // Delay and padding of the second are part of it.
            assert!(
                whole >= 2 * half && whole < 2 * half + 4_000,
                "{name}: {whole}"
            );
        }
    }

    #[test]
    fn twelve_hours_are_read_and_one_sample_more_is_refused() {
        let rate = *SAMPLE_RATES.start();
        let most = MAX_HOURS as u32 * 3600 * rate;
        for (samples, too_long) in [(most, false), (most + 1, true)] {
            // Zeros after the header, which take no space.
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&header(1, 8, rate, samples)).unwrap();
            let end = file.seek(SeekFrom::End(0)).unwrap();
            file.as_file().set_len(end + u64::from(samples)).unwrap();
            let path: &Path = file.path();
            match Audio::read(path, rate) {
                Ok(audio) => assert!(!too_long && audio.samples.len() == samples as usize),
                Err(error) => assert!(too_long && matches!(error.problem, AudioProblem::TooLong)),
            }
        }
    }
}
