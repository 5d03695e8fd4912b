//! The model of both sides.

use std::path::Path;

use anyhow::{Context, ensure};
use soundalike_convert::{Architecture, Bundle, Part, PipelineDirectory, is_pipeline};

/// Which network of a pipeline directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Network {
    /// Who speaks when
    #[default]
    Segmentation,
    /// Who speaks
    Embedding,
}

/// What is compared.
pub(super) struct Model {
    /// What the user calls it.
    pub(super) name: String,
    pub(super) bundle: Bundle,
    /// Of the same pipeline, where there is one: whose speakers embeddings are of.
    segmentation: Option<Bundle>,
}

impl Model {
    /// The network of a bundle or a checkpoint, one of a pipeline directory, or the embedded one.
    pub(super) fn load(path: Option<&Path>, network: Network) -> anyhow::Result<Self> {
        let Some(path) = path else {
            ensure!(
                network == Network::Segmentation,
                "no embedding network is built in: give a pipeline directory with --model"
            );
            return Ok(Self {
                name: "segmentation-3.0".to_owned(),
                bundle: soundalike_weights::segmentation()?,
                segmentation: None,
            });
        };
        let name = path.display().to_string();
        if !is_pipeline(path) {
            let bundle = soundalike_convert::load(path)?;
            return Ok(Self {
                name,
                bundle,
                segmentation: None,
            });
        }
        let pipeline = PipelineDirectory::read(path)?;
        let part = |part: Part| {
            let model = pipeline.model(part).cloned();
            model.with_context(|| format!("{name}: the pipeline has no {part}"))
        };
        let segmentation = part(Part::Segmentation)?;
        Ok(match network {
            Network::Segmentation => Self {
                name: format!("{name}, segmentation"),
                bundle: segmentation,
                segmentation: None,
            },
            Network::Embedding => Self {
                name: format!("{name}, embedding"),
                bundle: part(Part::Embedding)?,
                segmentation: Some(segmentation),
            },
        })
    }

    /// Whether it gives embeddings.
    pub(super) fn is_embedding(&self) -> bool {
        matches!(self.bundle.architecture(), Architecture::WeSpeakerResNet(_))
    }

    /// The network that says who speaks when: that of the pipeline, else the embedded one.
    pub(super) fn segmentation(&self) -> anyhow::Result<Bundle> {
        match &self.segmentation {
            Some(bundle) => Ok(bundle.clone()),
            None => Ok(soundalike_weights::segmentation()?),
        }
    }
}
