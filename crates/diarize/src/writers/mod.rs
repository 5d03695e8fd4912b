//! Turns as files: one table of formats over one result.

mod audacity;
mod csv;
mod json;
mod rttm;
mod srt;
mod textgrid;
mod vtt;

use std::{fmt, str::FromStr};

use soundalike_metrics::{Segment, Turn};

use crate::Diarization;

/// Label of a stretch in which anybody speaks. pyannote.audio `VoiceActivityDetection`.
const SPEECH: &str = "SPEECH";
/// Label of a stretch in which several speak. pyannote.audio `OverlappedSpeechDetection`.
const OVERLAP: &str = "OVERLAP";

/// What of a diarization is written.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// The result.
    pub diarization: &'a Diarization,
    /// The turns with one speaker at a time in place of the others.
    pub exclusive: bool,
    /// Also where anybody speaks, and where several do.
    pub tracks: bool,
}

impl Document<'_> {
    /// The turns.
    fn turns(&self) -> &[Turn] {
        let diarization = self.diarization;
        if self.exclusive {
            diarization.exclusive.turns()
        } else {
            diarization.turns.turns()
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

    /// The tracks under their labels; none where they are not wanted.
    fn tracks(&self) -> Vec<(&'static str, Vec<Segment>)> {
        if !self.tracks {
            return Vec::new();
        }
        let diarization = self.diarization;
        vec![
            (SPEECH, diarization.speech()),
            (OVERLAP, diarization.overlap()),
        ]
    }
}

/// A format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The format of diarization, for scoring.
    Rttm,
    /// Everything there is to know, for programs.
    Json,
    /// For spreadsheets.
    Csv,
    /// Subtitles.
    Srt,
    /// Subtitles of the web.
    Vtt,
    /// Label track of Audacity.
    Audacity,
    /// Tiers of Praat.
    TextGrid,
}

/// Why there is no such format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format `{name}`, expected {}", Format::ALL.map(|format| format.name()).join(", "))]
pub struct UnknownFormat {
    name: String,
}

/// A row of the table of formats.
struct Entry {
    name: &'static str,
    extension: &'static str,
    /// First line of a file that holds any number of recordings; `None` where a file holds one.
    header: Option<&'static str>,
    render: fn(&Document<'_>) -> Result<String, soundalike_metrics::Error>,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Rttm,
        Self::Json,
        Self::Csv,
        Self::Srt,
        Self::Vtt,
        Self::Audacity,
        Self::TextGrid,
    ];

    fn entry(self) -> Entry {
        let entry = |name, extension, header, render| Entry {
            name,
            extension,
            header,
            render,
        };
        match self {
            Self::Rttm => entry("rttm", "rttm", Some(""), rttm::render),
            Self::Json => entry("json", "json", None, |document| Ok(json::render(document))),
            Self::Csv => entry("csv", "csv", Some(csv::HEADER), |document| {
                Ok(csv::render(document))
            }),
            Self::Srt => entry("srt", "srt", None, |document| Ok(srt::render(document))),
            Self::Vtt => entry("vtt", "vtt", None, |document| Ok(vtt::render(document))),
            Self::Audacity => entry("audacity", "txt", None, |document| {
                Ok(audacity::render(document))
            }),
            Self::TextGrid => entry("textgrid", "TextGrid", None, |document| {
                Ok(textgrid::render(document))
            }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Extension of its files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        self.entry().extension
    }

    /// What a file begins with, before the recordings, however many there are. `None` where a file holds one.
    #[must_use]
    pub fn header(self) -> Option<&'static str> {
        self.entry().header
    }

    /// The format of files with this extension.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.extension().eq_ignore_ascii_case(extension))
    }

    /// The text of one recording, to stand behind [`Self::header`].
    ///
    /// # Errors
    /// Where the name of the recording has white space, which RTTM cannot hold.
    pub fn render(self, document: &Document<'_>) -> Result<String, soundalike_metrics::Error> {
        (self.entry().render)(document)
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

/// `seconds` as hours, minutes, seconds and milliseconds, `01:01:01.250` with `point` for the point.
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
    fn every_format_has_the_exclusive_turns_where_they_are_asked_for() {
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
    fn tracks_are_there_where_they_are_asked_for_and_only_there() {
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
    fn silence_is_an_empty_file_in_every_format() {
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
