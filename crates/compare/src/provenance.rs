//! The program, machine and engines of a report.

use std::{collections::BTreeMap, thread};

use serde::{Deserialize, Serialize};

/// The program, machine and engines of a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Provenance {
    /// The command line.
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

/// The engine of one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineInfo {
    /// Its name on the command line; of a trace, the engine that was captured.
    pub engine: String,
    /// Versions of its parts, by name.
    pub versions: BTreeMap<String, String>,
    /// Its arithmetic.
    pub dtype: String,
    /// Its device.
    pub device: String,
    /// Name of the processor of a trace; none for this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Number of threads, where it is known.
    pub threads: Option<usize>,
    /// SHA-256 of the checkpoint or export that the weights come from, where it is known.
    pub model_sha256: Option<String>,
    /// The capture of the official package that this engine was last verified against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verification>,
}

/// A model of which an engine computed every stage as the official package does. In the record, published models come before
/// those with random weights.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Verification {
    /// The architecture, with the hyperparameters that choose between operations.
    pub architecture: String,
    /// Whether the weights are random, made to be captured. The file may then depend on the processor that made it.
    pub random_weights: bool,
    /// Name of the model that was captured.
    pub model: String,
    /// SHA-256 of its checkpoint or export.
    pub sha256: String,
    /// Version of pyannote.audio that was captured.
    pub pyannote_audio: String,
    /// Version of its torch.
    pub torch: String,
    /// Number of windows (or windows with other masks) that were compared.
    pub windows: usize,
    /// Number of stages that were compared in each; pooling by masks has one more than pooling without.
    pub stages: usize,
    /// Whether every stage had the bits of the package in f32.
    pub bit_equal: bool,
    /// The largest R of any stage in f32, in both ways of running, with three decimals.
    pub r: f64,
}

impl Provenance {
    /// The provenance on this machine; `command` is the command line.
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

/// From `/proc/cpuinfo`; elsewhere the architecture.
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
