//! Speaker turns in file formats: one table of formats over one result.

mod audacity;
mod csv;
mod json;
mod rttm;
mod srt;
mod textgrid;
mod vtt;

use std::{fmt, str::FromStr};

use soundalike_metrics::{Error, Segment, Turn};

use crate::Diarization;

/// Label of speech, segments with at least one speaker. pyannote.audio `VoiceActivityDetection`.
const SPEECH: &str = "SPEECH";
/// Label of overlapped speech. pyannote.audio `OverlappedSpeechDetection`.
const OVERLAP: &str = "OVERLAP";

/// A diarization, and what of it is written.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// The result.
    pub diarization: &'a Diarization,
    /// Whether to write the exclusive turns in place of the others.
    pub exclusive: bool,
    /// Whether to add the tracks of speech and of overlapped speech.
    pub tracks: bool,
}

impl Document<'_> {
    /// The turns.
    fn turns(&self) -> &[Turn] {
        match self.exclusive {
            true => self.diarization.exclusive.turns(),
            false => self.diarization.turns.turns(),
        }
    }

    /// The turns, then the tracks as turns of `SPEECH` and `OVERLAP`.
    fn rows(&self) -> Vec<Turn> {
        let mut rows = self.turns().to_vec();
        for (label, segments) in self.tracks() {
            rows.extend(segments.iter().map(|s| Turn::new(s.start, s.end, label)));
        }
        rows
    }

    /// The tracks by label; none if they are not requested.
    fn tracks(&self) -> Vec<(&'static str, Vec<Segment>)> {
        let diarization = self.diarization;
        match self.tracks {
            false => Vec::new(),
            true => vec![
                (SPEECH, diarization.speech()),
                (OVERLAP, diarization.overlap()),
            ],
        }
    }
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RTTM, for scoring.
    Rttm,
    /// JSON with all results, for programs.
    Json,
    /// CSV, for spreadsheets.
    Csv,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles, with voices.
    Vtt,
    /// Label track of Audacity.
    Audacity,
    /// Tiers of Praat.
    TextGrid,
}

/// The name of no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format `{name}`, expected {}", Format::ALL.map(|format| format.name()).join(", "))]
pub struct UnknownFormat {
    name: String,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 7] = [
        Self::Rttm,
        Self::Json,
        Self::Csv,
        Self::Srt,
        Self::Vtt,
        Self::Audacity,
        Self::TextGrid,
    ];

    /// Its name, and the extension of its files.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Rttm => ["rttm", "rttm"],
            Self::Json => ["json", "json"],
            Self::Csv => ["csv", "csv"],
            Self::Srt => ["srt", "srt"],
            Self::Vtt => ["vtt", "vtt"],
            Self::Audacity => ["audacity", "txt"],
            Self::TextGrid => ["textgrid", "TextGrid"],
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The extension of its files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        self.names()[1]
    }

    /// The first line of a file, which may hold any number of recordings. `None` if a file holds one recording.
    #[must_use]
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::Rttm => Some(""),
            Self::Csv => Some(csv::HEADER),
            Self::Json | Self::Srt | Self::Vtt | Self::Audacity | Self::TextGrid => None,
        }
    }

    /// The format of files with this extension.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.extension().eq_ignore_ascii_case(extension))
    }

    /// The text of one recording, which follows [`Self::header`].
    ///
    /// # Errors
    /// If the name of the recording has white space, which RTTM cannot hold.
    pub fn render(self, document: &Document<'_>) -> Result<String, Error> {
        Ok(match self {
            Self::Rttm => rttm::render(document)?,
            Self::Json => json::render(document),
            Self::Csv => csv::render(document),
            Self::Srt => srt::render(document),
            Self::Vtt => vtt::render(document),
            Self::Audacity => audacity::render(document),
            Self::TextGrid => textgrid::render(document),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat { name: name.into() })
    }
}

/// `seconds` as hours, minutes, seconds and milliseconds, `01:01:01.250` with `point` as decimal point.
fn clock(seconds: f64, point: char) -> String {
    let milliseconds = (seconds * 1e3).round_ties_even() as u64;
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::tests::{dialogue, silence};

    #[test]
    fn formats_are_found_by_the_names_and_extensions_they_print() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
            assert_eq!(Format::of_extension(format.extension()), Some(format));
        }
        let error = "docx".parse::<Format>().unwrap_err().to_string();
        let expected =
            "unknown format `docx`, expected rttm, json, csv, srt, vtt, audacity, textgrid";
        assert_eq!(error, expected);
        assert_eq!(Format::of_extension("wav"), None);
    }

    #[test]
    fn times_are_rounded_to_milliseconds_and_carried_over() {
        for (seconds, expected) in [
            (0.0, "00:00:00,000"),
            (0.0309, "00:00:00,031"),
            (59.9996, "00:01:00,000"),
            (3661.25, "01:01:01,250"),
            (360_000.0, "100:00:00,000"),
        ] {
            assert_eq!(clock(seconds, ','), expected);
        }
    }

    #[test]
    fn every_format_has_the_exclusive_turns_on_request() {
        let dialogue = dialogue();
        let document = |exclusive| Document {
            diarization: &dialogue,
            exclusive,
            tracks: false,
        };
        for format in Format::ALL.into_iter().filter(|f| *f != Format::Json) {
            let [with, without] = [false, true].map(|e| format.render(&document(e)).unwrap());
            assert_ne!(with, without, "{format}");
        }
    }

    #[test]
    fn tracks_are_written_only_on_request() {
        let dialogue = dialogue();
        for format in Format::ALL.into_iter().filter(|f| *f != Format::Json) {
            for tracks in [false, true] {
                let document = Document {
                    diarization: &dialogue,
                    exclusive: false,
                    tracks,
                };
                let text = format.render(&document).unwrap();
                for label in [SPEECH, OVERLAP] {
                    assert_eq!(text.contains(label), tracks, "{format}: {text}");
                }
            }
        }
    }

    #[test]
    fn silence_has_no_speakers_in_any_format() {
        let silence = silence();
        let document = Document {
            diarization: &silence,
            exclusive: false,
            tracks: true,
        };
        for format in Format::ALL {
            let text = format.render(&document).unwrap();
            assert!(!text.contains("SPEAKER_"), "{format}: {text}");
        }
    }
}
