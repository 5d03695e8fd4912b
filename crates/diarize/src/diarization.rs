//! The result: speaker turns.

use serde::{Deserialize, Serialize};
use soundalike_convert::{Bundle, ModelRole, Source};
use soundalike_metrics::{Annotation, Segment};

use crate::{SpeakerBounds, parameters::Parameters};

/// The speaker turns of a recording, and what they were computed with. All times are seconds.
#[derive(Debug, Clone)]
pub struct Diarization {
    /// The turns. Those of different speakers may overlap.
    pub turns: Annotation,
    /// The exclusive turns, one speaker at a time: of overlapping speakers the one active in most windows.
    /// pyannote.audio `DiarizeOutput.exclusive_speaker_diarization`.
    pub exclusive: Annotation,
    /// The speakers, by label.
    pub speakers: Vec<Speaker>,
    /// Length of the recording.
    pub duration: f64,
    /// Warnings for the user.
    pub warnings: Vec<Warning>,
    /// Number of speakers requested.
    pub bounds: SpeakerBounds,
    /// Parameters of the pipeline.
    pub parameters: Parameters,
    /// Models of the pipeline.
    pub models: Vec<Model>,
}

/// One speaker of a recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speaker {
    /// The label.
    pub label: String,
    /// Number of turns.
    pub turns: usize,
    /// Seconds of all turns.
    pub speaking_time: f64,
    /// The centroid of the speaker's embeddings, as in pyannote `DiarizeOutput.speaker_embeddings`: not normalised;
    /// zeros for a speaker without a cluster. `None` without a speaker embedding network, or if no local speaker talks
    /// alone for long enough.
    pub embedding: Option<Vec<f64>>,
}

/// A model of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its role.
    pub part: ModelRole,
    /// SHA-256 of its bundle.
    pub sha256: String,
    /// The file it was converted from.
    pub source: Source,
}

impl Model {
    pub(crate) fn new(part: ModelRole, bundle: &Bundle) -> Self {
        Self {
            part,
            sha256: bundle.sha256().to_owned(),
            source: bundle.source().clone(),
        }
    }
}

/// A result that may surprise the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// No window has speech.
    #[error("no speech found: there are no turns")]
    NoSpeech,
    /// The recording is shorter than the receptive field of one frame.
    #[error(
        "has {samples} samples, fewer than the {needed} in the receptive field of one frame; it is padded with silence"
    )]
    TooShort {
        /// Samples of the recording.
        samples: usize,
        /// Samples in the receptive field.
        needed: usize,
    },
    /// At some frames more local speakers are active than there are speakers; the others are dropped.
    #[error(
        "in {frames} frame(s) more speakers are active at once than the {found} found; the others are dropped"
    )]
    DroppedVoices {
        /// Number of these frames.
        frames: usize,
        /// Speakers found.
        found: usize,
    },
    /// Fewer speakers than requested.
    #[error("found {found} speaker(s), fewer than the {min} requested: there is too little speech")]
    TooFewSpeakers {
        /// Speakers found.
        found: usize,
        /// Minimum requested.
        min: usize,
    },
    /// More speakers than requested.
    #[error("found {found} speaker(s), more than the {max} requested")]
    TooManySpeakers {
        /// Speakers found.
        found: usize,
        /// Maximum requested.
        max: usize,
    },
    /// More speakers requested than local speakers talk alone for long enough. pyannote.audio stops with an error, or
    /// ignores the request.
    #[error(
        "{requested} speakers requested, but only {kept} time(s) a speaker talks alone for long enough: no more can be separated"
    )]
    TooFewEmbeddings {
        /// Speakers requested.
        requested: usize,
        /// Local speakers who talk alone for long enough.
        kept: usize,
    },
    /// No cut of the dendrogram has the requested number of clusters of the minimum size.
    #[error(
        "no cut of the dendrogram has {requested} clusters of the minimum size; the nearest has {found}"
    )]
    NoSuchCut {
        /// Clusters requested.
        requested: usize,
        /// Clusters of the nearest cut.
        found: usize,
    },
    /// More clusters than pyannote.audio can number; it stops with an error.
    #[error(
        "{found} speakers are more than pyannote.audio can number ({MAX_OF_PYANNOTE}); it would stop with an error"
    )]
    ManyClusters {
        /// Clusters found.
        found: usize,
    },
    /// k-means without a number of speakers makes the minimum allowed. pyannote.audio stops with an error.
    #[error("KMeansClustering needs the number of speakers; using {taken}, the minimum allowed")]
    UnknownNumber {
        /// Clusters made.
        taken: usize,
    },
}

/// Clusters that pyannote.audio can assign: it stores their numbers as int8.
pub(crate) const MAX_OF_PYANNOTE: usize = 128;

impl Diarization {
    /// Name of the recording.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.turns.uri
    }

    /// Speech: segments with at least one speaker.
    pub(crate) fn speech(&self) -> Vec<Segment> {
        self.turns.timeline().support().segments().to_vec()
    }

    /// Overlapped speech: segments with at least two speakers.
    pub(crate) fn overlap(&self) -> Vec<Segment> {
        let mut edges: Vec<(f64, bool)> = Vec::with_capacity(2 * self.turns.turns().len());
        for turn in self.turns.turns() {
            edges.extend([(turn.segment.start, true), (turn.segment.end, false)]);
        }
        // At equal times ends come before starts: turns that touch do not overlap.
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

    /// Two speakers with half a second of overlap, and a name with a comma and quotes.
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
            warnings: vec![Warning::DroppedVoices {
                frames: 3,
                found: 2,
            }],
            bounds: SpeakerBounds::default(),
            parameters: Parameters::built_in(),
            models: vec![Model {
                part: ModelRole::Segmentation,
                sha256: "00ff".into(),
                source: Source {
                    file: "model.onnx".into(),
                    format: soundalike_convert::SourceFormat::Onnx,
                    sha256: "ff00".into(),
                    converter: "0.1.0".into(),
                },
            }],
        }
    }

    /// A recording without speech.
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
    fn turns_that_touch_do_not_overlap() {
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
