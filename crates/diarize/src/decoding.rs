//! Decoding audio files, a packet at a time.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error as DecodeError,
    formats::{FormatOptions, FormatReader, Track, TrackType, probe::Hint},
    io::{MediaSource, MediaSourceStream},
    meta::MetadataOptions,
    packet::Packet,
    units::{Duration, TimeBase},
};

use crate::{
    audio::{AudioError, AudioProblem},
    resampling::{ResampleError, Resampling},
    wave,
};

/// Most samples that are decoded, after averaging the channels: 12 hours at 48 kHz. A small file may claim any length,
/// and a compressed one may really have it.
pub(crate) const MAX_SAMPLES: usize = MAX_HOURS * 3600 * 48_000;
/// Longest recording: at a low sample rate, [`MAX_SAMPLES`] alone would allow a longer one.
pub(crate) const MAX_HOURS: usize = 12;
/// Accepted sample rates: those of speech recordings, with a margin. The memory of the resampler grows with the
/// quotient of the rates.
pub(crate) const SAMPLE_RATES: RangeInclusive<u32> = 1_000..=768_000;
/// Largest amplitude: that of 32-bit integers stored as floats without scaling. Squares of larger values leave the
/// range of f32.
const MAX_AMPLITUDE: f32 = 2_147_483_648.0;
/// Most packets of padding behind the end of a lossy recording. LAME writes one or two.
const MAX_PADDING: usize = 4;
/// Most notes on a file.
const MAX_NOTES: usize = 10;
/// Samples of silence per chunk: a damaged packet may claim to be hours long.
const SILENCE_AT_ONCE: usize = 1 << 16;

/// The first audio track of a file, from beginning to end: the average of its channels, at the requested sample rate.
pub(crate) struct Decoding {
    path: PathBuf,
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    /// Samples that the header announces, at the sample rate of the file.
    announced: Option<u64>,
    /// Samples in one block of the codec.
    block: u64,
    time_base: Option<TimeBase>,
    /// Sample rate of the file, and the one requested.
    rates: [u32; 2],
    /// Most samples allowed.
    most: usize,
    resampling: Resampling,
    skipped_packets: usize,
    notes: Vec<String>,
    /// Samples of silence still to be inserted for an undecodable packet.
    silence: usize,
    /// Packets behind the announced end, which are padding unless more follow.
    behind: VecDeque<Packet>,
    /// Whether the packets go on behind the announced end, as where two files were joined.
    goes_on: bool,
    /// Samples of the file before its sample rate changed.
    before: usize,
    /// Scratch for one packet: all channels, then their average.
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    ended: bool,
}

/// The track that is decoded.
struct Found {
    track: Track,
    rate: u32,
    block: u64,
    decoder: Box<dyn AudioDecoder>,
}

impl Found {
    fn new(format: &dyn FormatReader) -> Result<Self, AudioProblem> {
        let track = format.default_track(TrackType::Audio);
        let track = track.ok_or(AudioProblem::NoTrack)?.clone();
        let parameters = track.codec_params.as_ref();
        let parameters = parameters
            .and_then(|parameters| parameters.audio())
            .ok_or(AudioProblem::NoTrack)?;
        let rate = parameters
            .sample_rate
            .filter(|rate| SAMPLE_RATES.contains(rate))
            .ok_or(AudioProblem::NoSampleRate)?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(AudioProblem::Unknown)?;
        Ok(Self {
            rate,
            // A container may count the last block of a codec as a full one (ffmpeg's ALAC in CAF). PCM has blocks of 1.
            block: parameters.frames_per_block.unwrap_or(1).max(1),
            decoder,
            track,
        })
    }
}

impl Decoding {
    /// Finds the audio track of `file`, which was opened at `path`, and prepares resampling to `sample_rate`.
    ///
    /// # Errors
    /// [`AudioError`] if there is none that can be decoded.
    pub(crate) fn new(path: &Path, file: File, sample_rate: u32) -> Result<Self, AudioError> {
        Self::probe(path, file, sample_rate).map_err(|problem| problem.at(path))
    }

    fn probe(path: &Path, mut file: File, sample_rate: u32) -> Result<Self, AudioProblem> {
        let metadata = file.metadata().map_err(AudioProblem::Read)?;
        if metadata.is_dir() {
            return Err(AudioProblem::Directory);
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(AudioProblem::EmptyFile);
        }
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
            hint.with_extension(extension);
        }
        let wave = match metadata.is_file() {
            true => wave::open(&mut file)?,
            false => None,
        };
        let (source, announced, notes): (Box<dyn MediaSource>, _, _) = match wave {
            Some(wave) => (wave.stream(file), wave.announced, wave.notes),
            None => (Box::new(file), None, Vec::new()),
        };
        let stream = MediaSourceStream::new(source, Default::default());
        let (options, metadata) = (FormatOptions::default(), MetadataOptions::default());
        let format = symphonia::default::get_probe()
            .probe(&hint, stream, options, metadata)
            .map_err(AudioProblem::Unknown)?;
        let Found {
            track,
            rate: from,
            block,
            decoder,
        } = Found::new(&*format)?;
        let rates = [from, sample_rate];
        Ok(Self {
            path: path.to_owned(),
            decoder,
            track: track.id,
            announced: announced.or(track.num_frames),
            block,
            time_base: track.time_base,
            rates,
            most: MAX_SAMPLES.min(MAX_HOURS * 3600 * from as usize),
            resampling: Resampling::new(from, sample_rate).map_err(not_resampled(rates))?,
            skipped_packets: 0,
            notes,
            silence: 0,
            behind: VecDeque::new(),
            goes_on: false,
            before: 0,
            interleaved: Vec::new(),
            mono: Vec::new(),
            ended: false,
            format,
        })
    }

    /// Packets so far that could not be decoded and were replaced by silence.
    pub(crate) fn skipped_packets(&self) -> usize {
        self.skipped_packets
    }

    /// What the header gets wrong.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Decodes the next packet and appends its samples to `samples`, possibly none yet; `false` at the end of the file.
    ///
    /// # Errors
    /// [`AudioError`] if the file is damaged, and at its end if it has fewer samples than its header announces.
    pub(crate) fn more(&mut self, samples: &mut Vec<f32>) -> Result<bool, AudioError> {
        self.advance(samples)
            .map_err(|problem| problem.at(&self.path))
    }

    fn advance(&mut self, samples: &mut Vec<f32>) -> Result<bool, AudioProblem> {
        while !self.ended {
            if self.silence > 0 {
                self.mono.clear();
                self.mono.resize(self.silence.min(SILENCE_AT_ONCE), 0.0);
                self.silence -= self.mono.len();
                self.resample(samples)?;
                return Ok(true);
            }
            if self.goes_on
                && let Some(packet) = self.behind.pop_front()
            {
                self.decode(&packet, samples)?;
                return Ok(true);
            }
            let packet = match self.format.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return self.end(samples),
                // The container ends in the middle of a packet; missing samples are counted at the end.
                Err(DecodeError::IoError(error))
                    if error.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    return self.end(samples);
                }
                // Another stream behind the first, as in an Ogg file that was joined.
                Err(DecodeError::ResetRequired) => {
                    self.change_track()?;
                    continue;
                }
                Err(source) => return Err(self.damaged(source)),
            };
            if packet.track_id == self.track
                && let Some(packet) = self.unless_padding(packet)
            {
                self.decode(&packet, samples)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A packet of the track, unless it is held back: one that lies wholly behind the announced end is an encoder's padding,
    /// but if there are too many, another recording was joined to the first, and all are decoded.
    fn unless_padding(&mut self, mut packet: Packet) -> Option<Packet> {
        let is_behind = packet.trim_end.get() > 0 && packet.trim_end >= packet.dur;
        if !is_behind {
            return Some(packet);
        }
        packet.trim_end = Duration::ZERO;
        if self.goes_on {
            return Some(packet);
        }
        self.behind.push_back(packet);
        if self.behind.len() > MAX_PADDING {
            self.goes_on = true;
            let seconds = self.taken() as f64 / f64::from(self.rates[0]);
            self.note(format!(
                "the header announces {seconds:.1} s, but the recording goes on; all of it is read"
            ));
        }
        None
    }

    /// Notes what the header gets wrong; a hostile file may get anything wrong again and again.
    fn note(&mut self, text: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(text);
        }
    }

    /// Appends the samples of `packet`.
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<(), AudioProblem> {
        match self.decoder.decode(packet) {
            Ok(decoded) => {
                let channels = decoded.num_planes().max(1);
                let rate = decoded.spec().rate();
                decoded.copy_to_vec_interleaved(&mut self.interleaved);
                if rate != self.rates[0] {
                    self.change_rate(rate, samples)?;
                }
                let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
                self.mono.clear();
                let frames = self.interleaved.chunks_exact(channels);
                self.mono.extend(frames.map(mean));
                self.check_amplitudes()?;
                self.resample(samples)
            }
            // One bad packet of a lossy stream: players skip it. It is counted and replaced by silence, without which
            // all later samples would be early.
            Err(DecodeError::DecodeError(_)) => {
                self.skipped_packets += 1;
                let seconds = self.time_base.map_or(0.0, |base| {
                    packet.dur.get() as f64 * f64::from(base.numer.get())
                        / f64::from(base.denom.get())
                });
                self.silence = (seconds * f64::from(self.rates[0])).round() as usize;
                Ok(())
            }
            Err(source) => Err(self.damaged(source)),
        }
    }

    /// Goes on with the track that follows.
    fn change_track(&mut self) -> Result<(), AudioProblem> {
        let found = Found::new(&*self.format)?;
        let more = found.track.num_frames;
        let both = self.announced.zip(more);
        self.announced = both.map(|(before, more)| before.saturating_add(more));
        (self.track, self.time_base) = (found.track.id, found.track.time_base);
        (self.decoder, self.block) = (found.decoder, found.block);
        Ok(())
    }

    /// Goes on at another sample rate: the decoded samples have it, whatever the container says.
    fn change_rate(&mut self, rate: u32, samples: &mut Vec<f32>) -> Result<(), AudioProblem> {
        if !SAMPLE_RATES.contains(&rate) {
            return Err(AudioProblem::NoSampleRate);
        }
        let [from, to] = self.rates;
        if self.taken() > 0 {
            let seconds = self.resampling.taken() as f64 / f64::from(from);
            self.note(format!(
                "the sample rate changes from {from} to {rate} Hz after {seconds:.1} s"
            ));
            let resampled = self.resampling.finish(samples);
            resampled.map_err(not_resampled(self.rates))?;
        }
        self.before = self.taken();
        self.rates = [rate, to];
        self.announced = None;
        self.most = MAX_SAMPLES.min(MAX_HOURS * 3600 * rate as usize);
        self.resampling = Resampling::new(rate, to).map_err(not_resampled(self.rates))?;
        Ok(())
    }

    /// Samples of the file so far.
    fn taken(&self) -> usize {
        self.before + self.resampling.taken()
    }

    /// Refuses values that are no amplitudes before the resampler, whose transform panics at a value that is not finite.
    fn check_amplitudes(&self) -> Result<(), AudioProblem> {
        let odd = |value: &f32| value.is_nan() || value.abs() > MAX_AMPLITUDE;
        match self.mono.iter().position(odd) {
            None => Ok(()),
            Some(at) => Err(AudioProblem::NotFinite {
                index: self.taken() + at,
                value: self.mono[at],
            }),
        }
    }

    /// Appends `mono`, resampled.
    fn resample(&mut self, samples: &mut Vec<f32>) -> Result<(), AudioProblem> {
        let resampled = self.resampling.push(&self.mono, samples);
        resampled.map_err(not_resampled(self.rates))?;
        if self.taken() > self.most {
            return Err(AudioProblem::TooLong);
        }
        Ok(())
    }

    /// Appends the remaining samples after the last packet, and checks the length of the whole.
    fn end(&mut self, samples: &mut Vec<f32>) -> Result<bool, AudioProblem> {
        self.ended = true;
        let found = self.taken();
        if let Some(expected) = self.announced
            && (found as u64).saturating_add(self.block) <= expected
        {
            return Err(AudioProblem::Truncated { expected, found });
        }
        if found == 0 {
            return Err(AudioProblem::NoSamples);
        }
        let resampled = self.resampling.finish(samples);
        resampled.map_err(not_resampled(self.rates))?;
        Ok(false)
    }

    fn damaged(&self, source: DecodeError) -> AudioProblem {
        AudioProblem::Decode {
            decoded: self.taken(),
            source,
        }
    }
}

fn not_resampled([from, to]: [u32; 2]) -> impl Fn(ResampleError) -> AudioProblem {
    move |source| AudioProblem::Resample { from, to, source }
}
