//! The model of a comparison.

use std::path::Path;

use anyhow::{Context, ensure};
use soundalike_convert::{Bundle, ModelRole, PipelineDirectory};
use soundalike_network::Output;

use crate::commands::{load, named_model};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::commands) enum WhichNetwork {
    /// Speaker segmentation
    #[default]
    Segmentation,
    /// Speaker embedding
    Embedding,
}

pub(in crate::commands) struct Model {
    /// Its name in the report.
    pub(in crate::commands) name: String,
    pub(in crate::commands) bundle: Bundle,
    /// The pipeline that it is a part of, if any.
    pub(super) pipeline: Option<PipelineDirectory>,
}

impl Model {
    /// The network of a bundle or a checkpoint, one of a pipeline, by path or name, or the embedded one.
    pub(in crate::commands) fn load(
        path: Option<&Path>,
        network: WhichNetwork,
    ) -> anyhow::Result<Self> {
        ensure!(
            path.is_some() || network == WhichNetwork::Segmentation,
            "no embedding network is built in; give a pipeline directory with --model"
        );
        let name = match path {
            None => "segmentation-3.0".to_owned(),
            Some(path) => path.display().to_string(),
        };
        let pipeline = path.map(named_model::pipeline).transpose()?.flatten();
        let Some(pipeline) = pipeline else {
            return Ok(Self {
                name,
                bundle: load(path)?,
                pipeline: None,
            });
        };
        let part = |part: ModelRole| {
            let model = pipeline.model(part).cloned();
            model.with_context(|| format!("{name}: the pipeline has no {part}"))
        };
        let role = match network {
            WhichNetwork::Segmentation => ModelRole::Segmentation,
            WhichNetwork::Embedding => ModelRole::Embedding,
        };
        Ok(Self {
            name: format!("{name}, {role}"),
            bundle: part(role)?,
            pipeline: Some(pipeline),
        })
    }

    pub(in crate::commands) fn is_embedding(&self) -> bool {
        let output = self.bundle.architecture().output();
        matches!(output, Output::Embedding { .. })
    }

    /// The segmentation network of the pipeline, or else the embedded one.
    pub(in crate::commands) fn segmentation(&self) -> anyhow::Result<Bundle> {
        let of_pipeline = self.pipeline.as_ref();
        match of_pipeline.and_then(|pipeline| pipeline.model(ModelRole::Segmentation)) {
            Some(bundle) => Ok(bundle.clone()),
            None => load(None),
        }
    }
}
