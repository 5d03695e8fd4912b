//! By what and on what a report was made.

use std::{collections::BTreeMap, thread};

use serde::{Deserialize, Serialize};

/// By what and on what a report was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Provenance {
    /// The exact command.
    pub command: String,
    /// Version of this program.
    pub soundalike: String,
    /// Name of the processor.
    pub cpu: String,
    /// Threads of this machine.
    pub threads: usize,
    /// The reference.
    pub reference: EngineInfo,
    /// The candidate.
    pub candidate: EngineInfo,
}

/// What ran one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EngineInfo {
    /// Its name on the command line; of a trace, who captured it.
    pub engine: String,
    /// Versions of what it is made of, by name.
    pub versions: BTreeMap<String, String>,
    /// In which arithmetic.
    pub dtype: String,
    /// On what device.
    pub device: String,
    /// Name of the processor of a trace; none where it is this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// On how many threads, where that is known.
    pub threads: Option<usize>,
    /// SHA-256 of the checkpoint or export that the weights are from, where that is known.
    pub model_sha256: Option<String>,
    /// The capture of the official package that this engine was last verified against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verification>,
}

/// A model whose every stage an engine was seen to compute as the official package does. In the record a model
/// that people use comes before one of random weights.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Verification {
    /// The architecture with the hyperparameters that choose between operations.
    pub architecture: String,
    /// Whether it is a network of random weights that was made to be captured. Its bytes may depend on
    /// the processor that made it.
    pub random_weights: bool,
    /// Name of the model that was captured.
    pub model: String,
    /// SHA-256 of its checkpoint or export.
    pub sha256: String,
    /// Version of pyannote.audio that was captured.
    pub pyannote_audio: String,
    /// Version of torch that it ran on.
    pub torch: String,
    /// Windows (or windows with other masks) that were compared.
    pub windows: usize,
    /// Stages that were compared in each; pooling by masks has one more than pooling without.
    pub stages: usize,
    /// Whether every stage had the bits of the package in f32.
    pub bit_equal: bool,
    /// The largest R of any stage in f32, in both ways of running, to three digits after the point.
    pub r: f64,
}

impl Provenance {
    /// Of this machine and this program; `command` is what the user typed.
    #[must_use]
    pub fn here(command: String, reference: EngineInfo, candidate: EngineInfo) -> Self {
        Self {
            command,
            soundalike: env!("CARGO_PKG_VERSION").to_owned(),
            cpu: cpu_name(),
            threads: thread::available_parallelism().map_or(1, Into::into),
            reference,
            candidate,
        }
    }
}

/// As the kernel calls it; where it does not say, the kind of machine.
fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}
