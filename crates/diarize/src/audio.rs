//! Audio files to mono samples at the network's rate.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use symphonia::core::{
    codecs::audio::AudioDecoderOptions,
    errors::Error as DecodeError,
    formats::{FormatOptions, TrackType, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
};

use crate::resampling::Resampling;

/// Most samples that are decoded, all channels averaged: 12 hours at 48 kHz. A file of a few bytes may claim
/// any length, and a compressed one may hold it.
const MAX_SAMPLES: usize = MAX_HOURS * 3600 * 48_000;
/// Longest recording, so that a low sample rate makes no longer one of as many samples.
const MAX_HOURS: usize = 12;
/// Sample rates that recordings of speech have, and some. Resampling takes memory in proportion to the
/// quotient of the rates.
const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;
/// Largest amplitude, that of 32-bit integers which somebody wrote as floats without scaling. The squares of
/// larger ones leave the range of f32.
const MAX_AMPLITUDE: f32 = 2_147_483_648.0;

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
    #[error("{}: cannot be read: {source}", path.display())]
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
        "{}: is not audio this build can read: {source}; convert it to WAV, FLAC, MP3, OGG Vorbis, M4A, AIFF, CAF or MKV",
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
    #[error("{}: cannot be decoded after {decoded} samples: {source}; is the file damaged?", path.display())]
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
    /// The recording is longer than this program holds in memory.
    #[error("{}: is longer than {MAX_HOURS} hours, or has more than {MAX_SAMPLES} samples; split it", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Its sample rate cannot be converted.
    #[error("{}: cannot be resampled from {from} Hz to {to} Hz: {reason}", path.display())]
    Resample {
        /// The file.
        path: PathBuf,
        /// Its rate.
        from: u32,
        /// The rate wanted.
        to: u32,
        /// What the resampler said.
        reason: String,
    },
}

impl Audio {
    /// Decodes `path`, averages its channels and resamples it to `sample_rate` as it comes. No change of level.
    /// pyannote.audio `core/io.py`, `Audio.downmix_and_resample`.
    ///
    /// # Errors
    /// [`AudioError`], which names the file.
    pub fn read(path: &Path, sample_rate: u32) -> Result<Self, AudioError> {
        decode(path, sample_rate)
    }

    /// Seconds.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }
}

/// Decodes the first audio track of `path`, averages its channels and brings them to `sample_rate`.
fn decode(path: &Path, sample_rate: u32) -> Result<Audio, AudioError> {
    let here = || path.to_owned();
    let read = |source| AudioError::Read {
        path: here(),
        source,
    };
    let metadata = path.metadata().map_err(read)?;
    if metadata.is_dir() {
        return Err(AudioError::Directory { path: here() });
    }
    if metadata.is_file() && metadata.len() == 0 {
        return Err(AudioError::EmptyFile { path: here() });
    }
    let unknown = |source| AudioError::Unknown {
        path: here(),
        source,
    };
    let mut hint = Hint::new();
    if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
        hint.with_extension(extension);
    }
    let stream = MediaSourceStream::new(
        Box::new(File::open(path).map_err(read)?),
        Default::default(),
    );
    let mut format = symphonia::default::get_probe()
        .probe(
            &hint,
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(unknown)?;
    let track = format
        .default_track(TrackType::Audio)
        .ok_or_else(|| AudioError::NoTrack { path: here() })?;
    let parameters = track
        .codec_params
        .as_ref()
        .and_then(|parameters| parameters.audio());
    let parameters = parameters.ok_or_else(|| AudioError::NoTrack { path: here() })?;
    let from = parameters
        .sample_rate
        .filter(|rate| SAMPLE_RATES.contains(rate))
        .ok_or_else(|| AudioError::NoSampleRate { path: here() })?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(unknown)?;
    let (track, announced, time_base) = (track.id, track.num_frames, track.time_base);
    // A container may count the last block of a codec as a full one (ffmpeg's ALAC in CAF). PCM has blocks of 1.
    let block = parameters.frames_per_block.unwrap_or(1).max(1);

    let most = MAX_SAMPLES.min(MAX_HOURS * 3600 * from as usize);
    let resample = |reason| AudioError::Resample {
        path: here(),
        from,
        to: sample_rate,
        reason,
    };
    let mut samples = Resampling::new(from, sample_rate).map_err(resample)?;
    let (mut skipped_packets, mut not_finite) = (0, None);
    let (mut interleaved, mut mono): (Vec<f32>, Vec<f32>) = (Vec::new(), Vec::new());
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // A container that ends in the middle of a packet; what is missing is counted below.
            Err(DecodeError::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                break;
            }
            Err(source) => {
                return Err(AudioError::Decode {
                    path: here(),
                    decoded: samples.taken(),
                    source,
                });
            }
        };
        if packet.track_id != track {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(decoded) => {
                let channels = decoded.num_planes().max(1);
                decoded.copy_to_vec_interleaved(&mut interleaved);
                let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
                mono.clear();
                mono.extend(interleaved.chunks_exact(channels).map(mean));
                let mut values = (samples.taken()..).zip(&mono);
                let odd = values.find(|(_, x)| x.is_nan() || x.abs() > MAX_AMPLITUDE);
                not_finite = not_finite.or(odd.map(|(index, value)| (index, *value)));
                samples.push(&mono).map_err(resample)?;
            }
            // One bad packet of a lossy stream; players go on, and so do we, and say so. Silence in its
            // place, or all that follows would come early.
            Err(DecodeError::DecodeError(_)) => {
                skipped_packets += 1;
                let seconds = time_base.map_or(0.0, |base| {
                    packet.dur.get() as f64 * f64::from(base.numer.get())
                        / f64::from(base.denom.get())
                });
                let silent = (seconds * f64::from(from)).round() as usize;
                samples
                    .push(&vec![0.0; silent.min(most)])
                    .map_err(resample)?;
            }
            Err(source) => {
                return Err(AudioError::Decode {
                    path: here(),
                    decoded: samples.taken(),
                    source,
                });
            }
        }
        if samples.taken() > most {
            return Err(AudioError::TooLong { path: here() });
        }
    }
    match announced {
        Some(expected) if (samples.taken() as u64).saturating_add(block) <= expected => {
            return Err(AudioError::Truncated {
                path: here(),
                expected,
                found: samples.taken(),
            });
        }
        _ if samples.taken() == 0 => return Err(AudioError::NoSamples { path: here() }),
        _ => {}
    }
    if let Some((index, value)) = not_finite {
        return Err(AudioError::NotFinite {
            path: here(),
            index,
            value,
        });
    }
    Ok(Audio {
        samples: samples.finish().map_err(resample)?,
        sample_rate,
        skipped_packets,
    })
}
