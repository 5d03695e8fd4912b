//! The reference that runs while it is compared, and the windows that it is asked for.

use anyhow::ensure;
use clap::ValueEnum;
use soundalike_compare::{LiveReference, Reference, ReferenceTrace, Window};
use soundalike_model::DType;
use soundalike_selftest::{low_precision, torch_reference};

use super::{
    masks::{self, MaskChoice},
    model::Model,
    windows::{self, Recordings},
};

/// What a live reference is asked for.
pub(in crate::commands) struct Truth<'a> {
    pub(in crate::commands) recordings: &'a Recordings,
    /// How embeddings are pooled; none for all ways.
    pub(in crate::commands) masks: &'a [MaskChoice],
    /// The candidate's precision.
    pub(in crate::commands) dtype: DType,
}

/// The built-in trace with its window, where it is of `model`.
pub(in crate::commands) fn embedded(
    model: &Model,
) -> anyhow::Result<Option<(Box<dyn Reference>, Window)>> {
    let mut trace = ReferenceTrace::embedded()?;
    let origin = trace.manifest().model.as_ref().map(|model| model.origin());
    if origin != Some(&*model.bundle.source().sha256) {
        return Ok(None);
    }
    let window = trace.window()?;
    Ok(Some((Box::new(trace), window)))
}

impl Truth<'_> {
    /// The engine on libtorch for `model`.
    pub(in crate::commands) fn engine(&self, model: &Model) -> anyhow::Result<LiveReference> {
        let engine = torch_reference(&model.bundle, low_precision(self.dtype))?;
        let architecture = model.bundle.architecture();
        ensure!(
            self.recordings.unverified || engine.engine().verified.is_some(),
            "the libtorch reference has not been verified against pyannote.audio for a {}: compare it with a capture first, or give --unverified",
            architecture
                .variant()
                .unwrap_or_else(|| architecture.name())
        );
        Ok(engine)
    }

    /// The windows of the recordings.
    pub(in crate::commands) fn windows(&self, model: &Model) -> anyhow::Result<Vec<Window>> {
        let mut found = Vec::new();
        for path in &self.recordings.audio {
            found.extend(windows::read(path, &model.bundle, self.recordings.windows)?);
        }
        if found.is_empty() {
            found.push(ReferenceTrace::embedded()?.window()?);
        }
        Ok(found)
    }

    /// `windows`, each with each of the ways to pool where embeddings are pooled.
    pub(in crate::commands) fn masked(
        &self,
        windows: Vec<Window>,
        model: &Model,
    ) -> anyhow::Result<Vec<Window>> {
        if !model.is_embedding() {
            return Ok(windows);
        }
        let choices = match self.masks {
            [] => MaskChoice::value_variants(),
            some => some,
        };
        masks::each(windows, choices, model)
    }
}
