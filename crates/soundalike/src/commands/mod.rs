//! One file per subcommand.

pub(crate) mod attribute;
pub(crate) mod bench;
mod clustering_args;
pub(crate) mod compare;
pub(crate) mod convert;
mod cpu_args;
pub(crate) mod diarize;
pub(crate) mod gate;
pub(crate) mod inspect;
pub(crate) mod models;
mod named_model;
mod precision;
pub(crate) mod recluster;
mod recording_input;
pub(crate) mod score;
pub(crate) mod self_test;
pub(crate) mod trace;
mod turns_output;

use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use soundalike_convert::Bundle;
use soundalike_model::{Engine, Kernels};
use soundalike_report::document::{
    Document, markdown,
    terminal::{self, Screen},
};

/// Format of a report.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum ReportFormat {
    /// Aligned columns
    #[default]
    Table,
    /// For programs
    Json,
    /// For pull requests
    Markdown,
}

impl ReportFormat {
    /// Renders `result`, or its `document`, for `output` or stdout.
    fn render(
        self,
        result: &impl Serialize,
        document: &Document,
        output: Option<&Path>,
    ) -> serde_json::Result<String> {
        Ok(match self {
            Self::Table => terminal::render(document, Screen::of(output)),
            Self::Json => serde_json::to_string_pretty(result)? + "\n",
            Self::Markdown => markdown::render(document, 1),
        })
    }
}

/// Format of a result.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// For programs
    Json,
}

/// The network in `file` or with this name, or the embedded one.
fn load(file: Option<&Path>) -> anyhow::Result<Bundle> {
    Ok(match file {
        Some(file) => named_model::network(file)?,
        None => soundalike_weights::segmentation()?,
    })
}

/// The engine in f32 on the CPU.
fn on_cpu(kernels: Kernels) -> Engine {
    Engine {
        kernels,
        ..Engine::default()
    }
}

/// Text of a file.
fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))
}

/// Parses an argument in seconds.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(seconds),
        _ => Err("expected seconds, 0 or more".to_owned()),
    }
}
