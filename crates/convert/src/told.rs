//! What a file says of the task of a segmentation, where it has no pyannote `Specifications`.

use std::{fs::File, io::Read, path::Path};

use serde::Deserialize;
use soundalike_network::{Activation, Problem, Resolution, Specifications};

/// Duration of the training chunks of pyannote/segmentation-3.0, in seconds.
const SEGMENTATION_3_DURATION: f64 = 10.0;

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Seconds of a window.
    pub(crate) duration: Option<f64>,
    /// Speakers in a window.
    pub(crate) classes: Option<usize>,
    /// Most speakers at once.
    pub(crate) most: Option<usize>,
}

/// A `config.json`: of diarizers, or of a port to MLX.
#[derive(Deserialize)]
struct Config {
    chunk_duration: Option<f64>,
    #[serde(alias = "max_speakers")]
    max_speakers_per_chunk: Option<usize>,
    #[serde(alias = "powerset_max_classes")]
    max_speakers_per_frame: Option<usize>,
}

/// Longest `config.json`, in bytes. Real ones have 300.
const MAX_CONFIG: u64 = 1 << 20;

impl Told {
    /// What a `config.json` beside the file says. Nothing, if there is none that is understood.
    pub(crate) fn beside(file: &Path) -> Self {
        let config = || -> Option<Config> {
            if file.extension()? != "safetensors" {
                return None;
            }
            let config = File::open(file.with_file_name("config.json")).ok()?;
            let regular = config.metadata().ok()?.is_file();
            let mut text = String::new();
            regular.then(|| config.take(MAX_CONFIG).read_to_string(&mut text).ok())??;
            serde_json::from_str(&text).ok()
        };
        config().map_or_else(Self::default, |config| Self {
            duration: config.chunk_duration,
            classes: config.max_speakers_per_chunk,
            most: config.max_speakers_per_frame,
        })
    }

    /// The task of a network with these outputs. What is inferred is noted, because `file` does not say it. `None` if its
    /// classes are unknown.
    pub(crate) fn specifications(
        &self,
        outputs: usize,
        activation: Activation,
        file: &str,
        notes: &mut Vec<String>,
    ) -> Option<Specifications> {
        let duration = self.duration.unwrap_or_else(|| {
            let seconds = SEGMENTATION_3_DURATION;
            notes.push(format!(
                "duration is inferred: {seconds} s, as segmentation-3.0 was trained; the {file} does not say"
            ));
            seconds
        });
        let (problem, classes, most) = match (activation, self.classes, self.most) {
            (Activation::LogSoftmax, Some(classes), Some(most)) if classes <= outputs => {
                (Problem::MonoLabelClassification, classes, Some(most))
            }
            (Activation::LogSoftmax, ..) if outputs == 7 => {
                notes.push(format!(
                    "classes are inferred: 7 outputs are the powerset of 3 speakers, at most 2 at once; the {file} does not say"
                ));
                (Problem::MonoLabelClassification, 3, Some(2))
            }
            (Activation::LogSoftmax, ..) => {
                notes.push(format!("the {file} does not say what its classes are"));
                return None;
            }
            (Activation::Sigmoid, ..) => {
                notes.push(format!(
                    "classes are inferred: {outputs} independent speakers; the {file} does not say"
                ));
                (Problem::MultiLabelClassification, outputs, None)
            }
        };
        Some(Specifications {
            problem,
            resolution: Resolution::Frame,
            duration,
            min_duration: None,
            warm_up: (0.0, 0.0),
            // Names of pyannote's SpeakerDiarization task.
            classes: (1..=classes).map(|i| format!("speaker#{i}")).collect(),
            powerset_max_classes: most,
            permutation_invariant: true,
        })
    }
}
