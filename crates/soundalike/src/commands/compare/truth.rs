//! The subject of a comparison: reference, model and recordings.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use soundalike_compare::{LiveReference, Reading, Reference, Window};
use soundalike_model::DType;
use soundalike_selftest::{built_in_trace, low_precision, torch_reference};

use super::{
    model::{Model, WhichNetwork},
    official,
    side::ReferenceSide,
    windows::{self, Count},
};
use crate::output::Inputs;

/// Options of the subject of a comparison.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct SubjectArgs {
    /// Reference: torch (libtorch; in builds with --features torch), official (the same, with the weights that Python's
    /// torch.load reads from the checkpoint; Python is SOUNDALIKE_PYTHON or python3) or trace:FILE.npz [default: the
    /// built-in trace, or torch for other recordings and models]
    #[arg(long, value_name = "ENGINE")]
    reference: Option<String>,
    /// Bundle, checkpoint or pipeline, by its name or path [default: the embedded segmentation-3.0]
    #[arg(long, value_name = "NAME|FILE|DIR")]
    pub(in crate::commands) model: Option<PathBuf>,
    /// Network of a pipeline directory
    #[arg(long, value_enum, default_value_t)]
    pub(in crate::commands) network: WhichNetwork,
    /// Recordings to compare on [default: one second of the built-in sample]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(in crate::commands) audio: Vec<PathBuf>,
    /// Number of windows from the start of each recording, or `all` for all whole windows
    #[arg(long, value_name = "N", default_value = "1", requires = "audio")]
    windows: Count,
    /// Go on if libtorch has not been verified against pyannote.audio for this network, which is an error otherwise
    #[arg(long)]
    unverified: bool,
}

/// The built-in trace with its window, if it is of `model`.
pub(in crate::commands) fn embedded(
    model: &Model,
) -> anyhow::Result<Option<(Box<dyn Reference>, Window)>> {
    let mut trace = built_in_trace()?;
    let origin = trace.manifest().model.as_ref().map(|model| model.origin());
    if origin != Some(&*model.bundle.source().sha256) {
        return Ok(None);
    }
    let window = trace.window()?;
    Ok(Some((Box::new(trace), window)))
}

impl SubjectArgs {
    pub(in crate::commands) fn reference(&self) -> anyhow::Result<Option<ReferenceSide>> {
        self.reference.as_deref().map(str::parse).transpose()
    }

    pub(in crate::commands) fn model(&self) -> anyhow::Result<Model> {
        Model::load(self.model.as_deref(), self.network)
    }

    /// Whether each recording is to be compared to its end.
    pub(super) fn all_windows(&self) -> bool {
        matches!(self.windows, Count::All)
    }

    pub(in crate::commands) fn inputs(&self) -> Inputs {
        let trace = self.reference.iter();
        let trace = trace.filter_map(|side| side.strip_prefix("trace:"));
        Inputs::default()
            .files(trace, "trace")
            .files(&self.audio, "recording")
            .models(&self.model, "model")
    }

    /// The engine on libtorch for `model` and a candidate of `dtype`. With `--reference official`, its weights are those of
    /// the second reading.
    pub(in crate::commands) fn engine(
        &self,
        model: &Model,
        dtype: DType,
    ) -> anyhow::Result<(LiveReference, Option<Reading>)> {
        let (bundle, reading) = match self.reference()? {
            Some(ReferenceSide::Official) => {
                let (bundle, reading) = official::read(self.model.as_deref(), &model.bundle)?;
                (bundle, Some(reading))
            }
            _ => (model.bundle.clone(), None),
        };
        let engine = torch_reference(&bundle, low_precision(dtype));
        let engine = match &reading {
            None => engine?,
            Some(Reading {
                tensors, values, ..
            }) => engine.with_context(|| {
                format!(
                    "torch.load reads the same {tensors} tensors and {values} hyperparameters, but they cannot be run"
                )
            })?,
        };
        let architecture = model.bundle.architecture();
        ensure!(
            self.unverified || engine.engine().verified.is_some(),
            "the libtorch reference has not been verified against pyannote.audio for {}; compare it with a capture first, or use --unverified",
            architecture
                .variant()
                .unwrap_or_else(|| architecture.name())
        );
        Ok((engine, reading))
    }

    pub(in crate::commands) fn windows(&self, model: &Model) -> anyhow::Result<Vec<Window>> {
        if self.audio.is_empty() {
            return Ok(vec![built_in_trace()?.window()?]);
        }
        let read = |path: &PathBuf| windows::read(path, &model.bundle, self.windows);
        let windows: Vec<_> = self.audio.iter().map(read).collect::<Result<_, _>>()?;
        Ok(windows.concat())
    }
}
