//! What can be wrong with a pipeline directory.

use super::yaml::MAX_CONFIG_BYTES;
use super::{PIPELINE_FORMAT, Part};
use crate::name::quoted_name;

/// What is wrong with a pipeline directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A configuration larger than any.
    #[error("configuration has {0} bytes, more than the {limit} that are read", limit = MAX_CONFIG_BYTES)]
    TooLarge(usize),
    /// A configuration that is not YAML. The library's text includes its causes, so it is printed here and is not the
    /// `source()`.
    #[error("configuration is not valid YAML: {0}")]
    Yaml(Box<serde_saphyr::Error>),
    /// A manifest that is not ours.
    #[error("manifest cannot be read; convert the original again")]
    Json(#[source] serde_json::Error),
    /// A manifest of another version.
    #[error("manifest has format {0}, this program reads {expected}; convert the original again", expected = PIPELINE_FORMAT)]
    Format(u32),
    /// A key that is not known, with the dictionaries it is in: it might change what the pipeline does.
    #[error("configuration has {}, which is not known; remove it if it does not matter", quoted_name(.0))]
    UnknownKey(String),
    /// A value that is missing or of another type.
    #[error("configuration has {found} for {}, expected {expected}", quoted_name(.key))]
    Value {
        /// Its name with the dictionaries it is in.
        key: String,
        /// What is there.
        found: String,
        /// What has to be there.
        expected: String,
    },
    /// A pipeline that does something else.
    #[error("pipeline is {0}, expected pyannote.audio.pipelines.SpeakerDiarization")]
    Pipeline(String),
    /// A model on a hub.
    #[error(
        "{part} is {}, which is neither a file nor a directory beside the configuration; download it and write its path there",
        quoted_name(.1),
        part = .0
    )]
    NotLocal(Part, String),
    /// A model whose file is missing: where it should be, from the pipeline's directory.
    #[error("{part} should be in {}, which does not exist; is the download complete?", quoted_name(.1), part = .0)]
    NoFile(Part, String),
    /// A model that the clustering needs and the configuration does not name.
    #[error("{0} is missing, and the clustering needs it")]
    MissingModel(Part),
    /// A model named twice in a manifest.
    #[error("{0} is listed twice; convert the original again")]
    Twice(Part),
    /// A model with the architecture of another part.
    #[error("is {1}, which cannot be the {0} of a pipeline")]
    WrongModel(Part, String),
    /// Embeddings that the PLDA was not made for.
    #[error("embedding has {embedding} values, the PLDA is for {plda}; are they of one pipeline?")]
    Dimensions {
        /// Values of the network's embeddings.
        embedding: usize,
        /// Values the PLDA takes.
        plda: usize,
    },
    /// A bundle that is not the one that was written with the manifest.
    #[error("has SHA-256 {found}, the manifest says {expected}; convert the original again")]
    Changed {
        /// The file's.
        found: String,
        /// The manifest's.
        expected: String,
    },
}
