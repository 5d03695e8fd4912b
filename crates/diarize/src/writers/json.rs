//! JSON with all results. Times are seconds with three decimals, and turns have the names of pyannote.audio
//! `DiarizeOutput.serialize`.

use serde::Serialize;
use soundalike_metrics::{Annotation, Segment};

use super::Document;
use crate::{
    Parameters,
    diarization::{Model, Speaker},
};

/// Version of the layout. New keys do not change it.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Recording<'a> {
    schema: u32,
    uri: &'a str,
    duration: f64,
    diarization: Vec<Turn<'a>>,
    exclusive_diarization: Vec<Turn<'a>>,
    speakers: Vec<Speaker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speech: Option<Vec<Segment>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<Vec<Segment>>,
    warnings: Vec<String>,
    num_speakers: Bounds,
    parameters: &'a Parameters,
    models: &'a [Model],
    versions: Versions,
}

#[derive(Serialize)]
struct Turn<'a> {
    #[serde(flatten)]
    segment: Segment,
    speaker: &'a str,
}

/// The numbers of speakers requested; `null`: any.
#[derive(Serialize)]
struct Bounds {
    min: usize,
    max: Option<usize>,
}

#[derive(Serialize)]
struct Versions {
    soundalike: &'static str,
}

/// One object.
pub(super) fn render(document: &Document<'_>) -> String {
    let diarization = document.diarization;
    let track = |segments: Vec<Segment>| {
        let segments = segments.into_iter().map(rounded_segment);
        document.tracks.then(|| segments.collect())
    };
    let speakers = diarization.speakers.iter().map(|speaker| Speaker {
        speaking_time: rounded(speaker.speaking_time),
        ..speaker.clone()
    });
    let warnings = diarization.warnings.iter().map(ToString::to_string);
    let (min, max) = (diarization.bounds.min(), diarization.bounds.max());
    let recording = Recording {
        schema: SCHEMA,
        uri: diarization.uri(),
        duration: rounded(diarization.duration),
        diarization: turns(&diarization.turns),
        exclusive_diarization: turns(&diarization.exclusive),
        speakers: speakers.collect(),
        speech: track(diarization.speech()),
        overlap: track(diarization.overlap()),
        warnings: warnings.collect(),
        num_speakers: Bounds {
            min,
            max: (max < usize::MAX).then_some(max),
        },
        parameters: &diarization.parameters,
        models: &diarization.models,
        versions: Versions {
            soundalike: env!("CARGO_PKG_VERSION"),
        },
    };
    // Strings, numbers and enums: this cannot fail.
    let mut text = serde_json::to_string_pretty(&recording).unwrap_or_default();
    text.push('\n');
    text
}

fn turns(annotation: &Annotation) -> Vec<Turn<'_>> {
    let turns = annotation.turns().iter().map(|turn| Turn {
        segment: rounded_segment(turn.segment),
        speaker: &turn.speaker,
    });
    turns.collect()
}

fn rounded_segment(segment: Segment) -> Segment {
    Segment::new(rounded(segment.start), rounded(segment.end))
}

/// To three decimals, as Python's `round(x, 3)`: by the decimal digits, so that ties are exact.
fn rounded(seconds: f64) -> f64 {
    format!("{seconds:.3}").parse().unwrap_or(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::tests::{dialogue, silence};

    fn json(document: Document<'_>) -> serde_json::Value {
        serde_json::from_str(&render(&document)).unwrap()
    }

    #[test]
    fn all_results_are_written() {
        let dialogue = dialogue();
        let found = json(Document {
            diarization: &dialogue,
            exclusive: true,
            tracks: true,
        });
        let turn = |start: f64, end: f64, speaker: &str| serde_json::json!({"start": start, "end": end, "speaker": speaker});
        let expected = serde_json::json!({
            "schema": 1,
            "uri": "an,\"odd\"_name",
            "duration": 3663.0,
            "diarization": [
                turn(0.031, 2.5, "SPEAKER_00"), turn(2.0, 4.0, "SPEAKER_01"), turn(3661.25, 3663.0, "SPEAKER_00")
            ],
            "exclusive_diarization": [
                turn(0.031, 2.0, "SPEAKER_00"), turn(2.0, 4.0, "SPEAKER_01"), turn(3661.25, 3663.0, "SPEAKER_00")
            ],
            "speakers": [
                {"label": "SPEAKER_00", "turns": 2, "speaking_time": 4.219, "embedding": [0.5, -1.0]},
                {"label": "SPEAKER_01", "turns": 1, "speaking_time": 2.0, "embedding": null},
            ],
            "speech": [{"start": 0.031, "end": 4.0}, {"start": 3661.25, "end": 3663.0}],
            "overlap": [{"start": 2.0, "end": 2.5}],
            "warnings": ["in 3 frame(s) more speakers are active at once than the 2 found; the others are dropped"],
            "num_speakers": {"min": 1, "max": null},
            "parameters": {
                "segmentation_step": 0.1, "embedding_exclude_overlap": true, "min_duration_off": 0.0,
                "clustering": {"built_in_threshold": 0.4}
            },
            "models": [{
                "part": "segmentation", "sha256": "00ff",
                "source": {"file": "model.onnx", "format": "onnx", "sha256": "ff00", "converter": "0.1.0"}
            }],
            "versions": {"soundalike": env!("CARGO_PKG_VERSION")},
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn tracks_are_left_out_by_default() {
        let silence = silence();
        let found = json(Document {
            diarization: &silence,
            exclusive: false,
            tracks: false,
        });
        assert!(found.get("speech").is_none() && found.get("overlap").is_none());
        assert_eq!(found["diarization"], serde_json::json!([]));
    }
}
