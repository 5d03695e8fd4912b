//! A recording that is read window by window.

use std::{
    fs::File,
    io::{self, Seek},
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    audio::{Audio, AudioError, AudioProblem},
    decoding::Decoding,
};

/// A recording of known length. Of a file, only the samples in use are in memory.
pub struct Recording {
    sample_rate: u32,
    length: usize,
    skipped_packets: usize,
    notes: Vec<String>,
    source: Source,
}

enum Source {
    Memory(Vec<f32>),
    File {
        path: PathBuf,
        file: File,
        decoding: Box<Decoding>,
        /// Decoded samples that are still needed.
        samples: Vec<f32>,
        /// Index of the first of them in the recording.
        first: usize,
    },
}

impl Recording {
    /// Opens `path` and decodes it once, to check all of it and measure its length; [`Self::samples`] decodes it again.
    /// A file that can be read only once, such as a pipe, is kept in memory.
    ///
    /// # Errors
    /// [`AudioError`], which names the file.
    pub fn open(path: &Path, sample_rate: u32) -> Result<Self, AudioError> {
        if !path.is_file() {
            return Ok(Audio::read(path, sample_rate)?.into());
        }
        let file = File::open(path).map_err(|error| AudioProblem::Read(error).at(path))?;
        Self::of_file(file, path, sample_rate)
    }

    /// Like [`Self::open`], for a file that is open. `path` names it in errors.
    ///
    /// # Errors
    /// [`AudioError`], which names the file.
    pub fn of_file(file: File, path: &Path, sample_rate: u32) -> Result<Self, AudioError> {
        let mut decoding = from_start(path, &file, sample_rate)?;
        let (mut length, mut samples) = (0, Vec::new());
        let mut going_on = true;
        while going_on {
            samples.clear();
            going_on = decoding.more(&mut samples)?;
            length += samples.len();
        }
        samples.clear();
        Ok(Self {
            sample_rate,
            length,
            skipped_packets: decoding.skipped_packets(),
            notes: decoding.notes().to_vec(),
            source: Source::File {
                path: path.to_owned(),
                decoding: Box::new(from_start(path, &file, sample_rate)?),
                file,
                samples,
                first: 0,
            },
        })
    }

    /// Samples per second.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Samples in the whole recording.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Packets that could not be decoded and were replaced by silence.
    #[must_use]
    pub fn skipped_packets(&self) -> usize {
        self.skipped_packets
    }

    /// What the header of the file gets wrong, as sentences for a person.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The samples in `range`, fewer at the end of the recording. Samples before it are dropped: an earlier range
    /// decodes the file from its start again.
    ///
    /// # Errors
    /// [`AudioError`] if the file became shorter after it was opened, or cannot be read any more.
    pub fn samples(&mut self, range: Range<usize>) -> Result<&[f32], AudioError> {
        let end = range.end.min(self.length);
        let start = range.start.min(end);
        match &mut self.source {
            Source::Memory(samples) => Ok(&samples[start..end]),
            Source::File {
                path,
                file,
                decoding,
                samples,
                first,
            } => loop {
                if start < *first {
                    **decoding = from_start(path, file, self.sample_rate)?;
                    samples.clear();
                    *first = 0;
                }
                let gone = (start - *first).min(samples.len());
                samples.drain(..gone);
                *first += gone;
                if *first + samples.len() >= end {
                    return Ok(&samples[..end - start]);
                }
                if !decoding.more(samples)? && *first + samples.len() < end {
                    let (expected, found) = (self.length, *first + samples.len());
                    return Err(AudioProblem::Changed { expected, found }.at(path));
                }
            },
        }
    }
}

/// Decodes `file`, which was opened at `path`, from its start. All decodings of a file share its position, so only the
/// last one made may be used.
fn from_start(path: &Path, file: &File, sample_rate: u32) -> Result<Decoding, AudioError> {
    let rewound = || -> io::Result<File> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        Ok(file)
    };
    let file = rewound().map_err(|error| AudioProblem::Read(error).at(path))?;
    Decoding::new(path, file, sample_rate)
}

impl From<Audio> for Recording {
    fn from(audio: Audio) -> Self {
        Self {
            sample_rate: audio.sample_rate,
            length: audio.samples.len(),
            skipped_packets: audio.skipped_packets,
            notes: audio.notes,
            source: Source::Memory(audio.samples),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    fn data(name: &str) -> PathBuf {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
        tests.join("data").join(name)
    }

    #[test]
    fn ranges_are_those_of_the_whole_file() {
        // Unchanged, compressed, and from other rates, where the resampler delays samples.
        for (name, rate) in [
            ("sample.wav", 16_000),
            ("sample.wav", 44_100),
            ("formats/clip.flac", 16_000),
            ("formats/clip.mp3", 8_000),
        ] {
            let whole = Audio::read(&data(name), rate).unwrap().samples;
            let mut recording = Recording::open(&data(name), rate).unwrap();
            for (length, step) in [(whole.len(), 1), (1000, 1000), (5000, 300), (300, 5000)] {
                assert_eq!(
                    (recording.length(), recording.sample_rate()),
                    (whole.len(), rate)
                );
                for start in (0..whole.len()).step_by(step.max(whole.len() / 40)) {
                    let end = (start + length).min(whole.len());
                    let found = recording.samples(start..start + length).unwrap();
                    assert!(
                        found == &whole[start..end],
                        "{name} at {rate}, {start}..{end}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_file_that_became_shorter_after_opening_is_an_error() {
        // Programs that stream write this length.
        let unknown = u32::MAX.to_le_bytes();
        for (len, expected) in [(None, "truncated"), (Some(unknown), "changed")] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("talk.wav");
            let mut bytes = fs::read(data("sample.wav")).unwrap();
            if let Some(len) = len {
                // Length of the file, and of its samples.
                bytes[4..8].copy_from_slice(&len);
                bytes[40..44].copy_from_slice(&len);
            }
            fs::write(&path, &bytes).unwrap();
            let mut recording = Recording::open(&path, 16_000).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_len(bytes.len() as u64 / 2).unwrap();
            let error = recording.samples(1000..recording.length()).unwrap_err();
            if let AudioProblem::Changed { expected, found } = error.problem {
                // Of two bytes each, after a header of 44.
                let half = (bytes.len() / 2 - 44) / 2;
                assert_eq!((expected, found), (recording.length(), half));
            }
            let error = error.to_string();
            let (file, what) = (error.contains("talk.wav"), error.contains(expected));
            assert!(file && what, "{error}");
        }
    }
}
