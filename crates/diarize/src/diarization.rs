//! What is known of a recording in the end.

use std::fmt;

use serde::{Deserialize, Serialize};
use soundalike_convert::{Bundle, Part, Source};
use soundalike_metrics::{Annotation, Segment};

use crate::{SpeakerBounds, clustering, parameters::Parameters};

/// Who spoke when, and how that was found out. All times are seconds.
#[derive(Debug, Clone)]
pub struct Diarization {
    /// The turns, those of different speakers overlapping where they talk at once.
    pub turns: Annotation,
    /// The turns with one speaker at a time: of those who talk at once the one whom most windows hear.
    /// pyannote.audio `DiarizeOutput.exclusive_speaker_diarization`.
    pub exclusive: Annotation,
    /// Those who speak, by label.
    pub speakers: Vec<Speaker>,
    /// Length of the recording.
    pub duration: f64,
    /// What the caller should know.
    pub warnings: Vec<Warning>,
    /// How many speakers were asked for.
    pub bounds: SpeakerBounds,
    /// The numbers it was made with.
    pub parameters: Parameters,
    /// The models it was made with.
    pub models: Vec<Model>,
}

/// One who speaks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speaker {
    /// The label.
    pub label: String,
    /// Number of turns.
    pub turns: usize,
    /// Seconds, own turns only.
    pub speaking_time: f64,
    /// The centroid of their embeddings, as in pyannote `DiarizeOutput.speaker_embeddings`: not normalised;
    /// zeros for one who has no cluster. `None` where there is no speaker embedding network, or nobody talks
    /// alone for long enough to be sure of a voice.
    pub embedding: Option<Vec<f64>>,
}

/// A model that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What it did.
    pub part: Part,
    /// SHA-256 of its bundle.
    pub sha256: String,
    /// The file it came from.
    pub source: Source,
}

impl Model {
    pub(crate) fn new(part: Part, bundle: &Bundle) -> Self {
        Self {
            part,
            sha256: bundle.sha256().to_owned(),
            source: bundle.source().clone(),
        }
    }
}

/// Something that went differently than asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Nobody speaks.
    NoSpeech,
    /// The recording is shorter than what one frame of the network sees.
    TooShort {
        /// Samples of the recording.
        samples: usize,
        /// Samples that one frame sees.
        needed: usize,
    },
    /// In some frames more people speak at once than there are speakers; the others have no name.
    MoreVoicesThanSpeakers {
        /// Frames.
        frames: usize,
        /// Speakers found.
        speakers: usize,
    },
    /// Other than the number of speakers asked for.
    SpeakersOutOfBounds {
        /// Speakers found.
        found: usize,
        /// Speakers asked for.
        bounds: SpeakerBounds,
    },
    /// The clustering did something else than asked for.
    Clustering(clustering::Warning),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpeech => f.write_str("nobody speaks: there are no turns"),
            Self::TooShort { samples, needed } => write!(
                f,
                "has {samples} samples, fewer than the {needed} that one frame of the network sees: the rest is taken as silence"
            ),
            Self::MoreVoicesThanSpeakers { frames, speakers } => write!(
                f,
                "in {frames} frame(s) more people speak at once than the {speakers} found: the others are left out"
            ),
            Self::SpeakersOutOfBounds { found, bounds } if *found < bounds.min() => write!(
                f,
                "found {found} speaker(s), not the {} or more asked for: there is too little speech",
                bounds.min()
            ),
            Self::SpeakersOutOfBounds { found, bounds } => write!(
                f,
                "found {found} speaker(s), not the {} or fewer asked for",
                bounds.max()
            ),
            Self::Clustering(warning) => warning.fmt(f),
        }
    }
}

impl Diarization {
    /// Name of the recording.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.turns.uri
    }

    /// Where anybody speaks.
    #[must_use]
    pub fn speech(&self) -> Vec<Segment> {
        self.turns.timeline().support().segments().to_vec()
    }

    /// Where several speak at once.
    #[must_use]
    pub fn overlap(&self) -> Vec<Segment> {
        let mut edges: Vec<(f64, bool)> = Vec::with_capacity(2 * self.turns.turns().len());
        for turn in self.turns.turns() {
            edges.extend([(turn.segment.start, true), (turn.segment.end, false)]);
        }
        // Who stops speaking does so before another begins.
        edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut speaking, mut start, mut overlap) = (0, 0.0, Vec::new());
        for (time, begins) in edges {
            if begins {
                speaking += 1;
                if speaking == 2 {
                    start = time;
                }
            } else {
                if speaking == 2 {
                    overlap.push(Segment::new(start, time));
                }
                speaking -= 1;
            }
        }
        overlap
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use soundalike_metrics::Turn;

    use super::*;

    /// Two speakers, half a second of them at once, and a name with a comma and quotes.
    pub(crate) fn dialogue() -> Diarization {
        let turn =
            |start, end, speaker: usize| Turn::new(start, end, format!("SPEAKER_0{speaker}"));
        let uri = "an,\"odd\"_name";
        let speaker = |label: &str, turns, speaking_time, embedding| Speaker {
            label: label.into(),
            turns,
            speaking_time,
            embedding,
        };
        Diarization {
            turns: Annotation::from_turns(
                uri,
                [
                    turn(0.0309, 2.5, 0),
                    turn(2.0, 4.0, 1),
                    turn(3661.25, 3662.9996, 0),
                ],
            ),
            exclusive: Annotation::from_turns(
                uri,
                [
                    turn(0.0309, 2.0, 0),
                    turn(2.0, 4.0, 1),
                    turn(3661.25, 3662.9996, 0),
                ],
            ),
            speakers: vec![
                speaker("SPEAKER_00", 2, 4.2187, Some(vec![0.5, -1.0])),
                speaker("SPEAKER_01", 1, 2.0, None),
            ],
            duration: 3663.0,
            warnings: vec![Warning::MoreVoicesThanSpeakers {
                frames: 3,
                speakers: 2,
            }],
            bounds: SpeakerBounds::default(),
            parameters: Parameters::built_in(),
            models: vec![Model {
                part: Part::Segmentation,
                sha256: "00ff".into(),
                source: Source {
                    file: "model.onnx".into(),
                    format: soundalike_convert::Format::Onnx,
                    sha256: "ff00".into(),
                    converter: "0.1.0".into(),
                },
            }],
        }
    }

    /// One in whom nobody speaks.
    pub(crate) fn silence() -> Diarization {
        Diarization {
            turns: Annotation::new("quiet"),
            exclusive: Annotation::new("quiet"),
            speakers: Vec::new(),
            duration: 2.0,
            warnings: vec![Warning::NoSpeech],
            ..dialogue()
        }
    }

    #[test]
    fn speech_and_overlap_are_those_of_the_turns() {
        let dialogue = dialogue();
        assert_eq!(
            dialogue.speech(),
            [Segment::new(0.0309, 4.0), Segment::new(3661.25, 3662.9996)]
        );
        assert_eq!(dialogue.overlap(), [Segment::new(2.0, 2.5)]);
        assert!(silence().overlap().is_empty());
    }

    #[test]
    fn who_begins_where_another_stops_does_not_overlap() {
        let turns = [
            soundalike_metrics::Turn::new(0.0, 1.0, "a"),
            soundalike_metrics::Turn::new(1.0, 2.0, "b"),
            soundalike_metrics::Turn::new(1.5, 1.75, "c"),
            soundalike_metrics::Turn::new(1.6, 3.0, "a"),
        ];
        let diarization = Diarization {
            turns: Annotation::from_turns("x", turns),
            ..dialogue()
        };
        assert_eq!(diarization.overlap(), [Segment::new(1.5, 2.0)]);
    }
}
