//! Decoding audio files, a packet at a time.

use std::{
    fs::File,
    io::{self, Seek},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error as DecodeError,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
    packet::Packet,
    units::TimeBase,
};

use crate::{
    audio::AudioError,
    resampling::{ResampleError, Resampling},
};

/// Most samples that are decoded, all channels averaged: 12 hours at 48 kHz. A file of a few bytes may claim
/// any length, and a compressed one may hold it.
pub(crate) const MAX_SAMPLES: usize = MAX_HOURS * 3600 * 48_000;
/// Longest recording, so that a low sample rate makes no longer one of as many samples.
pub(crate) const MAX_HOURS: usize = 12;
/// Sample rates that recordings of speech have, and some. Resampling takes memory in proportion to the
/// quotient of the rates.
pub(crate) const SAMPLE_RATES: RangeInclusive<u32> = 1_000..=768_000;
/// Largest amplitude, that of 32-bit integers which somebody wrote as floats without scaling. The squares of
/// larger ones leave the range of f32.
const MAX_AMPLITUDE: f32 = 2_147_483_648.0;

/// Samples of silence that are made at a time: a damaged packet may claim to be hours long.
const SILENCE_AT_ONCE: usize = 1 << 16;

/// The first audio track of a file, from its beginning to its end: the average of its channels, at the rate that is
/// wanted.
pub(crate) struct Decoding {
    path: PathBuf,
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    /// Samples that the header announces, at the rate of the file.
    announced: Option<u64>,
    /// Samples of one block of the codec.
    block: u64,
    time_base: Option<TimeBase>,
    /// Samples per second of the file, and those wanted.
    rates: [u32; 2],
    /// Samples, at most.
    most: usize,
    resampling: Resampling,
    skipped_packets: usize,
    /// Samples of silence in the place of a packet, that are still to come.
    silence: usize,
    /// Of one packet.
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    ended: bool,
}

impl Decoding {
    /// Looks for audio in `path`, to be brought to `sample_rate`.
    ///
    /// # Errors
    /// [`AudioError`] where there is none.
    pub(crate) fn open(path: &Path, sample_rate: u32) -> Result<Self, AudioError> {
        let file = File::open(path).map_err(AudioError::reading(path))?;
        Self::of(path, file, sample_rate)
    }

    /// As [`Self::open`], of `file`, which is at `path`, from its start. There can be one of it at a time: they share
    /// the place in the file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn from_start(
        path: &Path,
        file: &File,
        sample_rate: u32,
    ) -> Result<Self, AudioError> {
        let mut file = file.try_clone().map_err(AudioError::reading(path))?;
        file.rewind().map_err(AudioError::reading(path))?;
        Self::of(path, file, sample_rate)
    }

    fn of(path: &Path, file: File, sample_rate: u32) -> Result<Self, AudioError> {
        let here = || path.to_owned();
        let metadata = file.metadata().map_err(AudioError::reading(path))?;
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
        let stream = MediaSourceStream::new(Box::new(file), Default::default());
        let format = symphonia::default::get_probe()
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
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(unknown)?;
        let (track_id, announced, time_base) = (track.id, track.num_frames, track.time_base);
        // A container may count the last block of a codec as a full one (ffmpeg's ALAC in CAF). PCM has blocks of 1.
        let block = parameters.frames_per_block.unwrap_or(1).max(1);
        let resampling =
            Resampling::new(from, sample_rate).map_err(|source| AudioError::Resample {
                path: here(),
                from,
                to: sample_rate,
                source,
            })?;
        Ok(Self {
            path: here(),
            format,
            decoder,
            track: track_id,
            announced,
            block,
            time_base,
            rates: [from, sample_rate],
            most: MAX_SAMPLES.min(MAX_HOURS * 3600 * from as usize),
            resampling,
            skipped_packets: 0,
            silence: 0,
            interleaved: Vec::new(),
            mono: Vec::new(),
            ended: false,
        })
    }

    /// Packets until now that could not be decoded and became silence.
    pub(crate) fn skipped_packets(&self) -> usize {
        self.skipped_packets
    }

    /// Appends what comes of the next packet to `samples`, which may be nothing yet; `false` when all is there.
    ///
    /// # Errors
    /// [`AudioError`] where the file is damaged, and at its end where less is there than it announces.
    pub(crate) fn more(&mut self, samples: &mut Vec<f32>) -> Result<bool, AudioError> {
        while !self.ended {
            if self.silence > 0 {
                self.mono.clear();
                self.mono.resize(self.silence.min(SILENCE_AT_ONCE), 0.0);
                self.silence -= self.mono.len();
                self.resample(samples)?;
                return Ok(true);
            }
            let packet = match self.format.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return self.end(samples),
                // A container that ends in the middle of a packet; what is missing is counted at the end.
                Err(DecodeError::IoError(error))
                    if error.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    return self.end(samples);
                }
                Err(source) => return Err(self.damaged(source)),
            };
            if packet.track_id == self.track {
                self.decode(&packet, samples)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Appends what comes of `packet`.
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<(), AudioError> {
        match self.decoder.decode(packet) {
            Ok(decoded) => {
                let channels = decoded.num_planes().max(1);
                decoded.copy_to_vec_interleaved(&mut self.interleaved);
                let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
                self.mono.clear();
                let frames = self.interleaved.chunks_exact(channels);
                self.mono.extend(frames.map(mean));
                self.check_amplitudes()?;
            }
            // One bad packet of a lossy stream; players go on, and so do we, and say so. Silence in its
            // place, or all that follows would come early.
            Err(DecodeError::DecodeError(_)) => {
                self.skipped_packets += 1;
                let seconds = self.time_base.map_or(0.0, |base| {
                    packet.dur.get() as f64 * f64::from(base.numer.get())
                        / f64::from(base.denom.get())
                });
                self.silence = (seconds * f64::from(self.rates[0])).round() as usize;
                return Ok(());
            }
            Err(source) => return Err(self.damaged(source)),
        }
        self.resample(samples)
    }

    /// Refuses what is no amplitude, before the resampler gets it: its transform panics at a value that is not finite.
    fn check_amplitudes(&self) -> Result<(), AudioError> {
        let odd = |value: &f32| value.is_nan() || value.abs() > MAX_AMPLITUDE;
        let Some(at) = self.mono.iter().position(odd) else {
            return Ok(());
        };
        Err(AudioError::NotFinite {
            path: self.path.clone(),
            index: self.resampling.taken() + at,
            value: self.mono[at],
        })
    }

    /// Appends what comes of `mono`.
    fn resample(&mut self, samples: &mut Vec<f32>) -> Result<(), AudioError> {
        let resampled = self.resampling.push(&self.mono, samples);
        resampled.map_err(|source| self.not_resampled(source))?;
        if self.resampling.taken() > self.most {
            return Err(AudioError::TooLong {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    /// Appends what is left when there are no more packets, and judges the whole.
    fn end(&mut self, samples: &mut Vec<f32>) -> Result<bool, AudioError> {
        self.ended = true;
        let (path, found) = (self.path.clone(), self.resampling.taken());
        if let Some(expected) = self.announced
            && (found as u64).saturating_add(self.block) <= expected
        {
            return Err(AudioError::Truncated {
                path,
                expected,
                found,
            });
        }
        if found == 0 {
            return Err(AudioError::NoSamples { path });
        }
        let resampled = self.resampling.finish(samples);
        resampled.map_err(|source| self.not_resampled(source))?;
        Ok(false)
    }

    fn damaged(&self, source: DecodeError) -> AudioError {
        AudioError::Decode {
            path: self.path.clone(),
            decoded: self.resampling.taken(),
            source,
        }
    }

    fn not_resampled(&self, source: ResampleError) -> AudioError {
        let [from, to] = self.rates;
        AudioError::Resample {
            path: self.path.clone(),
            from,
            to,
            source,
        }
    }
}
