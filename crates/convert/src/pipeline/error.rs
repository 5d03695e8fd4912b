//! Errors of pipeline directories.

use std::path::PathBuf;

use super::{ModelRole, PIPELINE_FORMAT, yaml::MAX_CONFIG_BYTES};
use crate::{name::quoted_name, not_a_model::NotAModel};

/// An error of a pipeline directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A configuration that is too large.
    #[error("configuration has {0} bytes, the limit is {limit}", limit = MAX_CONFIG_BYTES)]
    TooLarge(usize),
    /// A configuration that is not YAML. The text of the library's error includes its causes, so the error is not
    /// returned by `source()`.
    #[error("configuration is not valid YAML: {0}")]
    Yaml(Box<serde_saphyr::Error>),
    /// An unreadable manifest.
    #[error("manifest cannot be read; convert the original again")]
    Json(#[source] serde_json::Error),
    /// A manifest of another version.
    #[error("manifest has format {0}, this program reads {expected}; convert the original again", expected = PIPELINE_FORMAT)]
    Format(u32),
    /// An unknown key, with its dictionaries. It may change the result of the pipeline.
    #[error("configuration has the unknown key {}; remove it if it does not matter", quoted_name(.0))]
    UnknownKey(String),
    /// A missing or invalid value.
    #[error("configuration has {found} for {}, expected {expected}", quoted_name(.key))]
    Value {
        /// Its key with its dictionaries: `params.clustering.threshold`.
        key: String,
        /// The value in the file.
        found: String,
        /// The valid values.
        expected: String,
    },
    /// Another class of pipeline.
    #[error("pipeline is {0}, expected pyannote.audio.pipelines.SpeakerDiarization")]
    Pipeline(String),
    /// A model on a hub.
    #[error(
        "{part} is {}, which is neither a file nor a directory; download the model and set its path",
        quoted_name(.1),
        part = .0
    )]
    NotLocal(ModelRole, String),
    /// A model on a hub that is not on this machine.
    #[error("{part} is {}", quoted_name(.name))]
    NotOnHub {
        /// The model.
        part: ModelRole,
        /// Its name.
        name: String,
        /// What to do.
        #[source]
        problem: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An embedding of another library.
    #[error(
        "{part} is {}, a model of another library, which is not supported; use a WeSpeaker ResNet of pyannote, such as pyannote/wespeaker-voxceleb-resnet34-LM",
        quoted_name(.1),
        part = .0
    )]
    Foreign(ModelRole, String),
    /// The leftover of a download in place of a model.
    #[error("{0}: {path} {2}", path = .1.display())]
    Leftover(ModelRole, PathBuf, NotAModel),
    /// A missing file of a model, relative to the pipeline's directory.
    #[error("{part} should be in {}, which does not exist; is the download complete?", quoted_name(.1), part = .0)]
    NoFile(ModelRole, String),
    /// A model that the clustering requires.
    #[error("{0} is missing; the clustering requires it")]
    MissingModel(ModelRole),
    /// A model that a manifest lists twice.
    #[error("{0} is listed twice; convert the original again")]
    Twice(ModelRole),
    /// A model with the architecture of another part.
    #[error("is {1}, which cannot be the {0} of a pipeline")]
    WrongModel(ModelRole, String),
    /// An embedding and a PLDA with different dimensions.
    #[error(
        "embedding has dimension {embedding}, the PLDA expects {plda}; do both belong to one pipeline?"
    )]
    Dimensions {
        /// Dimension of the embeddings.
        embedding: usize,
        /// Input dimension of the PLDA.
        plda: usize,
    },
    /// A bundle that does not match the manifest.
    #[error(
        "has SHA-256 {found}, expected {expected} from the manifest; convert the original again"
    )]
    Changed {
        /// SHA-256 of the file.
        found: String,
        /// SHA-256 in the manifest.
        expected: String,
    },
}
